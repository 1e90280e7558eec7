"""Runs a study: extracts missing activations, scores missing tables, and writes the run folder."""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vla import devices, progress
from vla.activations.store import Store
from vla.alignment.score_store import ScoreStore
from vla.checks import listed
from vla.experiments import write_run
from vla.experiments.content import write_run_content
from vla.experiments.estimates import expected_seconds, table_work
from vla.experiments.experiment import LENGTH, Condition, Layers
from vla.experiments.gallery import Gallery, Resolved, resolve
from vla.experiments.participants import Checkpoint, Participant, gather, refuse_older, refused_configs
from vla.experiments.scoring import Bench, side_by_side
from vla.experiments.study import Study
from vla.experiments.tables import Table, needs, tables
from vla.records import Modality, View

LOOKING = "looking at views"

ViewsByModel = Mapping[tuple[Modality, str], Sequence[tuple[View, Layers]]]
"""Views with the layers to extract, by modality and model."""


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The state after a run.

    Attributes:
      finished: Whether the run folder was written; otherwise tables of other shards are missing.
      missing: Number of tables that have not been scored.
      folder: The run folder.
      scored: Number of tables of the study.
      absent: The conditions that could not be scored and the reason, one line per experiment and reason.
    """

    finished: bool
    missing: int
    folder: Path
    scored: int = 0
    absent: tuple[str, ...] = ()


def run(study: Study, workdir: Path, show_progress: bool = True) -> RunResult:
    """Run a study, or this shard of it; what the stores hold already is not computed again.

    An interrupted run resumes. Several shards, or processes that have joined (`vla.devices.join`), share one store; the
    process that finds all tables scored writes the run folder.

    Raises:
      ValueError: No condition can be scored; activations are missing at the stage "score"; or an error of a model,
        dataset or metric. Finished work is kept.
    """
    began = time.monotonic()
    with progress.stage(LOOKING, show_progress):
        bench, resolved = prepare(study, workdir)
        todo = list(tables(study, resolved.usable, functools.partial(readable, bench)))
        if not todo:
            raise ValueError("\n".join(["nothing can be scored:", *_obstacles(bench, resolved)]))
        views = _unextracted(bench, resolved) if study.stage in ("all", "extract") else {}
        unscored = _unscored(bench, todo) if study.stage in ("all", "score") else []
        if study.stage == "score" and study.shard[1] == 1:
            _refuse_unextracted(bench, unscored)
        if show_progress:
            progress.expect(expected_seconds(study, bench.items, views, unscored, len(todo)))
    times = {LOOKING: time.monotonic() - began}
    if study.stage in ("all", "extract"):
        times["extracting"] = _extract(bench, views, show_progress)
    if study.stage in ("all", "score"):
        times["scoring"] = _score(bench, unscored, show_progress)
    devices.wait_for_all("scored")
    missing = sum(not is_scored(bench, table) for table in todo)
    if not missing and devices.this_process()[0] == 0:
        with devices.alone(), progress.stage("writing tables", show_progress):
            content = write_run_content(bench, resolved, workdir)
            write_run.write(bench, resolved, todo, workdir, times, content)
    # When a joined process ends, the others wait five minutes for it and then abort, so all end together.
    devices.wait_for_all("written")
    return RunResult(not missing, missing, workdir, len(todo), resolved.reasons)


def prepare(study: Study, workdir: Path, read_only: bool = False) -> tuple[Bench, Resolved]:
    """Models, datasets and stores of a study, and what of it can be run.

    `read_only` writes no cache; captions chosen by CLIP Scores that are not cached then count as not extracted.
    """
    store = Store(study.store or str(workdir / "activations"))
    participants = gather(study, store)
    refused = refused_configs(study, fetch_registered=not read_only)
    if refused:
        raise ValueError("; ".join(f"{model}: {reason}" for model, reason in refused.items()))
    galleries = {
        role: Gallery(plan, study, str(workdir / "clip_score"), read_only) for role, plan in study.datasets.items()
    }
    resolved = resolve(study, galleries)
    scores = ScoreStore(study.scores or str(workdir / "scores"))
    return Bench(study, participants, galleries, resolved.items, scores), resolved


def needed_views(bench: Bench, resolved: Resolved) -> ViewsByModel:
    """The views and layers that each model must have, by modality and model."""
    views: dict[tuple[Modality, str], dict[str, tuple[View, Layers]]] = {}
    for (modality, model, role, member), layers in needs(bench.study, resolved.usable).items():
        view = bench.galleries[role].view(modality, member)
        of_model = views.setdefault((modality, model), {})
        # Views with different names can have the same content.
        first, before = of_model.get(view.content, (view, layers))
        of_model[view.content] = (first, layers if layers == before else "all")
    return {key: list(of_model.values()) for key, of_model in views.items()}


def _unextracted(bench: Bench, resolved: Resolved) -> ViewsByModel:
    """This shard's share of the views that each model has yet to extract."""
    i, n = bench.study.shard
    missing = {}
    for key, views in needed_views(bench, resolved).items():
        model = bench.participants[key]
        if isinstance(model, Checkpoint):
            refuse_older(bench.study, model, views)
            missing[key] = [
                (view, layers)
                for index, (view, layers) in enumerate(views)
                if index % n == i and not model.has(view, layers)
            ]
    return missing


