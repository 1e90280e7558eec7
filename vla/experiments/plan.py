"""The plan of a study before anything is computed: what is extracted and scored, what is stored, what it costs."""

import dataclasses
import functools
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Printed

from vla.checks import listed
from vla.experiments import engine, estimates
from vla.experiments.estimates import Hardware, Work, accelerators, table_work, this_machine, views_work
from vla.experiments.experiment import Experiment, Layers
from vla.experiments.names import name_and_source
from vla.experiments.participants import is_here, refused_configs
from vla.experiments.saved import is_saved
from vla.experiments.scoring import Bench
from vla.experiments.study import Study
from vla.experiments.tables import Need, Table, needs, tables
from vla.models.catalogue import similar_ids
from vla.records import Modality

# Share of a device's memory that weights may take beside a batch.
WEIGHTS_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the plan.

    Attributes:
      name: Id of an experiment, or name of a model.
      role: "vision", "language" or "experiment".
      units: Number of views to extract, or of tables to score.
      stored: How many of them the stores have; None if that is not known yet.
      work: The remaining work, as far as sizes are known.
      note: A remark for the reader.
    """

    name: str
    role: str
    units: int
    stored: int | None
    work: Work
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
      lines: Models, then experiments.
      unknown: Why the stores could not be read; "" if they were.
      dtype: Data type of the models.
      absent: The conditions that cannot be run and the reasons.
      refused: The models that are refused because of their config.json, and the reasons.
      tensor_parallel: Number of devices that share one copy of the weights.
    """

    lines: tuple[Line, ...]
    unknown: str
    dtype: str
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    tensor_parallel: int = 1

    @property
    def work(self) -> Work:
        """The total remaining work."""
        total = Work()
        for line in self.lines:
            total += line.work
        return total


def plan(study: Study, workdir: Path) -> Plan:
    """The plan of a study. Nothing is written or extracted; only config.json of unregistered models is downloaded.

    If all datasets and models are on this machine, the stores are read; otherwise everything counts as not done.
    """
    bench = resolved = None
    refused = refused_configs(study, fetch_registered=False)
    unknown = _not_here(study)
    if refused:
        unknown = f"{len(refused)} models are refused: everything counts as not done"
    if not unknown:
        try:
            bench, resolved = engine.prepare(study, workdir, read_only=True)
        except ValueError as error:
            unknown = str(error)
    usable = resolved.usable if resolved else lambda *_: True
    readable = functools.partial(engine.readable, bench) if bench else lambda *_: True
    lines = []
    views = needs(study, usable)
    for modality, model in dict.fromkeys(key[:2] for key in views):
        of_model = {key: layers for key, layers in views.items() if key[:2] == (modality, model)}
        line = _model(study, bench, modality, model, of_model)
        lines.append(dataclasses.replace(line, note="refused, see below") if model in refused else line)
    every_table = list(tables(study, usable, readable))
    for experiment in study.experiments:
        of_experiment = [table for table in every_table if table.part[0] == experiment.id]
        absent = [condition.name for condition in experiment.conditions if not usable(experiment, condition)]
        lines.append(_experiment(study, bench, experiment, of_experiment, absent))
    return Plan(
        tuple(lines),
        unknown,
        study.dtype,
        resolved.reasons if resolved else (),
        tuple(f"{model}: {reason}" for model, reason in refused.items()),
        study.tensor_parallel,
    )


def _not_here(study: Study) -> str:
    """The datasets and models that must be downloaded first, as a sentence; "" if none."""
    roles = {condition.dataset for experiment in study.experiments for condition in experiment.conditions}
    remote = [role for role in sorted(roles) if study.datasets[role].directory is None]
    away = [model for model in study.all_models if not (is_saved(model) or is_here(name_and_source(model)[1]))]
    if not remote and not away:
        return ""
    parts = [f"the datasets {', '.join(remote)}"] * bool(remote) + [f"{len(away)} models"] * bool(away)
    return f"{' and '.join(parts)} are not on this machine by path: everything counts as not done"


def _model(study: Study, bench: Bench | None, modality: Modality, model: str, views: Mapping[Need, Layers]) -> Line:
    (name, source), size = name_and_source(model), estimates.size(model, modality)
    stored, note = None, ""
    todo = [(study.datasets[role].n_items or 1000, layers) for (_, _, role, _), layers in views.items()]
    if bench is not None:
        participant, missing = bench.participants[modality, model], []
        for (_, _, role, member), layers in views.items():
            view = bench.galleries[role].view(modality, member)
            if not participant.has(view, layers):
                missing.append((len(view.ids), layers))
        stored, todo = len(todo) - len(missing), missing
    work = views_work(study, modality, model, todo)
    if size is None:
        note = "size unknown" if is_saved(model) or is_here(source) else _unregistered(source)
    else:
        work += Work(weights=size.bytes if todo else 0.0)
    return Line(name, modality, len(views), stored, work, note)


