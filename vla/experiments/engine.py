"""Runs a study: extracts what is missing, scores what is missing, and writes the run folder."""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vla import devices, progress
from vla.activations.store import Store
from vla.alignment.score_store import ScoreStore
from vla.checks import listed
from vla.experiments import run_folder
from vla.experiments.expected import expected, table_work
from vla.experiments.experiment import LENGTH, Condition, Layers
from vla.experiments.gallery import Gallery, Resolved, resolve
from vla.experiments.participants import Checkpoint, Participant, check_configs, gather, refuse_older
from vla.experiments.scoring import Bench, Table, needs, side_by_side, tables
from vla.experiments.study import Study
from vla.records import Modality, View

LOOKING = "looking at views"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
      finished: Whether the run folder was written; else other shards are still at work.
      missing: How many tables of scores are not there yet.
      folder: The run folder.
      scored: How many tables of scores the study has.
      absent: What could not be scored, and why: one line an experiment and reason.
    """

    finished: bool
    missing: int
    folder: Path
    scored: int = 0
    absent: tuple[str, ...] = ()


def run(study: Study, workdir: Path, show_progress: bool = True) -> Outcome:
    """Run a study, or this shard of it; what is in the stores already is not done again.

    An interrupted run resumes. Several shards, or processes that have joined (`vla.devices.join`), work against
    one store; whichever finds everything there writes the run folder.

    Raises:
      ValueError: Nothing of it can be scored; activations are absent at the stage "score"; or as the parts of the
        library that do the work. What was finished before is kept.
    """
    began = time.monotonic()
    with progress.stage(LOOKING, show_progress):
        bench, resolved = prepare(study, workdir)
        todo = list(tables(study, resolved.usable, functools.partial(readable, bench)))
        if not todo:
            raise ValueError("\n".join(["nothing can be scored:", *_obstacles(bench, resolved)]))
        views = _unseen(bench, resolved) if study.stage in ("all", "extract") else {}
        unscored = _unscored(bench, todo) if study.stage in ("all", "score") else []
        if study.stage == "score" and study.shard[1] == 1:
            _refuse_unextracted(bench, unscored)
        if show_progress:
            progress.expect(expected(study, bench, views, unscored, len(todo)))
    times = {LOOKING: time.monotonic() - began}
    if study.stage in ("all", "extract"):
        times["extracting"] = _extract(bench, views, show_progress)
    if study.stage in ("all", "score"):
        times["scoring"] = _score(bench, unscored, show_progress)
    devices.wait_for_all("scored")
    missing = sum(not scored(bench, one) for one in todo)
    first = devices.this_process()[0] == 0
    if not missing and first:
        with devices.alone(), progress.stage("writing tables", show_progress):
            run_folder.write(bench, resolved, todo, workdir, times)
    # A process that has joined and ends is waited for by the others for five minutes, then all of them are aborted.
    devices.wait_for_all("written")
    return Outcome(not missing, missing, workdir, len(todo), resolved.reasons)


def prepare(study: Study, workdir: Path, read_only: bool = False) -> tuple[Bench, Resolved]:
    """Models, datasets and stores of a study at hand, and what of it can be run.

    Args:
      study: What is asked.
      workdir: Where stores are unless the study says.
      read_only: Write no cache either; captions by CLIP Scores that are not there yet then count as not extracted.
    """
    store = Store(study.store or str(workdir / "activations"))
    participants = gather(study, store)
    check_configs([one.source for one in participants.values() if isinstance(one, Checkpoint)], study.ignore_fields)
    galleries = {
        role: Gallery(plan, study, str(workdir / "clip_score"), read_only) for role, plan in study.datasets.items()
    }
    resolved = resolve(study, galleries)
    scores = ScoreStore(study.scores or str(workdir / "scores"))
    return Bench(study, participants, galleries, resolved.items, scores), resolved


def wanted(bench: Bench, resolved: Resolved) -> dict[tuple[Modality, str], list[tuple[View, Layers]]]:
    """Views and layers that each model has to see, by modality and model."""
    found: dict[tuple[Modality, str], dict[str, tuple[View, Layers]]] = {}
    for (modality, given, role, member), layers in needs(bench.study, resolved.usable).items():
        view = bench.galleries[role].view(modality, member)
        own = found.setdefault((modality, given), {})
        # Views of other names may show the same.
        first, before = own.get(view.content, (view, layers))
        own[view.content] = (first, layers if layers == before else "all")
    return {key: list(views.values()) for key, views in found.items()}


def _unseen(bench: Bench, resolved: Resolved) -> dict[tuple[Modality, str], list[tuple[View, Layers]]]:
    """This shard's share of the views of every model that are to be extracted."""
    i, n = bench.study.shard
    missing = {}
    for key, views in wanted(bench, resolved).items():
        participant = bench.participants[key]
        if isinstance(participant, Checkpoint):
            refuse_older(bench.study, participant, views)
            own = [one for one in views if not participant.has(*one)]
            missing[key] = own if n == 1 else [one for place, one in enumerate(views) if place % n == i and one in own]
    return missing


