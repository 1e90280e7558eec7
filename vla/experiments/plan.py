"""The plan of a study before anything is computed: what is to be extracted and scored, what is there, what it takes."""

import dataclasses
import functools
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from vla.checks import listed
from vla.experiments import engine, estimates
from vla.experiments.estimates import Hardware, Work, accelerators, this_machine
from vla.experiments.expected import table_work, views_work
from vla.experiments.experiment import Experiment, Layers
from vla.experiments.naming import named
from vla.experiments.participants import refuse_unknown
from vla.experiments.saved import is_saved
from vla.experiments.scoring import Table, needs, tables
from vla.experiments.study import MODALITIES, Study
from vla.models.catalogue import alike, checkpoints
from vla.models.loading import check_config
from vla.models.source import Unreachable, is_cached
from vla.records import Modality

# Share of a device's memory that weights may take beside a batch.
ROOM = 0.8


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the plan.

    Attributes:
      what: An experiment's id, or a model's name.
      kind: "vision", "language" or "experiment".
      units: Views to extract, or tables to score.
      there: Of them, those that the stores have; None where that cannot be known yet.
      work: What is left of it, as far as sizes are known.
      note: What a reader must know.
    """

    what: str
    kind: str
    units: int
    there: int | None
    work: Work
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a study takes.

    Attributes:
      lines: Models, then experiments.
      unknown: Why the stores could not be looked into; "" if they were.
      dtype: Of the models.
      absent: What cannot be run, and why.
      refused: Models that are refused by their config.json, and why.
      shared: Devices that share a copy of the weights.
    """

    lines: tuple[Line, ...]
    unknown: str
    dtype: str
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    shared: int = 1

    @property
    def work(self) -> Work:
        """All that is left."""
        total = Work()
        for line in self.lines:
            total += line.work
        return total


def plan(study: Study, workdir: Path) -> Plan:
    """What is to be done; nothing is written or extracted, and nothing fetched but config.json of unregistered models.

    Where datasets and models are on this machine, the stores are looked into; else everything counts as to be done.
    """
    bench = resolved = None
    refused = _refused(study)
    unknown = _not_here(study)
    if refused:
        unknown = f"{len(refused)} models are refused: everything counts as to be done"
    if not unknown:
        try:
            bench, resolved = engine.prepare(study, workdir, read_only=True)
        except ValueError as error:
            unknown = str(error)
    usable = resolved.usable if resolved else lambda *_: True
    readable = functools.partial(engine.readable, bench) if bench else lambda *_: True
    lines = []
    views = needs(study, usable)
    for modality, given in dict.fromkeys(key[:2] for key in views):
        own = {key: layers for key, layers in views.items() if key[:2] == (modality, given)}
        line = _model(study, bench, modality, given, own)
        lines.append(dataclasses.replace(line, note="refused, see below") if given in refused else line)
    for experiment in study.experiments:
        one = dataclasses.replace(study, experiments=(experiment,))
        absent = [c.name for c in experiment.conditions if not usable(experiment, c)]
        lines.append(_experiment(study, bench, experiment, list(tables(one, usable, readable)), absent, lines))
    return Plan(
        tuple(lines),
        unknown,
        study.dtype,
        resolved.reasons if resolved else (),
        tuple(f"{given}: {why}" for given, why in refused.items()),
        study.tensor_parallel,
    )


def _refused(study: Study) -> dict[str, str]:
    """Why models are refused by their config.json, by model; a registered one that is not here is not looked at."""
    registered, refused, there = {one.id for one in checkpoints()}, {}, set()
    complete = True
    for given in dict.fromkeys(m for one in study.experiments for kind in MODALITIES for m in study.models(one, kind)):
        source = named(given)[1]
        if is_saved(given):
            continue
        if source in registered and not _is_here(source):
            complete = False
            continue
        try:
            there |= set(check_config(source, study.ignore_fields))
        except Unreachable:
            complete = False
        except ValueError as error:
            refused[given] = str(error)
    if complete and not refused:
        refuse_unknown(study.ignore_fields, there)
    return refused


def _not_here(study: Study) -> str:
    """Which datasets or models would have to be fetched first."""
    roles = {condition.dataset for experiment in study.experiments for condition in experiment.conditions}
    remote = [role for role in sorted(roles) if study.datasets[role].directory is None]
    models = dict.fromkeys(
        given for one in study.experiments for kind in MODALITIES for given in study.models(one, kind)
    )
    away = [given for given in models if not (is_saved(given) or _is_here(named(given)[1]))]
    if not remote and not away:
        return ""
    parts = [f"the datasets {', '.join(remote)}"] * bool(remote) + [f"{len(away)} models"] * bool(away)
    return f"{' and '.join(parts)} are not on this machine by path: everything counts as to be done"


def _is_here(source: str) -> bool:
    return Path(source).expanduser().exists() or is_cached(source)


