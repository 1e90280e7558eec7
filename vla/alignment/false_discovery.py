"""Benjamini-Hochberg over families of comparisons: the share of false findings among those that are reported.

Source: Benjamini & Hochberg (1995). Equivalent to `scipy.stats.false_discovery_control` within each family.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

FAMILIES = ("direction", "pooled")


def with_q_values(
    frame: pd.DataFrame, family: str = "pooled", by: Sequence[str] = ("experiment", "metric")
) -> pd.DataFrame:
    """Add the columns `family`, in words, and `q`, the smallest rate of false findings at which a row is one.

    The paper's printed values come out with families that pool both directions of all comparisons of one kind, such
    as the eight tests of image manipulations.

    Args:
      frame: One row per comparison and direction, with the columns `by`, `direction` and `p`; comparisons without a
        test have p NaN, belong to no family and have q NaN.
      family: "pooled" (both directions together) or "direction" (each by itself).
      by: What else tells families apart.

    Raises:
      ValueError: An unknown family, columns that are not there, or p outside 0..1.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: expected one of {', '.join(FAMILIES)}.")
    groups = [*by, "direction"] if family == "direction" else [*by]
    missing = sorted({*groups, "direction", "p"} - set(frame.columns))
    if missing:
        raise ValueError(f"The comparisons have no column {', '.join(missing)}; they have {', '.join(frame.columns)}.")
    p = frame["p"].to_numpy(np.float64)
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"p={p[(p < 0) | (p > 1)][0]}: expected values from 0 to 1.")
    q, words = np.full(len(frame), np.nan), np.full(len(frame), "", object)
    for rows in frame.groupby(groups, sort=False).indices.values():
        tested = rows[np.isfinite(p[rows])]
        if not len(tested):
            continue
        q[tested] = stats.false_discovery_control(p[tested])
        first = frame.iloc[tested[0]]
        # A family of one direction, as of a symmetric metric, is named by it all the same.
        directions = frame["direction"].iloc[tested].unique()
        named = [*(str(first[column]) for column in by), " and ".join(map(str, directions))]
        words[tested] = f"{', '.join(named)} ({len(tested)} test{'s' * (len(tested) > 1)})"
    return frame.assign(family=words.astype(str) if len(words) else words, q=q)
