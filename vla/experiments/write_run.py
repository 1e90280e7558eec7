"""Writes the run folder: the scores of a study, the tables that follow from them and the files the report reads."""

import copy
import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla import __version__
from vla.alignment.resampled import interval
from vla.alignment.significance import CELL as LAYER_PAIR
from vla.alignment.significance import significance
from vla.alignment.table import NAMES, OF_MAP, OF_PAIRS, typed
from vla.checks import listed
from vla.experiments.choices import ALTERNATIVES, POINTS
from vla.experiments.compare import statistics
from vla.experiments.experiment import LENGTH, Condition, Experiment, Layers
from vla.experiments.gallery import Resolved
from vla.experiments.participants import Participant
from vla.experiments.results import RECORD, curves, depths, files, plateaus, summary
from vla.experiments.scoring import Bench
from vla.experiments.study import MODALITIES, Study
from vla.experiments.tables import Cell, Table
from vla.experiments.unchanged import unchanged, write_record
from vla.files import write_file
from vla.metrics.registry import find
from vla.records import View
from vla.stimuli.samples import write_samples

_PACKAGES = ("vla", "jax", "flax", "numpy", "scipy", "scikit-learn", "xarray", "zarr", "transformers", "spacy")
# A variable of results of ridge regression: the number of units without a score.
_UNDEFINED = "undefined"


def write(
    bench: Bench,
    resolved: Resolved,
    finished: Sequence[Table],
    workdir: Path,
    times: Mapping[str, float],
    content: Mapping[str, Any],
) -> None:
    """Write `scores.parquet`, the tables that follow from it, `activations.json`, `samples/` and, last, `run.json`.

    If these files exist, made from the same scores and settings by the same code, nothing is written: the times stay
    those of the run that did the work.

    Args:
      bench: Models, galleries and stores.
      resolved: What of the study can be run.
      finished: All tables, scored.
      workdir: The run folder.
      times: Seconds by stage.
      content: As `vla.experiments.content.write_run_content` returns it.
    """
    study = bench.study
    description = {**_description(bench, resolved, finished), "content": content}
    keys = [recipe.key for table in finished for recipe in bench.recipes(table)]
    made_from = [description, keys, _view_contents(bench, resolved)]
    if unchanged(workdir / RECORD, made_from):
        return
    (workdir / RECORD).unlink(missing_ok=True)
    table = scores(bench, finished)
    write_file(workdir / "scores.parquet", table.to_parquet(index=False))
    points = curves(table, study.experiments)
    profiles, peaks = depths(_all_layers(study, table))
    for name, frame in (
        ("statistics", statistics(study, table, resolved.absent)),
        ("curves", points),
        ("plateaus", plateaus(points, [each.id for each in study.experiments if each.along_training])),
        ("depth", profiles),
        ("peaks", peaks),
        ("summary", summary(table)),
    ):
        write_file(workdir / f"{name}.csv", frame.to_csv(index=False))
    _write_json(workdir / "activations.json", _activations(bench, finished))
    samples = write_condition_samples(bench, resolved, workdir / "samples")
    run = {**copy.deepcopy(description), "times": {name: round(seconds, 1) for name, seconds in times.items()}}
    for experiment in run["experiments"]:
        for condition in experiment["conditions"]:
            condition["samples"] = samples.get((experiment["id"], condition["name"]), "")
    _write_json(workdir / "run.json", run)
    write_record(workdir / RECORD, made_from, files(workdir))


