"""Where averaging curves flatten and where layer maps peak, with intervals, for the marks in figures."""

import numpy as np
import pandas as pd

from vla.alignment.depth import depth_profile, peak
from vla.alignment.plateau import plateau
from vla.report.figures.pairs import PAIR, scores_by_pair

Mark = tuple[float, float, float]
_FEWEST = 4
_DEPTHS = np.linspace(0, 1, 25)
_RESAMPLES = 1000


def plateaus(curves: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """By (series, direction): where `vla.alignment.plateau` finds that a curve flattens, and its interval over pairs.

    Shuffled series, curves of fewer than four counts and those that do not flatten have none. An interval that is open
    above ends at infinity.
    """
    found = {}
    for (name, direction), rows in curves.groupby(["series", "direction"], sort=False):
        ks = sorted(rows["k"].unique())
        if "shuffled" in str(name) or len(ks) < _FEWEST:
            continue
        at = plateau(scores_by_pair(rows, "k", ks).to_numpy(float), ks, resamples=_RESAMPLES)
        if np.isfinite(at.k) and at.gain > 0:
            found[str(name), str(direction)] = (at.k, at.k_low, at.k_high)
    return found


def peaks(table: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """By (direction, side): depth at which the mean profile over pairs is highest, and its interval, of layer maps."""
    found = {}
    for direction, rows in table.groupby("direction", sort=False):
        for side, other in (("vision", "language"), ("language", "vision")):
            profiles = []
            for _, own in rows.groupby(PAIR, sort=False):
                wide = own.pivot_table(
                    index=f"{side}_layer", columns=f"{other}_layer", values="score", sort=False, dropna=False
                )
                profiles.append(depth_profile(wide.to_numpy(float), list(wide.index), _DEPTHS))
            at = peak(np.stack(profiles), _DEPTHS, resamples=_RESAMPLES)
            found[str(direction), side] = (at.depth, at.depth_low, at.depth_high)
    return found
