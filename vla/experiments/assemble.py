"""From finished tables of scores to tidy rows, one per condition, model pair, metric, direction and pair of layers."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla.alignment.depth import Plateau, depth_profile, peak, plateau, relative_depths
from vla.alignment.inference import CELL as LAYER_PAIR
from vla.alignment.inference import significance
from vla.alignment.paired import crossed_test
from vla.alignment.resampled import interval
from vla.alignment.table import NAMES, OF_MAP, OF_PAIRS, typed
from vla.experiments.experiment import Experiment
from vla.experiments.naming import trunk
from vla.experiments.penultimate import CELL
from vla.experiments.scoring import Bench, Cell, Table
from vla.metrics import best_index, find, sign

_MEASURED = "undefined"


def scores(bench: Bench, finished: Iterable[Table]) -> pd.DataFrame:
    """The rows of finished tables, with the columns `vla.alignment.table.COLUMNS`."""
    columns: dict[str, list] = {name: [] for name in NAMES}
    for table in finished:
        recipes = bench.recipes(table)
        results = [bench.store.read(recipe) for recipe in recipes]
        for cell in table.cells:
            rows = _rows(bench, table, cell, results, recipes[0].task.protocol)
            for name, values in columns.items():
                values += rows[name] if isinstance(rows[name], list) else [rows[name]] * len(rows["score"])
    return typed(pd.DataFrame(columns))


def curves(table: pd.DataFrame, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """The rows of conditions that are points of curves.

    Of a layer map every layer of the predicted model is a curve, through its best score over the predicting layers;
    checkpoints of one model bear its name alone.

    Args:
      table: As of `scores`.
      experiments: What was scored.
    """
    points = {(one.id, each.name): each for one in experiments for each in one.conditions if each.series}
    keys = list(zip(table["experiment"], table["condition"], strict=True))
    on = table.loc[np.array([key in points for key in keys], bool)].copy()
    found = [points[key] for key in keys if key in points]
    on["series"], on["k"] = [one.series for one in found], [one.k for one in found]
    on = _by_layer(on, np.array([one.layers != "penultimate" for one in found], bool))
    kept = ["experiment", "series", "k", "vision_model", "language_model", "metric", "direction", "n_items", "score"]
    return on[[*kept, "seed", "null_mean", "dataset"]].reset_index(drop=True)


def _by_layer(points: pd.DataFrame, maps: np.ndarray) -> pd.DataFrame:
    """Layer maps among the rows as curves of the predicted layers, at the places where they began."""
    if not maps.any():
        return points
    rows = points.reset_index(drop=True)
    backwards = rows["direction"] == "language_to_vision"
    rows["predicted"] = np.where(maps, rows["vision_layer"].where(backwards, rows["language_layer"]), "")
    rows["place"] = rows.index
    alike = ["experiment", "condition", "vision_model", "language_model", "metric", "direction", "seed", "predicted"]
    # Oriented, so that the largest is the best.
    oriented = (rows["score"] * rows["metric"].map(sign)).fillna(-np.inf)
    best = rows.assign(score=oriented).groupby(alike, sort=False)["score"].idxmax()
    first = rows.groupby(alike, sort=False)["place"].min()
    found = rows.loc[best.to_numpy()].assign(place=first.to_numpy()).sort_values("place", kind="stable")
    named = found["predicted"] != ""
    for side in ("vision_model", "language_model"):
        found[side] = found[side].where(~named, found[side].map(trunk))
    return found.assign(series=found["predicted"].where(named, found["series"]))


def _rows(bench: Bench, table: Table, cell: Cell, results: list[xr.Dataset], protocol: str) -> dict[str, Any]:
    """Values by column: a list, or one that all rows share."""
    vision = bench.participants["vision", table.vision]
    language = bench.participants["language", table.language]
    gallery = bench.galleries[table.dataset]
    image, caption = table.images[cell.image], table.captions[cell.caption]
    names = [
        participant.layers(gallery.view(side.modality, side.members[0]), table.layers)
        if bench.has_layers(side)
        else (side.members[0],)
        for participant, side in ((vision, image), (language, caption))
    ]
    backwards = table.direction == "language_to_vision"
    rows = _values(bench, table, results) | _interval(table, results)
    if not table.is_map:
        # Rows and columns are conditions here, of which this one is wanted.
        place = (cell.caption, cell.image) if backwards else (cell.image, cell.caption)
        rows = {name: values[place[0] : place[0] + 1, place[1] : place[1] + 1] for name, values in rows.items()}
        rows["q_value"] = np.full((1, 1), np.nan)
    grids = {name: (values.T if backwards else values).ravel().tolist() for name, values in rows.items()}
    return {
        "experiment": cell.experiment,
        "condition": cell.condition,
        "vision_model": vision.name,
        "language_model": language.name,
        "metric": table.metric,
        "direction": table.direction,
        "vision_layer": [one for one in names[0] for _ in names[1]],
        "language_layer": [*names[1]] * len(names[0]),
        "n_items": len(bench.ids(table)),
        **grids,
        **{name: _of_map(results, name) for name in OF_MAP},
        "dataset": gallery.dataset.name,
        "part": table.part[1],
        "seed": table.seed,
        "protocol": protocol,
        "vision_key": bench.side_key(table, image),
        "language_key": bench.side_key(table, caption),
    }


def _values(bench: Bench, table: Table, results: list[xr.Dataset]) -> dict[str, np.ndarray]:
    """Values of every pair (x_layer, y_layer); where test folds were scored one by one, those of the mean over them."""
    values = {name: _mean(bench, table, name, results) for name in OF_PAIRS}
    if len(results) == 1 or "null_score" not in results[0]:
        return values
    # A mean of p-values is none: every order of items has a mean over folds as well.
    # Folds may have drawn different numbers of permutations.
    least = min(result.sizes["permutation"] for result in results)
    null = np.mean([result["null_score"].values[:least] for result in results], axis=0)
    mean = xr.Dataset({"score": (LAYER_PAIR, values["score"]), "null_score": (("permutation", *LAYER_PAIR), null)})
    metric = find(table.metric)
    tested = significance(mean, metric.perfect, metric.higher_is_better)
    return values | {str(name): array.values for name, array in tested.items()}


def _mean(bench: Bench, table: Table, name: str, results: list[xr.Dataset]) -> np.ndarray:
    """One variable as an array (x_layer, y_layer); the mean where test folds were scored one by one."""
    shape = results[0]["score"].shape
    if name not in results[0]:
        return np.full(shape, np.nan)
    if name == "score" and _MEASURED in results[0] and bench.study.choices.constant_targets == "zero":
        return np.mean([_with_zeros(bench, table, one) for one in results], axis=0)
    return np.mean([one[name].values for one in results], axis=0)


def _interval(table: Table, results: list[xr.Dataset]) -> dict[str, np.ndarray]:
    """The interval over items where test folds were scored one by one: that of the mean over them."""
    if "resampled_score" not in results[0] or len(results) == 1:
        return {}
    drawn = xr.DataArray(np.mean([one["resampled_score"].values for one in results], axis=0),
                         dims=results[0]["resampled_score"].dims)  # fmt: skip
    metric = find(table.metric)
    found = interval(drawn, results[0].attrs["confidence"], metric.lowest, metric.highest)
    return {str(name): array.values for name, array in found.items()}


def _of_map(results: list[xr.Dataset], name: str) -> float:
    """A value of a layer map as a whole; NaN where it was not asked for, or where test folds were scored one by one."""
    return float(results[0][name]) if len(results) == 1 and name in results[0] else np.nan


def _with_zeros(bench: Bench, table: Table, result: xr.Dataset) -> np.ndarray:
    """The score with units that are constant, or predicted as constant, counted as zero."""
    width = bench.width(table, (table.images if table.direction == "language_to_vision" else table.captions)[0])
    share = 1 - result[_MEASURED] / width
    return (result["fold_score"].fillna(0) * share).mean("fold").values


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
_MAP = ["experiment", "condition", "metric", "direction"]
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
      `PROFILES`: one row per map, side and depth, with the interval of `vla.alignment.paired.crossed_test`, NaN with
      fewer than two models on a side; and `PEAKS`: one row per map and side, as of `vla.alignment.depth.peak`. The peak
      of a distance is where it is smallest; `rise` is how much better the peak is than depth 0, so that it is positive
      of a distance as well.
    """
    profiles, peaks = [], []
    for key, rows in scores.groupby(_MAP, sort=False) if len(scores) else ():
        if rows["vision_layer"].nunique() < 2 or rows["language_layer"].nunique() < 2:
            continue
        of = dict(zip(_MAP, key, strict=True))
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