def write_condition_samples(bench: Bench, resolved: Resolved, folder: Path) -> dict[tuple[str, str], str]:
    """Write sample items of each condition, one file per image and caption view; returns names by (experiment, name).

    A curve is represented by its last point. Conditions with mismatched captions and those that were not run have none.
    """
    names: dict[tuple[str, str], str] = {}
    written: dict[str, str] = {}
    for experiment in bench.study.experiments:
        for condition in _sampled(experiment, resolved):
            sides = bench.study.sides(condition)
            if any(side.mismatched for side in sides):
                continue
            gallery = bench.galleries[condition.dataset]
            name = f"{condition.dataset}--{condition.image}--{condition.caption}"
            if name not in written:
                images, captions = ([gallery.view(side.modality, member) for member in side.members] for side in sides)
                written[name] = write_samples(folder, name, images, captions).stem
            names[experiment.id, condition.name] = written[name]
    return names


def _sampled(experiment: Experiment, resolved: Resolved) -> list[Condition]:
    usable = [condition for condition in experiment.conditions if resolved.usable(experiment, condition)]
    last: dict[str, Condition] = {}
    for condition in usable:
        if condition.series and condition.k >= last.get(condition.series, condition).k:
            last[condition.series] = condition
    return [condition for condition in usable if not condition.series or last[condition.series] is condition]


