"""Where averaging curves flatten and where layer maps peak, with intervals, for the marks in figures."""

import numpy as np
import pandas as pd

from vla.report.figures.pairs import PAIR, interval, scores_by_pair

_SHARE, _RESAMPLES = 0.95, 500


def plateaus(curves: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, float]]:
    """By (series, direction): the count at which 95 % of the gain is reached, and its interval over model pairs.

    Shuffled series, curves of fewer than three counts or without a gain have none.
    """
    found = {}
    for (name, direction), rows in curves.groupby(["series", "direction"], sort=False):
        ks = sorted(rows["k"].unique())
        wide = scores_by_pair(rows, "k", ks).to_numpy(float)
        if "shuffled" in str(name) or len(ks) < 3 or not np.isfinite(wide).all():
            continue
        drawn = np.random.default_rng(0).integers(0, len(wide), (_RESAMPLES, len(wide)))
        at = _reached(wide.mean(axis=0)[None], ks)[0]
        low, high = np.nanquantile(_reached(wide[drawn].mean(axis=1), ks), [0.025, 0.975])
        found[str(name), str(direction)] = (float(at), float(low), float(high))
    return found


def _reached(means: np.ndarray, ks: list) -> np.ndarray:
    gain = means - means[:, :1]
    enough = gain >= _SHARE * gain.max(axis=1, keepdims=True)
    return np.where(gain.max(axis=1) > 0, np.asarray(ks, float)[enough.argmax(axis=1)], np.nan)


def peaks(table: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, float]]:
    """By (direction, side): mean depth of the best layer over model pairs, and its 95 % interval, of layer maps."""
    found = {}
    for direction, rows in table.groupby("direction", sort=False):
        for side in ("vision", "language"):
            at = []
            for _, own in rows.groupby(PAIR, sort=False):
                layers = list(dict.fromkeys(own[f"{side}_layer"]))
                if own["score"].notna().any():
                    at.append(layers.index(own.loc[own["score"].idxmax(), f"{side}_layer"]) / max(len(layers) - 1, 1))
            if at:
                mean, low, high = interval(np.asarray(at, float)[:, None])
                found[str(direction), side] = (float(mean[0]), max(float(low[0]), 0.0), min(float(high[0]), 1.0))
    return found
