"""Alignment along depth, as tables: mean profiles of layer maps, and their peaks, with intervals over model pairs."""

import dataclasses

import numpy as np
import pandas as pd

from vla.alignment.depth import depth_profile, peak, relative_depths
from vla.alignment.paired import paired_test

PROFILES = (
    "experiment", "condition", "dataset", "metric", "direction", "side", "n_pairs", "n_items", "depth", "score",
    "ci_low", "ci_high",
)  # fmt: skip
PEAKS = (
    "experiment", "condition", "dataset", "metric", "direction", "side", "n_pairs", "n_items", "depth", "depth_low",
    "depth_high", "score", "score_low", "score_high", "rise", "note",
)  # fmt: skip
_ONE = ["experiment", "condition", "metric", "direction"]
_PAIR = ["vision_model", "language_model"]
_RESAMPLES = 1000


def depths(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles and peaks of every layer map.

    The profile of a side is the best score of each of its layers over all layers of the other side, at relative depths
    (0 is `embed`, 1 the last block), averaged over model pairs. Where models of a side are of several depths, each is
    read off between its layers at the depths of the others'.

    Args:
      scores: Tidy rows as of `vla.experiments.assemble.scores`; those of single layer pairs are left out, and scores of
        several fold seeds averaged.

    Returns:
      `PROFILES`: one row per map, side and depth, with the t interval over pairs; and `PEAKS`: one row per map and
      side, as of `vla.alignment.depth.peak`.
    """
    profiles, peaks = [], []
    for key, rows in scores.groupby(_ONE, sort=False) if len(scores) else ():
        if rows["vision_layer"].nunique() < 2 or rows["language_layer"].nunique() < 2:
            continue
        of = dict(zip(_ONE, key, strict=True))
        of |= {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
        for side, other in (("vision", "language"), ("language", "vision")):
            tables = [_wide(own, side, other) for _, own in rows.groupby(_PAIR, sort=False)]
            at = _depths_of([list(wide.index) for wide in tables])
            found = np.stack([depth_profile(wide.to_numpy(float), list(wide.index), at) for wide in tables])
            own = {**of, "side": side, "n_pairs": len(found)}
            profiles += [{**own, **point} for point in _points(found, at)]
            peaks.append({**own, **dataclasses.asdict(peak(found, at, resamples=_RESAMPLES))})
    return pd.DataFrame(profiles, columns=list(PROFILES)), pd.DataFrame(peaks, columns=list(PEAKS))


def _wide(rows: pd.DataFrame, side: str, other: str) -> pd.DataFrame:
    """The map of one model pair, one side's layers down."""
    return rows.pivot_table(index=f"{side}_layer", columns=f"{other}_layer", values="score", sort=False, dropna=False)


def _depths_of(layers: list[list[str]]) -> np.ndarray:
    """The relative depths of all layers of all models of one side, ascending; the final norm has none."""
    found = np.concatenate([relative_depths(names) for names in layers])
    return np.unique(np.round(found[np.isfinite(found)], 9))


def _points(found: np.ndarray, depths: np.ndarray) -> list[dict[str, float]]:
    """Mean and interval at every depth at which all pairs have a score."""
    points = []
    for depth, values in zip(depths, found.T, strict=True):
        if np.isfinite(values).all():
            mean = paired_test(values, np.zeros_like(values))
            points.append({"depth": float(depth), "score": float(values.mean()), "ci_low": mean.ci_low,
                           "ci_high": mean.ci_high})  # fmt: skip
    return points
