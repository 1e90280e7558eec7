"""Layer maps as small tables: best pairs; mean profiles along depth and their peaks.

Intervals are over vision and language models as crossed factors.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vla.alignment.crossed import crossed_test
from vla.alignment.depth import depth_profile, peak, relative_depths
from vla.alignment.table import OF_MAP
from vla.experiments.penultimate import CELL
from vla.metrics import best_index, sign

PROFILES = (
    "experiment", "condition", "dataset", "metric", "direction", "side", "n_pairs", "n_items", "depth", "score",
    "ci_low", "ci_high",
)  # fmt: skip
PEAKS = (
    "experiment", "condition", "dataset", "metric", "direction", "side", "n_pairs", "n_items", "depth", "depth_low",
    "depth_high", "score", "score_low", "score_high", "rise", "note",
)  # fmt: skip
SUMMARY = (
    *CELL, "seed", "n_items", "layer_pairs", "mean", "null_mean", "best", "best_vision_layer", "best_language_layer",
    "best_ci_low", "best_ci_high", "best_p_max", *OF_MAP,
)  # fmt: skip
# Columns of `scores.parquet` that the summary has of the best pair.
_OF_BEST = ("ci_low", "ci_high", "p_max")
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
      `PROFILES`: one row per map, side and depth, with the interval of `vla.alignment.crossed.crossed_test`, NaN with
      fewer than two models on a side; and `PEAKS`: one row per map and side, as of `vla.alignment.depth.peak`. The peak
      of a distance is where it is smallest; `rise` is how much better the peak is than depth 0, so that it is positive
      of a distance as well.
    """
    profiles, peaks = [], []
    for key, rows in scores.groupby(_ONE, sort=False) if len(scores) else ():
        if rows["vision_layer"].nunique() < 2 or rows["language_layer"].nunique() < 2:
            continue
        of = dict(zip(_ONE, key, strict=True))
        of |= {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
        for side, other in (("vision", "language"), ("language", "vision")):
            pairs, tables = zip(
                *((pair, _wide(own, side, other)) for pair, own in rows.groupby(_PAIR, sort=False)), strict=True
            )
            vision, language = zip(*pairs, strict=True)
            at = _depths_of([list(wide.index) for wide in tables])
            # Oriented, so that the largest is the best also of a distance.
            better = sign(of["metric"])
            by_pair = np.stack([depth_profile(better * wide.to_numpy(float), list(wide.index), at) for wide in tables])
            own = {**of, "side": side, "n_pairs": len(by_pair)}
            profiles += [{**own, **point} for point in _points(better * by_pair, at, vision, language)]
            top = dataclasses.asdict(peak(by_pair, at, vision, language, resamples=_RESAMPLES))
            if better < 0:
                top |= {"score": -top["score"], "score_low": -top["score_high"], "score_high": -top["score_low"]}
            peaks.append({**own, **top})
    return pd.DataFrame(profiles, columns=list(PROFILES)), pd.DataFrame(peaks, columns=list(PEAKS))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per condition, pair of models, metric, direction and seed: mean over pairs of layers, and the best pair.

    The best score is the lowest of a metric for which lower is better, such as a distance.

    Args:
      scores: Rows of `scores.parquet`; columns of values that it lacks count as NaN.

    Returns:
      `SUMMARY`: `layer_pairs` counts the pairs with a score; `mean` and `null_mean` are over them; `best_p_max` allows
      for the choice of the best pair. NaN, or "", where no pair has a score.
    """
    absent = [name for name in ("null_mean", *_OF_BEST, *OF_MAP) if name not in scores]
    scores = scores.assign(**dict.fromkeys(absent, np.nan))
    keys, rows = [name for name in (*CELL, "seed") if name in scores], []
    for key, group in scores.groupby(keys, sort=False, dropna=False):
        scored = group.dropna(subset=["score"]).reset_index(drop=True)
        best = scored.loc[[best_index(scored["score"], str(group["metric"].iloc[0]))]] if len(scored) else scored
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "n_items": group["n_items"].iloc[0],
                "layer_pairs": len(scored),
                "mean": scored["score"].mean(),
                "null_mean": scored["null_mean"].mean(),
                "best": best["score"].max(),
                "best_vision_layer": "".join(best["vision_layer"]),
                "best_language_layer": "".join(best["language_layer"]),
                **{f"best_{name}": best[name].max() for name in _OF_BEST},
                **{name: group[name].iloc[0] for name in OF_MAP},
            }
        )
    return pd.DataFrame(rows, columns=list(SUMMARY))


def _wide(rows: pd.DataFrame, side: str, other: str) -> pd.DataFrame:
    """The map of one model pair, one side's layers down."""
    return rows.pivot_table(index=f"{side}_layer", columns=f"{other}_layer", values="score", sort=False, dropna=False)


def _depths_of(layers: list[list[str]]) -> np.ndarray:
    """The relative depths of all layers of all models of one side, ascending; the final norm has none."""
    depths = np.concatenate([relative_depths(names) for names in layers])
    return np.unique(np.round(depths[np.isfinite(depths)], 9))


def _points(
    by_pair: np.ndarray, depths: np.ndarray, vision: Sequence[str], language: Sequence[str]
) -> list[dict[str, float]]:
    """Mean and interval at every depth at which all pairs have a score."""
    points = []
    for depth, values in zip(depths, by_pair.T, strict=True):
        if np.isfinite(values).all():
            mean = crossed_test(values, vision, language)
            points.append({"depth": float(depth), "score": float(values.mean()), "ci_low": mean.ci_low,
                           "ci_high": mean.ci_high})  # fmt: skip
    return points
