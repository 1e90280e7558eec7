"""From the values of a config to a study."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vla.checks import check_names, listed
from vla.experiments.choices import Choices
from vla.experiments.experiment import Condition, Experiment, Paper, as_experiment
from vla.experiments.study import IN_DATA, MAIN, MODALITIES, ContentPlan, DatasetPlan, Study

Record = TypeVar("Record", Choices, ContentPlan)

# Values that are read here; every other value is a field of `Study`.
_READ_HERE = ("experiments", "own_experiments", "sweep", "datasets", "data", "choices", "content", "vision", "language",
              "layers", "settings", "shard", "overrides")  # fmt: skip
_FIELDS = {name: field for field, name in IN_DATA.items()}


def study(config: Mapping[str, Any], commands: Mapping[str, str] | None = None, paper: Paper | None = None) -> Study:
    """The study that a config describes; a value of None takes the default.

    Args:
      config: Fields of `Study`, with `experiments` (ids of experiments of the paper and of `own_experiments`),
        `own_experiments` (dictionaries of fields of `Experiment`), the settings of the paper, `sweep` (numbers of
        items), `datasets` (fields of `DatasetPlan` by role), `choices`, `content` (fields of `ContentPlan`), `vision`,
        `language` (models by group), and `shard` as "i/n". Instead of `datasets`, `data` describes the only dataset:
        its `path`, `n` ("all" for all), further fields of `DatasetPlan`, and options of its reader; instead of
        `choices` and `overrides`, `settings` has both; `vision` and `language` can be names without groups. `layers`
        are the default of own experiments.
      commands: Commands of the run, by name.
      paper: The paper whose experiments can be requested, named by `paper` of the config.

    Raises:
      ValueError: An unknown or invalid value; the message lists the alternatives.
    """
    values = dict(config)
    known = {field.name for field in dataclasses.fields(Study)} - {"commands"}
    check_names("the config", values, known | set(_READ_HERE) | set(paper.settings if paper else ()))
    datasets = _datasets(values)
    models = {modality: _groups(values.get(modality, {})) for modality in MODALITIES}
    experiments, note = _experiments(values, paper, _defaults(values, datasets, models))
    choices, overrides = _settings(values)
    if note:
        values["note"] = f"{values.get('note') or ''} {note}".strip()
    if values.get("metrics") is not None:
        values["metrics"] = _names(values["metrics"])
    fields = {name: _plain(value) for name, value in _set(values).items() if name in known and name not in _READ_HERE}
    return Study(
        experiments=tuple(experiments),
        datasets=datasets,
        **models,
        choices=choices,
        content=_record("content", values.get("content"), ContentPlan),
        overrides=overrides,
        shard=_shard(values.get("shard") or "0/1"),
        commands=commands or {},
        **fields,
    )


def _set(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in (values or {}).items() if value is not None}


def _datasets(values: Mapping[str, Any]) -> dict[str, DatasetPlan]:
    """The datasets by role: those of `datasets`, or the one of `data`."""
    datasets = {role: _dataset(role, fields) for role, fields in (values.get("datasets") or {}).items()}
    if values.get("data") is not None:
        data: dict[str, Any] = {}
        for name, value in values["data"].items():
            data[_FIELDS[name] if name in _FIELDS else name] = value
        fields = {field.name for field in dataclasses.fields(DatasetPlan)} - {"role", "options"}
        options = {**(data.pop("options", None) or {}), **{name: data[name] for name in set(data) - fields}}
        plan = {name: value for name, value in _set(data).items() if name in fields}
        plan["n_items"] = 0 if plan.get("n_items") == "all" else plan.get("n_items", 0)
        datasets[MAIN] = _dataset(MAIN, {**plan, "directory": plan.get("directory") or None, "options": options})
    return datasets


def _settings(values: Mapping[str, Any]) -> tuple[Choices, dict[str, Any]]:
    """Choices, and settings of metrics, from `settings` or from `choices` and `overrides`."""
    fields = {field.name for field in dataclasses.fields(Choices)}
    settings = _set(values.get("settings"))
    choices = {**(values.get("choices") or {}), **{name: settings[name] for name in settings if name in fields}}
    overrides = {**(values.get("overrides") or {}), **{name: settings[name] for name in settings if name not in fields}}
    return _record("choices", choices, Choices), {name: _plain(value) for name, value in _set(overrides).items()}


def _defaults(
    values: Mapping[str, Any], datasets: Mapping[str, DatasetPlan], models: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Defaults of own experiments: the dataset `data`, models without groups, `layers`."""
    defaults: dict[str, Any] = {modality: MAIN for modality, groups in models.items() if MAIN in groups}
    defaults |= {"dataset": MAIN} if MAIN in datasets else {}
    return defaults | ({"layers": values["layers"]} if values.get("layers") else {})