def _all_layers(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of maps of all layers: the depths of selected layers are unknown."""
    conditions = {(experiment.id, condition.name) for experiment in study.experiments
                  for condition in experiment.conditions if condition.layers == "all"}  # fmt: skip
    keys = zip(table["experiment"], table["condition"], strict=True)
    return table.loc[np.array([key in conditions for key in keys], bool)]


def _view_contents(bench: Bench, resolved: Resolved) -> dict[str, list[str]]:
    """The hashes of the views of every condition, of which samples are written."""
    return {
        f"{experiment.id}, {condition.name}": [
            bench.galleries[condition.dataset].view(side.modality, member).content
            for side in bench.study.sides(condition)
            for member in side.members
            if member != LENGTH
        ]
        for experiment in bench.study.experiments
        for condition in experiment.conditions
        if resolved.usable(experiment, condition)
    }


def _description(bench: Bench, resolved: Resolved, finished: Sequence[Table]) -> dict[str, Any]:
    """The content of `run.json` apart from times and samples."""
    study, choices = bench.study, bench.study.choices
    settings = [
        {
            "point": point,
            "setting": name,
            "value": str(getattr(choices, name)),
            "alternatives": ", ".join(map(str, ALTERNATIVES.get(name, ()))),
        }
        for name, point in POINTS.items()
    ]
    more = {"seed": study.seed, "fold seeds": study.seeds or (study.seed,)}
    more |= {name: getattr(study, name) for name in ("null", "bootstrap", "halves", "confidence", "dtype")}
    more |= {f"overrides.{name}": value for name, value in study.overrides.items()}
    settings += [
        {"point": name, "setting": name, "value": str(value), "alternatives": ""} for name, value in more.items()
    ]
    return {
        **{name: getattr(study, name) for name in ("paper", "title", "note")},
        "commands": dict(study.commands),
        "settings": settings,
        "models": [model.facts() for model in bench.participants.values()],
        "datasets": [
            {
                "role": gallery.plan.role,
                "name": gallery.dataset.name,
                "n": len(gallery.dataset),
                "seed": study.seed,
                "dropped": len(gallery.dataset.dropped),
            }
            for gallery in bench.galleries.values()
            if "dataset" in vars(gallery)  # it was read
        ],
        "experiments": [_experiment(bench, resolved, finished, experiment) for experiment in study.experiments],
        "stores": {"scores": bench.store.root},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()},
    }


_OF_CONDITION = ("name", "image", "caption", "part", "dataset", "series", "k")
_OF_EXPERIMENT = ("id", "title", "question", "figure", "expected", "dataset", "against")


def _experiment(bench: Bench, resolved: Resolved, finished: Sequence[Table], experiment: Experiment) -> dict[str, Any]:
    scored = {cell.condition for table in finished for cell in table.cells if cell.experiment == experiment.id}
    absent: dict[str, tuple[str, str]] = {}
    for condition in experiment.conditions:
        if (experiment.id, condition.name) in resolved.absent:
            absent[condition.name] = resolved.absent[experiment.id, condition.name]
        elif condition.name not in scored:
            absent[condition.name] = (missing_files(bench, condition), "")
    reasons = dict.fromkeys(absent.values())
    conditions = [
        {
            **{name: getattr(condition, name) for name in _OF_CONDITION},
            "layers": layers_text(condition.layers),
            "vision_group": condition.vision,
            "language_group": condition.language,
            "status": "run" if condition.name in scored else "not run",
            "why": "" if condition.name in scored else absent[condition.name][0],
            "n_items": (condition.items or len(resolved.items.get((experiment.id, condition.part), ())))
            if condition.name in scored
            else 0,
            "left_out": resolved.left_out.get((experiment.id, condition.name), 0),
        }
        for condition in experiment.conditions
    ]
    return {
        **{name: getattr(experiment, name) for name in _OF_EXPERIMENT},
        "status": "run" if scored else "not run",
        "why": "; ".join(dict.fromkeys(reason for reason, _ in reasons)),
        "command": "\n".join(dict.fromkeys(remedy for _, remedy in reasons if remedy)),
        "conditions": conditions,
        "comparisons": [dataclasses.asdict(comparison) for comparison in experiment.comparisons],
        "beside": list(experiment.beside),
        "metrics": list(bench.study.metrics_of(experiment)),
        "layers": layers_text(experiment.layers),
        **{
            modality: [bench.participants[modality, model].name for model in bench.study.models(experiment, modality)]
            for modality in MODALITIES
        },
    }


def layers_text(layers: Layers) -> str:
    """Layers as a config names them."""
    return layers if isinstance(layers, str) else ",".join(layers)


def missing_files(bench: Bench, condition: Condition) -> str:
    """The files of saved activations that a condition lacks, as a sentence."""
    study, gallery, names = bench.study, bench.galleries[condition.dataset], []
    for side in study.sides(condition):
        for model in study.groups(side.modality)[getattr(condition, side.modality)]:
            participant = bench.participants[side.modality, model]
            for view in (gallery.view(side.modality, member) for member in side.members if member != LENGTH):
                if not participant.has(view, condition.layers):
                    names.append(_expected_name(participant, view, condition.layers))
    return f"activations of its views are not saved: {listed(list(dict.fromkeys(names)))}"


def _expected_name(participant: Participant, view: View, layers: Layers) -> str:
    try:
        return participant.group(view, layers)
    except ValueError as error:
        return str(error)


def _activations(bench: Bench, finished: Sequence[Table]) -> dict[str, Any]:
    """The groups of the store behind every key of `scores.parquet`."""
    groups: dict[str, Any] = {}
    for table in finished:
        gallery = bench.galleries[table.dataset]
        for side in (*table.images, *table.captions):
            key = bench.side_key(table, side)
            if key in groups:
                continue
            participant = bench.participants[side.modality, table.model(side.modality)]
            views = [gallery.view(side.modality, member) for member in side.members]
            groups[key] = {
                "model": participant.name,
                "views": list(map(str, side.members)),
                "mismatched": side.mismatched,
                "groups": [participant.group(view, table.layers) for view in views],
            }
    return groups


def _write_json(path: Path, value: Any) -> None:
    write_file(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _version(name: str) -> str:
    if name == "vla":
        return __version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


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


def _rows(bench: Bench, table: Table, cell: Cell, results: list[xr.Dataset], protocol: str) -> dict[str, Any]:
    """Values by column: a list, or one value for all rows."""
    gallery = bench.galleries[table.dataset]
    vision, language = (bench.participants[modality, table.model(modality)] for modality in MODALITIES)
    image, caption = table.images[cell.image], table.captions[cell.caption]
    vision_layers, language_layers = (
        participant.layers(gallery.view(side.modality, side.members[0]), table.layers)
        if bench.has_layers(side)
        else (str(side.members[0]),)
        for participant, side in ((vision, image), (language, caption))
    )
    language_first = table.order[0] == "language"
    grids = _values(bench, table, results) | _interval(table, results)
    if not table.is_map:
        # Rows and columns of the grids are conditions: this cell's is picked.
        x, y = (cell.caption, cell.image) if language_first else (cell.image, cell.caption)
        grids = {name: values[x : x + 1, y : y + 1] for name, values in grids.items()}
        grids["q_value"] = np.full((1, 1), np.nan)
    return {
        "experiment": cell.experiment,
        "condition": cell.condition,
        "vision_model": vision.name,
        "language_model": language.name,
        "metric": table.metric,
        "direction": table.direction,
        "vision_layer": [layer for layer in vision_layers for _ in language_layers],
        "language_layer": [*language_layers] * len(vision_layers),
        "n_items": len(bench.ids(table)),
        **{name: (values.T if language_first else values).ravel().tolist() for name, values in grids.items()},
        **{name: _of_map(results, name) for name in OF_MAP},
        "dataset": gallery.dataset.name,
        "part": table.part[1],
        "seed": table.seed,
        "protocol": protocol,
        "vision_key": bench.side_key(table, image),
        "language_key": bench.side_key(table, caption),
    }


def _values(bench: Bench, table: Table, results: list[xr.Dataset]) -> dict[str, np.ndarray]:
    """Values of every pair (x_layer, y_layer); of results per test fold, the values of their mean."""
    values = {name: _mean(bench, table, name, results) for name in OF_PAIRS}
    if len(results) == 1 or "null_score" not in results[0]:
        return values
    # The mean of p-values is no p-value, so the test is repeated on means over folds, one per permutation. Folds can
    # have different numbers of permutations.
    least = min(result.sizes["permutation"] for result in results)
    null = np.mean([result["null_score"].values[:least] for result in results], axis=0)
    mean = xr.Dataset({"score": (LAYER_PAIR, values["score"]), "null_score": (("permutation", *LAYER_PAIR), null)})
    metric = find(table.metric)
    tested = significance(mean, metric.perfect, metric.higher_is_better)
    return values | {str(name): array.values for name, array in tested.items()}


def _mean(bench: Bench, table: Table, name: str, results: list[xr.Dataset]) -> np.ndarray:
    """A variable as an array (x_layer, y_layer), averaged over results."""
    if name not in results[0]:
        return np.full(results[0]["score"].shape, np.nan)
    if name == "score" and _UNDEFINED in results[0] and bench.study.choices.constant_targets == "zero":
        return np.mean([_with_zeros(bench, table, result) for result in results], axis=0)
    return np.mean([result[name].values for result in results], axis=0)


def _interval(table: Table, results: list[xr.Dataset]) -> dict[str, np.ndarray]:
    """The interval over items of the mean over results per test fold; {} for a single result."""
    if "resampled_score" not in results[0] or len(results) == 1:
        return {}
    drawn = xr.DataArray(np.mean([result["resampled_score"].values for result in results], axis=0),
                         dims=results[0]["resampled_score"].dims)  # fmt: skip
    metric = find(table.metric)
    ends = interval(drawn, results[0].attrs["confidence"], metric.lowest, metric.highest)
    return {str(name): array.values for name, array in ends.items()}


def _of_map(results: list[xr.Dataset], name: str) -> float:
    """A value of a complete layer map; NaN if it was not computed, or for results per test fold."""
    return float(results[0][name]) if len(results) == 1 and name in results[0] else np.nan


def _with_zeros(bench: Bench, table: Table, result: xr.Dataset) -> np.ndarray:
    """The score where units that are constant, or predicted as constant, count as zero."""
    share = 1 - result[_UNDEFINED] / bench.width(table, table.sides(table.order[1])[0])
    return (result["fold_score"].fillna(0) * share).mean("fold").values