def _extract(bench: Bench, missing: ViewsByModel, show_progress: bool) -> float:
    """Extract the views; returns the seconds it took."""
    began, total = time.monotonic(), sum(len(view.ids) for views in missing.values() for view, _ in views)
    checkpoints = {key: model for key in missing if isinstance(model := bench.participants[key], Checkpoint)}
    with progress.bar("extracting", total, show_progress and total > 0) as advance:
        # All captions before the first model: a caption that is too long for the last model is reported at once.
        for key, model in checkpoints.items():
            model.check(view for view, _ in missing[key])
        for key, model in checkpoints.items():
            model.extract(missing[key], advance)
    return time.monotonic() - began


def _unscored(bench: Bench, todo: Sequence[Table]) -> list[Table]:
    """The tables of this shard and this process that have yet to be scored."""
    (i, n), (process, processes) = bench.study.shard, devices.this_process()
    share = [table for index, table in enumerate(todo) if index % (n * processes) == i * processes + process]
    return [table for table in share if not is_scored(bench, table)]


def _score(bench: Bench, missing: Sequence[Table], show_progress: bool) -> float:
    """Score the tables whose activations exist; returns the seconds it took."""
    began = time.monotonic()
    small = [table_work(bench.study, bench.items, table) for table in missing if not table.is_map]
    with (
        progress.bar("scoring", len(missing), show_progress and bool(missing)) as advance,
        side_by_side(max((work.memory for work in small), default=0.0)) as submit,
    ):
        for table in missing:
            if next(_absent(bench, table), None) is None:
                # A table of many layers uses all cores by itself.
                for part in bench.pending(table):
                    submit(part, singly=table.is_map)
            advance(1)
    return time.monotonic() - began


def is_scored(bench: Bench, table: Table) -> bool:
    """Whether the score store has the table."""
    return all(bench.store.has(recipe) for recipe in bench.recipes(table))


def readable(bench: Bench, condition: Condition, vision: str, language: str) -> bool:
    """Whether both models can have activations of a condition: saved activations need a file for every view."""
    gallery = bench.galleries[condition.dataset]
    for source, side in zip((vision, language), bench.study.sides(condition), strict=True):
        model = bench.participants[side.modality, source]
        if not isinstance(model, Checkpoint) and not all(
            model.has(gallery.view(side.modality, member), condition.layers) for member in side.members
        ):
            return False
    return True


def _absent(bench: Bench, table: Table) -> Iterator[tuple[Participant, View]]:
    """The models and views of a table whose activations are missing."""
    gallery = bench.galleries[table.dataset]
    for side in (*table.images, *table.captions):
        model = bench.participants[side.modality, table.model(side.modality)]
        for member in side.members:
            if member != LENGTH:
                view = gallery.view(side.modality, member)
                if not model.has(view, table.layers):
                    yield model, view


def _refuse_unextracted(bench: Bench, unscored: Sequence[Table]) -> None:
    """Refuse to score a part of a study before all of its activations exist."""
    absent = [f"{model.name} on {view.name}" for table in unscored for model, view in _absent(bench, table)]
    if absent:
        raise ValueError(
            f"activations are not in the store: {listed(list(dict.fromkeys(absent)))}. Run the same command with "
            "--config.stage=extract first, or with --config.stage=all"
        )


def _obstacles(bench: Bench, resolved: Resolved) -> list[str]:
    """The reasons why conditions cannot be scored."""
    unsaved = {
        f"{experiment.id}, {condition.name}: {write_run.missing_files(bench, condition)}"
        for experiment in bench.study.experiments
        for condition in experiment.conditions
        if resolved.usable(experiment, condition)
    }
    return [*resolved.reasons, *sorted(unsaved)]