def _unregistered(source: str) -> str:
    """The note on a model that is neither on this machine nor in the register."""
    similar = similar_ids(source)
    return f"not in the register{f', which has {listed(similar)}' if similar else ': python -m launch.models lists it'}"


def _experiment(
    study: Study, bench: Bench | None, experiment: Experiment, all_tables: Sequence[Table], absent: list[str]
) -> Line:
    stored, todo = None, list(all_tables)
    if bench is not None:
        todo = [table for table in all_tables if not engine.is_scored(bench, table)]
        stored = len(all_tables) - len(todo)
    work = Work()
    for table in todo:
        work += table_work(study, bench.items if bench else None, table)
    note = f"not run: {listed(absent, 3)}" if absent else ""
    return Line(experiment.id, "experiment", len(all_tables), stored, work, note)


def plan_text(plan: Plan, machines: Sequence[Hardware] | None = None) -> str:
    """The plan as a printed table and sentences.

    Args:
      plan: The plan.
      machines: Machines for which times are estimated; None for this one and the accelerators of `hardware.toml`.
    """
    machines = (this_machine(), *accelerators()) if machines is None else machines
    grid = Printed("", "name", "units", "stored", *(machine.id for machine in machines), "disk", "memory", "note")
    for line in plan.lines:
        seconds = [sum(line.work.seconds(machine, plan.dtype)) for machine in machines]
        grid.add_row(
            line.role,
            line.name,
            str(line.units),
            "?" if line.stored is None else str(line.stored),
            *map(duration, seconds),
            _bytes(line.work.disk),
            _bytes(line.work.memory),
            line.note,
        )
    text = io.StringIO()
    console = Console(file=text, width=150)
    console.print(grid)
    counts = Counter(line.role for line in plan.lines)
    work = plan.work
    console.print(
        f"{counts['vision']} vision and {counts['language']} language models, {counts['experiment']} "
        f"experiment{'s' * (counts['experiment'] != 1)}."
    )
    if plan.unknown:
        console.print(f"{plan.unknown[0].upper()}{plan.unknown[1:]}.")
    console.print(
        f"Disk: checkpoints {_bytes(work.weights)}, activations {_bytes(work.disk)}. "
        f"Peak memory: {_bytes(work.memory)}."
    )
    for machine in machines:
        extract, score = work.seconds(machine, plan.dtype)
        console.print(
            f"\n{machine.words[0].upper()}{machine.words[1:]}: extraction {duration(extract)}, scoring "
            f"{duration(score)}, together {duration(extract + score)}{_fits(work, machine, plan.tensor_parallel)}.\n"
            f"  {machine.basis}; {machine.source}."
        )
    for title, reasons in (
        ("Models that are refused before their weights are downloaded:", plan.refused),
        ("Conditions that cannot be run, with the remedy:", plan.absent),
    ):
        if reasons:
            console.print(f"\n{title}")
            for reason in reasons:
                console.print(f"  {reason}", soft_wrap=True)
    console.print(
        "\nNot included: downloading and reading checkpoints and datasets, decoding images (seconds per view), CLIP "
        "Scores, compilation, the analysis of content, figures."
    )
    return text.getvalue()


def _fits(work: Work, machine: Hardware, tensor_parallel: int) -> str:
    """A remark if the work does not fit the memory of a machine; "" if it does."""
    total, each = machine.memory_gib * 2**30, machine.memory_gib / machine.devices * 2**30
    if work.memory > total:
        return f"; {_bytes(work.memory)} do not fit its {machine.memory_gib:.0f} GiB: use --config.stream=True"
    if work.each <= each:
        return ""
    divisors = [n for n in range(2, machine.devices + 1) if machine.devices % n == 0]
    fitting = [n for n in divisors if work.each * tensor_parallel / n <= WEIGHTS_SHARE * each]
    remedies = [*(f"--config.tensor_parallel={n}" for n in fitting[:1]), "--config.stream=True"]
    return f"; weights of {_bytes(work.each)} do not fit the {_bytes(each)} of each device: use {' or '.join(remedies)}"


def duration(seconds: float) -> str:
    """A duration in words."""
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