COLUMNS = (
    "experiment", "series", "dataset", "metric", "direction", "n_pairs", "n_items", "most", "k", "k_low", "k_high",
    "first_flat", "level", "level_low", "level_high", "gain", "gain_low", "gain_high", "note",
)  # fmt: skip
FEWEST = 4
_CURVE = ["experiment", "series", "metric", "direction"]


def plateaus(curves: pd.DataFrame, along_training: Collection[str] = ()) -> pd.DataFrame:
    """One row per curve, metric and direction, by `vla.alignment.depth`.

    Args:
      curves: As of `vla.experiments.assemble.curves`; scores of several fold seeds are averaged. Curves over numbers of
        items average nothing and are left out.
      along_training: Ids of experiments whose curves are over steps of training, which are left out likewise.

    Returns:
      `COLUMNS`: `most` is the last count measured; `k` the count with all but 5 % of the fitted gain, infinite where
      that is beyond `most`; `level` the height of the plateau, `gain` how much better it is than the first count
      (of a distance what it is below it); NaN with the
      reason in `note` where nothing can be said. The ends of intervals are NaN with fewer than two models on a side.
    """
    over_exemplars = _averaged(curves, along_training)
    rows = [_row(dict(zip(_CURVE, key, strict=True)), own) for key, own in over_exemplars.groupby(_CURVE, sort=False)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _averaged(curves: pd.DataFrame, along_training: Collection[str]) -> pd.DataFrame:
    """The rows of curves over exemplars."""
    if curves.empty:
        return curves
    names = curves["series"].astype(str)
    return curves.loc[(names != "items") & ~curves["experiment"].astype(str).isin(list(along_training))]


def _row(of: dict[str, str], rows: pd.DataFrame) -> dict:
    wide = rows.pivot_table(index=_PAIR, columns="k", values="score", sort=True)
    counts = [float(k) for k in wide.columns]
    if len(counts) < FEWEST:
        why = f"{len(counts)} counts: a curve is fitted to {FEWEST} or more"
        at = Plateau(*[math.nan] * 10, n_pairs=len(wide), note=why)
    else:
        models = (list(wide.index.get_level_values(name)) for name in _PAIR)
        # Oriented, so that averaging gains where a distance falls.
        better = sign(str(of["metric"]))
        at = plateau(better * wide.to_numpy(float), counts, *models, resamples=_RESAMPLES)
        if better < 0:
            at = dataclasses.replace(at, level=-at.level, level_low=-at.level_high, level_high=-at.level_low)
    own = {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
    return {**of, **own, "most": counts[-1] if counts else math.nan, **dataclasses.asdict(at)}
