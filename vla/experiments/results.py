"""Tables that follow from the scores of a run: one score per condition, curves, depth profiles, plateaus, summary."""

import dataclasses
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vla.alignment.depth import Plateau, depth_profile, peak, plateau, relative_depths
from vla.alignment.paired import crossed_test
from vla.alignment.table import OF_MAP
from vla.experiments.experiment import Experiment
from vla.experiments.names import base_name, penultimate
from vla.metrics.registry import best_index, sign

# The verdicts on a comparison, beside what the paper printed.
SAME, NEITHER, UNTESTED = "same sign and significance", "neither significant", "same sign, not tested in the paper"
SIGN, DIFFERS, NOT_RUN, FEW, ALIKE = "same sign", "differs", "not run", "too few pairs", "no test"
# Verdicts that agree with the paper.
AGREE = (SAME, NEITHER, UNTESTED)

# Names what the other files of a run folder were made from.
RECORD = "made.json"

CELL = ["experiment", "condition", "vision_model", "language_model", "metric", "direction"]
_MAP = ["experiment", "condition", "metric", "direction"]
_PAIR = ["vision_model", "language_model"]
_RESAMPLES = 1000


def files(workdir: Path) -> list[Path]:
    """The files of a run folder, without stores, reports and the record."""
    paths = [path for pattern in ("*.csv", "*.parquet", "*.json") for path in workdir.glob(pattern)]
    paths += [path for path in (workdir / "samples").rglob("*") if path.is_file()]
    return sorted(path for path in paths if not path.name.startswith(".") and path.name != RECORD)


def scalars(scores: pd.DataFrame) -> pd.DataFrame:
    """The score of each condition: if a model has several layers, the row of the penultimate one."""
    if scores.empty:
        return scores
    keep, cell = pd.Series(True, scores.index), scores.groupby(CELL, sort=False).ngroup()
    for side in ("vision", "language"):
        layers = scores[f"{side}_layer"].astype(str)
        names = pd.DataFrame({"cell": cell, "layer": layers}).drop_duplicates()
        several = names.loc[names["cell"].duplicated(keep=False)]
        wanted = {number: penultimate(list(rows)) for number, rows in several.groupby("cell", sort=False)["layer"]}
        keep &= ~cell.isin(wanted) | (layers == cell.map(wanted).astype(str))
    return scores.loc[keep]


