"""How scores change with the number of items: alignment falls as more items have to be told apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vla.alignment.paired import check_confidence, crossed_test


def item_sweep(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean score at every number of items.

    Args:
      frame: One row per score, with the columns `by`, `n_items` and `score`; rows of one group and number of items are
        samples of items with other seeds, or other model pairs.
      by: Columns that tell curves apart, such as experiment, condition, metric and direction.

    Returns:
      One row per group and number of items, ascending: `by`, n_items, samples, mean, sd (NaN for one sample).

    Raises:
      ValueError: Columns that are not there.
    """
    _check(frame, by)
    rows = []
    for names, group in frame.dropna(subset="score").groupby([*by, "n_items"], sort=True):
        score = group["score"].to_numpy(np.float64)
        spread = score.std(ddof=1) if len(score) > 1 else np.nan
        rows.append([*names, len(score), score.mean(), spread])
    return pd.DataFrame(rows, columns=[*by, "n_items", "samples", "mean", "sd"])


def change_per_doubling(
    frame: pd.DataFrame, by: Sequence[str], pairs: tuple[str, str] = ("vision_model", "language_model"),
    confidence: Any = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """How much the score changes when the number of items is doubled: the slope on log2 of it.

    The slope is fitted to each model pair by least squares, and tested over vision and language models as crossed
    factors: scores of one pair at several numbers of items share models and items, and pairs share models, so neither
    are independent.

    Args:
      frame: As for `item_sweep`, with the columns `pairs`.
      by: As for `item_sweep`, without the models.
      pairs: The columns of the vision model and of the language model.
      confidence: Of the interval.

    Returns:
      One row per group: `by`, n_pairs, from_items, to_items, slope (mean over pairs), ci_low, ci_high, t, p, note;
      NaN where there are too few numbers of items or pairs, for the reason in note.

    Raises:
      ValueError: Columns that are not there, or a confidence without meaning.
    """
    check_confidence(confidence)
    _check(frame, [*by, *pairs])
    rows = []
    for names, group in frame.dropna(subset="score").groupby(list(by), sort=True):
        slopes = pd.Series({key: _slope(pair) for key, pair in group.groupby(list(pairs), sort=True)}).dropna()
        few, many = int(group["n_items"].min()), int(group["n_items"].max())
        rows.append([*names, len(slopes), few, many, *_test(slopes, confidence)])
    columns = [*by, "n_pairs", "from_items", "to_items", "slope", "ci_low", "ci_high", "t", "p", "note"]
    return pd.DataFrame(rows, columns=columns)


def _slope(pair: pd.DataFrame) -> float:
    if pair["n_items"].nunique() < 2:
        return np.nan
    return float(stats.linregress(np.log2(pair["n_items"].to_numpy(np.float64)), pair["score"]).slope)


def _test(slopes: pd.Series, confidence: Any) -> list:
    if not len(slopes):
        return [*[np.nan] * 5, "one number of items: no slope"]
    vision, language = (slopes.index.get_level_values(level) for level in (0, 1))
    test = crossed_test(slopes, vision, language, confidence)
    return [test.mean_difference, test.ci_low, test.ci_high, test.t, test.p, test.note]


def _check(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = sorted({*columns, "n_items", "score"} - set(frame.columns))
    if missing:
        raise ValueError(f"The scores have no column {', '.join(missing)}; they have {', '.join(frame.columns)}.")
