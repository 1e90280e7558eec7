"""From finished tables of scores to tidy rows, one per condition, model pair, metric, direction and pair of layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla.alignment.inference import CELL, significance
from vla.alignment.resampled import interval
from vla.alignment.table import NAMES, OF_MAP, OF_PAIRS, typed
from vla.experiments.experiment import Experiment
from vla.experiments.naming import trunk
from vla.experiments.scoring import Bench
from vla.experiments.tables import Cell, Table
from vla.metrics import find, sign

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
    mean = xr.Dataset({"score": (CELL, values["score"]), "null_score": (("permutation", *CELL), null)})
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
