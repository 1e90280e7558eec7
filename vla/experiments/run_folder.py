"""The run folder: what a study leaves for the report, each file whole or not at all."""

import copy
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vla import __version__
from vla.checks import listed
from vla.experiments.assemble import curves, depths, plateaus, scores, summary
from vla.experiments.choices import ALTERNATIVES, POINTS
from vla.experiments.compare import statistics
from vla.experiments.content import write_run_content
from vla.experiments.experiment import LENGTH, Condition, Experiment, Layers
from vla.experiments.gallery import Resolved
from vla.experiments.participants import Participant
from vla.experiments.scoring import Bench, Table
from vla.experiments.study import MODALITIES, Study
from vla.experiments.unchanged import unchanged, write_record
from vla.files import write_file
from vla.records import View
from vla.stimuli.samples import write_samples


def write_shown(bench: Bench, resolved: Resolved, folder: Path) -> dict[tuple[str, str], str]:
    """Write one file for each way in which items are shown; returns its name by (experiment, condition).

    Of the points of a curve the last is shown. Conditions with mismatched captions, and those that were not run, have
    none.
    """
    names: dict[tuple[str, str], str] = {}
    written: dict[str, str] = {}
    for experiment in bench.study.experiments:
        for condition in _shown(experiment, resolved):
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


def _shown(experiment: Experiment, resolved: Resolved) -> list[Condition]:
    usable = [one for one in experiment.conditions if resolved.usable(experiment, one)]
    last: dict[str, Condition] = {}
    for one in usable:
        if one.series and one.k >= last.get(one.series, one).k:
            last[one.series] = one
    return [one for one in usable if not one.series or last[one.series] is one]


# What the other files were made from.
RECORD = "made.json"

_PACKAGES = ("vla", "jax", "flax", "numpy", "scipy", "scikit-learn", "xarray", "zarr", "transformers", "spacy")


def write(bench: Bench, resolved: Resolved, finished: Sequence[Table], workdir: Path, times: dict[str, float]) -> None:
    """Write `scores.parquet`, the tables made of it, `activations.json`, `samples/` and, last, `run.json`.

    Where they are there, made from the same scores and settings by the same code, nothing is done: their times stay
    those of the run that did the work.
    """
    study = bench.study
    described = {**_run(bench, resolved, finished), "content": write_run_content(bench, resolved, workdir)}
    made_from = [described, [recipe.key for one in finished for recipe in bench.recipes(one)], _seen(bench, resolved)]
    if unchanged(workdir / RECORD, made_from):
        return
    (workdir / RECORD).unlink(missing_ok=True)
    table = scores(bench, finished)
    found = statistics(study, table, resolved.absent)
    data = io.BytesIO()
    table.to_parquet(data, index=False)
    write_file(workdir / "scores.parquet", data.getvalue())
    _csv(workdir / "statistics.csv", found)
    counted = curves(table, study.experiments)
    flat = plateaus(counted, [one.id for one in study.experiments if one.along_training])
    profiles, peaks = depths(_of_all_layers(study, table))
    for name, frame in (
        ("curves", counted), ("plateaus", flat), ("depth", profiles), ("peaks", peaks), ("summary", summary(table)),
    ):  # fmt: skip
        _csv(workdir / f"{name}.csv", frame)
    _json(workdir / "activations.json", _activations(bench, finished))
    shown = write_shown(bench, resolved, workdir / "samples")
    written = {**copy.deepcopy(described), "times": {name: round(seconds, 1) for name, seconds in times.items()}}
    for experiment in written["experiments"]:
        for condition in experiment["conditions"]:
            condition["samples"] = shown.get((experiment["id"], condition["name"]), "")
    _json(workdir / "run.json", written)
    write_record(workdir / RECORD, made_from, files(workdir))