def curves(scores: pd.DataFrame, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """The rows of conditions that are points of curves.

    In a layer map, every layer of the predicted model is a curve, through its best score over the predicting layers;
    checkpoints have the name of their model.

    Args:
      scores: Tidy rows, as of `vla.experiments.write_run.scores`.
      experiments: The experiments of the study.
    """
    points = {(each.id, condition.name): condition for each in experiments for condition in each.conditions
              if condition.series}  # fmt: skip
    keys = list(zip(scores["experiment"], scores["condition"], strict=True))
    rows = scores.loc[np.array([key in points for key in keys], bool)].copy()
    conditions = [points[key] for key in keys if key in points]
    rows["series"], rows["k"] = [point.series for point in conditions], [point.k for point in conditions]
    rows = _by_layer(rows, np.array([point.layers != "penultimate" for point in conditions], bool))
    columns = ["experiment", "series", "k", *_PAIR, "metric", "direction", "n_items", "score", "seed", "null_mean"]
    return rows[[*columns, "dataset"]].reset_index(drop=True)


def _by_layer(points: pd.DataFrame, in_map: np.ndarray) -> pd.DataFrame:
    """The rows with each layer map replaced by one row per predicted layer, in the order of first rows."""
    if not in_map.any():
        return points
    rows = points.reset_index(drop=True)
    of_vision = rows["direction"] == "language_to_vision"
    rows["predicted"] = np.where(in_map, rows["vision_layer"].where(of_vision, rows["language_layer"]), "")
    rows["position"] = rows.index
    same = [*CELL, "seed", "predicted"]
    # Oriented, so that the largest is the best.
    oriented = (rows["score"] * rows["metric"].map(sign)).fillna(-np.inf)
    best = rows.assign(score=oriented).groupby(same, sort=False)["score"].idxmax()
    first = rows.groupby(same, sort=False)["position"].min()
    rows = rows.loc[best.to_numpy()].assign(position=first.to_numpy()).sort_values("position", kind="stable")
    of_layer = rows["predicted"] != ""
    for side in _PAIR:
        rows[side] = rows[side].where(~of_layer, rows[side].map(base_name))
    return rows.assign(series=rows["predicted"].where(of_layer, rows["series"]))


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
# Columns of `scores.parquet` that the summary repeats for the best pair.
_OF_BEST = ("ci_low", "ci_high", "p_max")


def depths(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles and peaks of every layer map.

    The profile of a side is the best score of each of its layers over all layers of the other side, at relative depths
    (0 is `embed`, 1 the last block), averaged over model pairs. If models of a side differ in depth, each profile is
    interpolated at the depths of the others.

    Args:
      scores: Tidy rows as of `vla.experiments.write_run.scores`; those of single layer pairs are left out, and scores
        of several fold seeds averaged.

    Returns:
      `PROFILES`: one row per map, side and depth, with the interval of `vla.alignment.paired.crossed_test`, NaN with
      fewer than two models on a side; and `PEAKS`: one row per map and side, as of `vla.alignment.depth.peak`. The peak
      of a distance is its minimum; `rise` is how much better the peak is than depth 0, positive for a distance too.
    """
    profiles, peaks = [], []
    for key, rows in scores.groupby(_MAP, sort=False) if len(scores) else ():
        if rows["vision_layer"].nunique() < 2 or rows["language_layer"].nunique() < 2:
            continue
        values = dict(zip(_MAP, key, strict=True))
        values |= {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
        for side, other in (("vision", "language"), ("language", "vision")):
            pairs, tables = zip(
                *((pair, _wide(of_pair, side, other)) for pair, of_pair in rows.groupby(_PAIR, sort=False)), strict=True
            )
            vision, language = zip(*pairs, strict=True)
            at = _depths_of([list(wide.index) for wide in tables])
            # Oriented, so that the largest is the best, of a distance too.
            better = sign(values["metric"])
            by_pair = np.stack([depth_profile(better * wide.to_numpy(float), list(wide.index), at) for wide in tables])
            values |= {"side": side, "n_pairs": len(by_pair)}
            profiles += [{**values, **point} for point in _points(better * by_pair, at, vision, language)]
            top = dataclasses.asdict(peak(by_pair, at, vision, language, resamples=_RESAMPLES))
            if better < 0:
                top |= {"score": -top["score"], "score_low": -top["score_high"], "score_high": -top["score_low"]}
            peaks.append({**values, **top})
    return pd.DataFrame(profiles, columns=list(PROFILES)), pd.DataFrame(peaks, columns=list(PEAKS))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per condition, pair of models, metric, direction and seed: mean over pairs of layers, and the best pair.

    The best score is the lowest of a metric for which lower is better, such as a distance.

    Args:
      scores: Rows of `scores.parquet`; missing columns of values count as NaN.

    Returns:
      `SUMMARY`: `layer_pairs` is the number of pairs with a score; `mean` and `null_mean` are over them; `best_p_max`
      corrects for the choice of the best pair. NaN, or "", if no pair has a score.
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
    """The map of one model pair, the layers of `side` down."""
    return rows.pivot_table(index=f"{side}_layer", columns=f"{other}_layer", values="score", sort=False, dropna=False)


def _depths_of(layers: list[list[str]]) -> np.ndarray:
    """The relative depths of all layers of all models of one side, ascending, without final norms."""
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


PLATEAUS = (
    "experiment", "series", "dataset", "metric", "direction", "n_pairs", "n_items", "most", "k", "k_low", "k_high",
    "first_flat", "level", "level_low", "level_high", "gain", "gain_low", "gain_high", "note",
)  # fmt: skip
FEWEST = 4
_CURVE = ["experiment", "series", "metric", "direction"]


def plateaus(curves: pd.DataFrame, along_training: Collection[str] = ()) -> pd.DataFrame:
    """One row per curve, metric and direction, by `vla.alignment.depth`.

    Args:
      curves: As of `curves`; scores of several fold seeds are averaged. Curves over numbers of items average nothing
        and are left out.
      along_training: Ids of experiments whose curves are over steps of training, which are left out too.

    Returns:
      `PLATEAUS`: `most` is the last count measured; `k` the count with all but 5 % of the fitted gain, infinite if that
      is beyond `most`; `level` the height of the plateau; `gain` how much better it is than the first count (for a
      distance, how much lower). NaN with the reason in `note` if a curve cannot be fitted. The ends of intervals are
      NaN with fewer than two models on a side.
    """
    over_exemplars = _averaged(curves, along_training)
    rows = [_fitted(dict(zip(_CURVE, key, strict=True)), rows)
            for key, rows in over_exemplars.groupby(_CURVE, sort=False)]  # fmt: skip
    return pd.DataFrame(rows, columns=list(PLATEAUS))


def _averaged(curves: pd.DataFrame, along_training: Collection[str]) -> pd.DataFrame:
    """The rows of curves over exemplars."""
    if curves.empty:
        return curves
    names = curves["series"].astype(str)
    return curves.loc[(names != "items") & ~curves["experiment"].astype(str).isin(list(along_training))]


def _fitted(values: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    wide = rows.pivot_table(index=_PAIR, columns="k", values="score", sort=True)
    counts = [float(k) for k in wide.columns]
    if len(counts) < FEWEST:
        note = f"{len(counts)} counts: a curve is fitted to {FEWEST} or more"
        flat = Plateau(*[math.nan] * 10, n_pairs=len(wide), note=note)
    else:
        vision, language = (list(wide.index.get_level_values(name)) for name in _PAIR)
        # Oriented, so that a falling distance is a gain.
        better = sign(str(values["metric"]))
        flat = plateau(better * wide.to_numpy(float), counts, vision, language, resamples=_RESAMPLES)
        if better < 0:
            flat = dataclasses.replace(flat, level=-flat.level, level_low=-flat.level_high, level_high=-flat.level_low)
    values |= {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
    return {**values, "most": counts[-1] if counts else math.nan, **dataclasses.asdict(flat)}