def _model(study: Study, bench: Any, modality: Modality, given: str, views: dict[tuple, Layers]) -> Line:
    (name, source), size = named(given), estimates.size(given, modality)
    there, note = None, ""
    todo = [(study.datasets[key[2]].n_items or 1000, layers) for key, layers in views.items()]
    if bench is not None:
        participant, seen = bench.participants[modality, given], []
        for key, layers in views.items():
            view = bench.galleries[key[2]].view(modality, key[3])
            if not participant.has(view, layers):
                seen.append((len(view.ids), layers))
        there, todo = len(todo) - len(seen), seen
    work = views_work(study, modality, given, todo)
    if size is None:
        note = "size not known" if is_saved(given) or _is_here(source) else _strange(source)
    else:
        work += Work(weights=size.bytes if todo else 0.0)
    return Line(name, modality, len(views), there, work, note)


def _strange(source: str) -> str:
    """Of a model that is neither here nor in the register."""
    spelt = alike(source)
    return f"not in the register{f', which has {listed(spelt)}' if spelt else ': python -m launch.models lists it'}"


def _experiment(
    study: Study, bench: Any, experiment: Experiment, found: Sequence[Table], absent: list[str], before: Sequence[Line]
) -> Line:
    there, todo = None, list(found)
    if bench is not None:
        todo = [one for one in found if not engine.scored(bench, one)]
        there = len(found) - len(todo)
    work = Work()
    for one in todo:
        work += table_work(study, bench, one)
    note = f"not run: {listed(absent, 3)}" if absent else ""
    return Line(experiment.id, "experiment", len(found), there, work, note)


def written(found: Plan, machines: Sequence[Hardware] | None = None) -> str:
    """The plan as a table for people."""
    machines = (this_machine(), *accelerators()) if machines is None else machines
    lines = Printed("", "what", "units", "there", *(machine.id for machine in machines), "disk", "memory", "note")
    for line in found.lines:
        seconds = [sum(line.work.seconds(machine, found.dtype)) for machine in machines]
        lines.add_row(
            line.kind,
            line.what,
            str(line.units),
            "?" if line.there is None else str(line.there),
            *map(spoken, seconds),
            _bytes(line.work.disk),
            _bytes(line.work.memory),
            line.note,
        )
    text = io.StringIO()
    console = Console(file=text, width=150)
    console.print(lines)
    counts = Counter(line.kind for line in found.lines)
    work = found.work
    console.print(
        f"{counts['vision']} vision and {counts['language']} language models, {counts['experiment']} "
        f"experiment{'s' * (counts['experiment'] != 1)}."
    )
    if found.unknown:
        console.print(f"{found.unknown[0].upper()}{found.unknown[1:]}.")
    console.print(
        f"On disk: checkpoints {_bytes(work.weights)}, activations {_bytes(work.disk)}. In memory at once, at most: "
        f"{_bytes(work.memory)}."
    )
    for machine in machines:
        extract, score = work.seconds(machine, found.dtype)
        words = f"{machine.words[0].upper()}{machine.words[1:]}"
        console.print(
            f"\n{words}: extraction {spoken(extract)}, scoring {spoken(score)}, together "
            f"{spoken(extract + score)}{_fits(work, machine, found.shared)}.\n  {machine.basis}; {machine.source}."
        )
    if found.refused:
        console.print("\nModels that are refused before their weights are fetched:")
        for reason in found.refused:
            console.print(f"  {reason}", soft_wrap=True)
    if found.absent:
        console.print("\nWhat cannot be run, and what helps:")
        for reason in found.absent:
            console.print(f"  {reason}", soft_wrap=True)
    console.print(
        "\nNot counted: fetching and reading checkpoints and datasets, decoding images (seconds a view), CLIP Scores, "
        "compilation, what carries the alignment (content), figures."
    )
    return text.getvalue()


def _fits(work: Work, machine: Hardware, shared: int) -> str:
    total, each = machine.memory_gib * 2**30, machine.memory_gib / machine.devices * 2**30
    if work.memory > total:
        return f"; {_bytes(work.memory)} do not fit its {machine.memory_gib:.0f} GiB: use --config.stream=True"
    if work.each <= each:
        return ""
    groups = [n for n in range(2, machine.devices + 1) if machine.devices % n == 0]
    remedies = [f"--config.tensor_parallel={n}" for n in groups if work.each * shared / n <= ROOM * each][:1]
    return (
        f"; weights of {_bytes(work.each)} do not fit the {_bytes(each)} of each device: use "
        f"{' or '.join([*remedies, '--config.stream=True'])}"
    )


def spoken(seconds: float) -> str:
    """A duration for people."""
    if seconds < 0.5:
        return "0 s" if seconds == 0 else "< 1 s"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.1f} d"


def _bytes(count: float) -> str:
    if count <= 0:
        return "0"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