def _of_all_layers(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of maps of all layers: of a choice of layers the depths are not known."""
    conditions = {(experiment.id, condition.name) for experiment in study.experiments
                  for condition in experiment.conditions if condition.layers == "all"}  # fmt: skip
    keys = zip(table["experiment"], table["condition"], strict=True)
    return table.loc[np.array([key in conditions for key in keys], bool)]


def files(workdir: Path) -> list[Path]:
    """What a run folder holds beside stores and reports, its record apart."""
    found = [path for pattern in ("*.csv", "*.parquet", "*.json") for path in workdir.glob(pattern)]
    found += [path for path in (workdir / "samples").rglob("*") if path.is_file()]
    return sorted(path for path in found if not path.name.startswith(".") and path.name != RECORD)


def _seen(bench: Bench, resolved: Resolved) -> dict[str, list[str]]:
    """What determines the views of every condition, of which samples are kept."""
    return {
        f"{experiment.id}, {one.name}": [
            bench.galleries[one.dataset].view(side.modality, member).content
            for side in bench.study.sides(one)
            for member in side.members
            if member != LENGTH
        ]
        for experiment in bench.study.experiments
        for one in experiment.conditions
        if resolved.usable(experiment, one)
    }


def _run(bench: Bench, resolved: Resolved, finished: Sequence[Table]) -> dict[str, Any]:
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
    also = {"seed": study.seed, "fold seeds": study.seeds or (study.seed,), "null": study.null,
            "bootstrap": study.bootstrap, "halves": study.halves, "confidence": study.confidence, "dtype": study.dtype,
            **{f"overrides.{name}": value for name, value in study.overrides.items()}}  # fmt: skip
    settings += [
        {"point": name, "setting": name, "value": str(given), "alternatives": ""} for name, given in also.items()
    ]
    read = [gallery for gallery in bench.galleries.values() if "dataset" in vars(gallery)]
    return {
        "paper": study.paper,
        "title": study.title,
        "note": study.note,
        "commands": dict(study.commands),
        "settings": settings,
        "models": [one.facts() for one in bench.participants.values()],
        "datasets": [
            {
                "role": gallery.plan.role,
                "name": gallery.dataset.name,
                "n": len(gallery.dataset),
                "seed": study.seed,
                "dropped": len(gallery.dataset.dropped),
            }
            for gallery in read
        ],
        "experiments": [_experiment(bench, resolved, finished, one) for one in study.experiments],
        "stores": {"scores": bench.store.root},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()},
    }


def _experiment(bench: Bench, resolved: Resolved, finished: Sequence[Table], experiment: Experiment) -> dict[str, Any]:
    absent = {one.name: resolved.absent[experiment.id, one.name] for one in experiment.conditions
              if (experiment.id, one.name) in resolved.absent}  # fmt: skip
    scored = {cell.condition for table in finished for cell in table.cells if cell.experiment == experiment.id}
    unsaved = {one.name: (lacking(bench, one), "") for one in experiment.conditions
               if one.name not in absent and one.name not in scored}  # fmt: skip
    absent |= unsaved
    reasons = list(dict.fromkeys(absent.values()))
    conditions = []
    for one in experiment.conditions:
        name = (experiment.id, one.name)
        run = one.name in scored
        conditions.append(
            {
                "name": one.name,
                "image": one.image,
                "caption": one.caption,
                "part": one.part,
                "dataset": one.dataset,
                "layers": _spoken(one.layers),
                "series": one.series,
                "k": one.k,
                "vision_group": one.vision,
                "language_group": one.language,
                "status": "run" if run else "not run",
                "why": "" if run else absent[one.name][0],
                "n_items": one.items or len(resolved.items.get((experiment.id, one.part), ())) if run else 0,
                "left_out": resolved.left_out.get(name, 0),
            }
        )
    return {
        "id": experiment.id,
        "title": experiment.title,
        "question": experiment.question,
        "figure": experiment.figure,
        "expected": experiment.expected,
        "dataset": experiment.dataset,
        "status": "run" if scored else "not run",
        "why": "; ".join(why for why, _ in reasons),
        "command": "\n".join(dict.fromkeys(command for _, command in reasons if command)),
        "conditions": conditions,
        "comparisons": [dataclasses.asdict(comparison) for comparison in experiment.comparisons],
        "beside": list(experiment.beside),
        "against": experiment.against,
        "metrics": list(bench.study.metrics_of(experiment)),
        "layers": _spoken(experiment.layers),
        **{
            modality: [bench.participants[modality, given].name for given in bench.study.models(experiment, modality)]
            for modality in MODALITIES
        },
    }


def _spoken(layers: Layers) -> str:
    """Layers as a config names them."""
    return layers if isinstance(layers, str) else ",".join(layers)


def lacking(bench: Bench, condition: Condition) -> str:
    """Which saved activations no pair of models has of a condition."""
    study, gallery, files = bench.study, bench.galleries[condition.dataset], []
    models = (study.vision[condition.vision], study.language[condition.language])
    for side, given in zip(study.sides(condition), models, strict=True):
        for participant in (bench.participants[side.modality, one] for one in given):
            for view in (gallery.view(side.modality, member) for member in side.members if member != LENGTH):
                if not participant.has(view, condition.layers):
                    files.append(_expected(participant, view, condition.layers))
    return f"activations of its views are not saved: {listed(list(dict.fromkeys(files)))}"


def _expected(participant: Participant, view: View, layers: Layers) -> str:
    try:
        return participant.group(view, layers)
    except ValueError as error:
        return str(error)


def _activations(bench: Bench, finished: Sequence[Table]) -> dict[str, Any]:
    """Which groups of the store stand behind every key of `scores.parquet`."""
    found: dict[str, Any] = {}
    for table in finished:
        gallery = bench.galleries[table.dataset]
        for given, sides in ((table.vision, table.images), (table.language, table.captions)):
            for side in sides:
                key = bench.side_key(table, side)
                if key in found:
                    continue
                participant = bench.participants[side.modality, given]
                views = [gallery.view(side.modality, member) for member in side.members]
                found[key] = {
                    "model": participant.name,
                    "views": list(side.members),
                    "mismatched": side.mismatched,
                    "groups": [participant.group(view, table.layers) for view in views],
                }
    return found


def _csv(path: Path, frame: pd.DataFrame) -> None:
    write_file(path, frame.to_csv(index=False).encode())


def _json(path: Path, value: Any) -> None:
    write_file(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _version(name: str) -> str:
    if name == "vla":
        return __version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