def _experiments(
    values: Mapping[str, Any], paper: Paper | None, defaults: Mapping[str, Any]
) -> tuple[list[Experiment], str]:
    """The requested experiments in order, and a note on those that the settings of the paper leave out."""
    known, every, changed, note = {}, {}, "", ""
    if paper is not None:
        settings = {name: values.get(name, default) for name, default in paper.settings.items()}
        known, every = dict(paper.experiments(**settings)), paper.experiments()
        changed = ", ".join(f"{name}={value}" for name, value in settings.items() if value != paper.settings[name])
    own_experiments = [
        as_experiment(fields if isinstance(fields, Experiment) else {**defaults, **fields})
        for fields in values.get("own_experiments") or ()
    ]
    known |= {experiment.id: experiment for experiment in own_experiments}
    ids = list(dict.fromkeys((*_names(values.get("experiments") or ()), *(each.id for each in own_experiments))))
    left_out = [id for id in ids if id not in known and id in every]
    if left_out:
        note = f"{changed} leaves {listed(left_out)} out."
        if left_out == ids:
            raise ValueError(f"{note} Set another value, or request other experiments: {', '.join(known)}")
    unknown = [id for id in ids if id not in known and id not in left_out]
    if unknown:
        raise ValueError(f"no experiment is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    sweep = tuple(values.get("sweep") or ())
    return [known[id] for id in ids if id in known] + ([item_sweep(sweep)] if sweep else []), note


def item_sweep(sizes: tuple[int, ...]) -> Experiment:
    """Alignment against the number of items, on which all scores depend."""
    return Experiment(
        "N sweep",
        "Alignment against the number of items",
        "How does alignment depend on the number of items?",
        tuple(Condition(f"{n} items", series="items", k=n, part=f"{n} items", items=n) for n in sizes),
        expected="Ridge scores rise with more items to learn from; biased CKA falls.",
    )


def _dataset(role: str, fields: Mapping[str, Any]) -> DatasetPlan:
    check_names(f"the dataset {role}", fields, {field.name for field in dataclasses.fields(DatasetPlan)} - {"role"})
    return DatasetPlan(role, **_set({**fields, "options": _set(fields.get("options"))}))


def _groups(models: Mapping[str, Any] | Sequence[str] | str) -> dict[str, tuple[str, ...]]:
    """Models by group; names without groups are one group."""
    if not isinstance(models, Mapping):
        models = {MAIN: models}
    return {name: _names(of_group) for name, of_group in models.items()}


def _record(what: str, values: Mapping[str, Any] | None, record: type[Record]) -> Record:
    check_names(what, values or {}, {field.name for field in dataclasses.fields(record)})
    return record(**_set(values))


def _shard(text: object) -> tuple[int, int]:
    i, sign, n = str(text).partition("/")
    if not (sign and i.isdigit() and n.isdigit()):
        raise ValueError(f"shard={text!r}; expected i/n, such as 0/4 for the first of four parts")
    return int(i), int(n)


def _names(names: Sequence[str] | str) -> tuple[str, ...]:
    """Names from a sequence, or from text with commas, as in `a,b` on the command line; an existing path is kept."""
    sequence = (names,) if isinstance(names, str) else tuple(names)
    parts = [[name] if os.path.exists(name) else name.split(",") for name in sequence]
    return tuple(name.strip() for several in parts for name in several if name.strip())


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