def _extract(
    bench: Bench, missing: Mapping[tuple[Modality, str], Sequence[tuple[View, Layers]]], show_progress: bool
) -> float:
    began, total = time.monotonic(), sum(len(view.ids) for views in missing.values() for view, _ in views)
    with progress.bar("extracting", total, show_progress and total > 0) as advance:
        # All captions before the first model: a caption too long for the last one is known now, not after hours.
        for key, views in missing.items():
            participant = bench.participants[key]
            assert isinstance(participant, Checkpoint)
            participant.check(view for view, _ in views)
        for key, views in missing.items():
            participant = bench.participants[key]
            assert isinstance(participant, Checkpoint)
            participant.extract(views, advance)
    return time.monotonic() - began


def _unscored(bench: Bench, todo: Sequence[Table]) -> list[Table]:
    """This shard's share of the tables, and this process's of that, as far as they are to be scored."""
    (i, n), (process, processes) = bench.study.shard, devices.this_process()
    own = [one for place, one in enumerate(todo) if place % (n * processes) == i * processes + process]
    return [one for one in own if not scored(bench, one)]


def _score(bench: Bench, missing: Sequence[Table], show_progress: bool) -> float:
    began = time.monotonic()
    small = [table_work(bench.study, bench, one) for one in missing if not one.is_map]
    with (
        progress.bar("scoring", len(missing), show_progress and bool(missing)) as advance,
        side_by_side(max((work.memory for work in small), default=0.0)) as submit,
    ):
        for one in missing:
            if _extracted(bench, one):
                # A table of many layers keeps all cores busy by itself.
                for part in bench.pending(one):
                    submit(part, singly=one.is_map)
            advance(1)
    return time.monotonic() - began


def scored(bench: Bench, table: Table) -> bool:
    """Whether the scores of a table are in the store."""
    return all(bench.store.has(recipe) for recipe in bench.recipes(table))


def readable(bench: Bench, condition: Condition, vision: str, language: str) -> bool:
    """Whether both models can have activations of a condition: saved ones need a file for every view."""
    gallery = bench.galleries[condition.dataset]
    for given, side in zip((vision, language), bench.study.sides(condition), strict=True):
        participant = bench.participants[side.modality, given]
        if not isinstance(participant, Checkpoint) and not all(
            participant.has(gallery.view(side.modality, member), condition.layers) for member in side.members
        ):
            return False
    return True


def _extracted(bench: Bench, table: Table) -> bool:
    """Whether all activations of a table are there."""
    return next(_absent(bench, table), None) is None


def _absent(bench: Bench, table: Table) -> Iterator[tuple[Participant, View]]:
    """Models and views of a table whose activations are not there."""
    gallery = bench.galleries[table.dataset]
    for model, sides in ((table.vision, table.images), (table.language, table.captions)):
        for side in sides:
            for member in side.members:
                participant = bench.participants[side.modality, model]
                if member != LENGTH:
                    view = gallery.view(side.modality, member)
                    if not participant.has(view, table.layers):
                        yield participant, view


def _refuse_unextracted(bench: Bench, unscored: Sequence[Table]) -> None:
    """Refuse to score part of a study whose activations are not all there.

    Raises:
      ValueError: Some are absent; the message names the first.
    """
    absent = [f"{participant.name} on {view.name}" for table in unscored for participant, view in _absent(bench, table)]
    if absent:
        raise ValueError(
            f"activations are not in the store: {listed(list(dict.fromkeys(absent)))}. Run the same command with "
            "--config.stage=extract first, or with --config.stage=all"
        )


def _obstacles(bench: Bench, resolved: Resolved) -> list[str]:
    """Why conditions cannot be scored, in words."""
    lacking = {
        f"{experiment.id}, {condition.name}: {run_folder.lacking(bench, condition)}"
        for experiment in bench.study.experiments
        for condition in experiment.conditions
        if resolved.usable(experiment, condition)
    }
    return [*resolved.reasons, *sorted(lacking)]
