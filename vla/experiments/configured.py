"""From a config's values to a study."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vla.checks import check_names, listed
from vla.experiments.choices import Choices
from vla.experiments.content_plan import ContentPlan
from vla.experiments.experiment import Condition, Experiment, Paper, as_experiment
from vla.experiments.study import IN_DATA, MAIN, MODALITIES, DatasetPlan, Study

Kind = TypeVar("Kind", Choices, ContentPlan)

# Read here; every other value is a field of `Study`.
_OWN = ("experiments", "own_experiments", "sweep", "datasets", "data", "choices", "content", "vision", "language",
        "layers", "settings", "shard", "overrides")  # fmt: skip
_FIELDS = {name: field for field, name in IN_DATA.items()}


def study(config: Mapping[str, Any], commands: Mapping[str, str] | None = None, paper: Paper | None = None) -> Study:
    """The study that a config describes.

    Args:
      config: Fields of `Study`, with `experiments` (ids of the paper's experiments, and of `own_experiments`),
        `own_experiments` (dictionaries of fields of `Experiment`), the settings of the paper, `sweep` (numbers of
        items), `datasets` (fields of `DatasetPlan` by role), `choices`, `content` (fields of `ContentPlan`), `vision`,
        `language` (models by group), and `shard` as "i/n". In place of `datasets`, `data` describes the only dataset:
        its `path`, `n` ("all" for all), further fields of `DatasetPlan`, and options of its reader; in place of
        `choices` and `overrides`, `settings` has both; `vision` and `language` may be names without groups. `layers`
        are those of own experiments that name none.
      commands: How the run was started.
      paper: The paper whose experiments may be asked for, which `paper` of the config names.

    Raises:
      ValueError: Something of it is not known; the message lists what is.
    """
    values = dict(config)
    known = {field.name for field in dataclasses.fields(Study)} - {"commands"}
    _refuse("the config", values, known | set(_OWN) | set(paper.settings if paper else ()))
    datasets = _datasets(values)
    models = {modality: _groups(values.get(modality, {})) for modality in MODALITIES}
    experiments, note = _experiments(values, paper, _defaults(values, datasets, models))
    choices, overrides = _settings(values)
    if note:
        values["note"] = f"{values.get('note', '')} {note}".strip()
    if "metrics" in values:
        values["metrics"] = _several(values["metrics"])
    return Study(
        experiments=tuple(experiments),
        datasets=datasets,
        **models,
        choices=choices,
        content=_fields("content", values.get("content") or {}, ContentPlan),
        overrides=overrides,
        shard=_shard(values.get("shard") or "0/1"),
        commands=commands or {},
        **{name: _plain(value) for name, value in values.items() if name in known and name not in _OWN},
    )


def _datasets(values: Mapping[str, Any]) -> dict[str, DatasetPlan]:
    """The datasets by role: those of `datasets`, or the one of `data`."""
    datasets = {role: _dataset(role, given) for role, given in (values.get("datasets") or {}).items()}
    if values.get("data") is not None:
        data = {_FIELDS.get(name, name): value for name, value in values["data"].items()}
        fields = {field.name for field in dataclasses.fields(DatasetPlan)} - {"role", "options"}
        options = {**(data.pop("options", None) or {}), **{name: data[name] for name in set(data) - fields}}
        plan = {name: value for name, value in data.items() if name in fields and (value is not None)}
        plan["n_items"] = 0 if plan.get("n_items") == "all" else plan.get("n_items", 0)
        datasets[MAIN] = _dataset(MAIN, {**plan, "directory": plan.get("directory") or None, "options": options})
    return datasets


def _settings(values: Mapping[str, Any]) -> tuple[Choices, dict[str, Any]]:
    """Choices, and settings of metrics, from `settings` or from `choices` and `overrides`; None leaves the default."""
    fields = {field.name for field in dataclasses.fields(Choices)}
    settings = {name: value for name, value in (values.get("settings") or {}).items() if value is not None}
    choices = {**(values.get("choices") or {}), **{name: settings[name] for name in settings if name in fields}}
    overrides = {**(values.get("overrides") or {}), **{name: settings[name] for name in settings if name not in fields}}
    return (
        _fields("choices", choices, Choices),
        {name: _plain(value) for name, value in overrides.items() if value is not None},
    )


def _defaults(
    values: Mapping[str, Any], datasets: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What own experiments take where they do not say: the dataset `data`, models without groups, `layers`."""
    defaults: dict[str, Any] = {modality: MAIN for modality, groups in models.items() if MAIN in groups}
    defaults |= {"dataset": MAIN} if MAIN in datasets else {}
    return defaults | ({"layers": values["layers"]} if values.get("layers") else {})


def _experiments(
    values: Mapping[str, Any], paper: Paper | None, defaults: Mapping[str, Any]
) -> tuple[list[Experiment], str]:
    """The experiments in order, and what a reader must know of those that were asked for."""
    known, every, changed, note = {}, {}, "", ""
    if paper is not None:
        settings = {name: values.get(name, default) for name, default in paper.settings.items()}
        known, every = dict(paper.experiments(**settings)), paper.experiments()
        changed = ", ".join(f"{name}={value}" for name, value in settings.items() if value != paper.settings[name])
    own = [
        as_experiment(given if isinstance(given, Experiment) else {**defaults, **given})
        for given in values.get("own_experiments") or ()
    ]
    known |= {experiment.id: experiment for experiment in own}
    asked = list(dict.fromkeys((*_several(values.get("experiments") or ()), *(one.id for one in own))))
    left_out = [id for id in asked if id not in known and id in every]
    if left_out:
        note = f"{changed} leaves {listed(left_out)} out."
        if left_out == asked:
            raise ValueError(f"{note} Set another value, or ask for other experiments: {', '.join(known)}")
    unknown = [id for id in asked if id not in known and id not in left_out]
    if unknown:
        raise ValueError(f"no experiment is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    chosen = [known[id] for id in asked if id in known]
    sweep = tuple(values.get("sweep") or ())
    return chosen + ([item_sweep(sweep)] if sweep else []), note


def item_sweep(sizes: tuple[int, ...]) -> Experiment:
    """Alignment against the number of items, which any claim about it needs beside."""
    return Experiment(
        "N sweep",
        "Alignment against the number of items",
        "How much does alignment hang on how many items there are?",
        tuple(Condition(f"{n} items", series="items", k=n, part=f"{n} items", items=n) for n in sizes),
        expected="Ridge scores rise with more items to learn from; biased CKA falls.",
    )


def _dataset(role: str, given: Mapping[str, Any]) -> DatasetPlan:
    values = dict(given)
    _refuse(f"the dataset {role}", values, {field.name for field in dataclasses.fields(DatasetPlan)} - {"role"})
    values["options"] = {name: value for name, value in (values.get("options") or {}).items() if value is not None}
    return DatasetPlan(role, **values)


def _groups(models: Mapping[str, Any] | Sequence[str] | str) -> dict[str, tuple[str, ...]]:
    """Models by group; names without groups are one."""
    if not isinstance(models, Mapping):
        models = {MAIN: models}
    return {name: _several(each) for name, each in models.items()}


def _fields(what: str, given: Mapping[str, Any], kind: type[Kind]) -> Kind:
    values = dict(given)
    _refuse(what, values, {field.name for field in dataclasses.fields(kind)})
    return kind(**values)


def _shard(text: Any) -> tuple[int, int]:
    i, sign, n = str(text).partition("/")
    if not (sign and i.isdigit() and n.isdigit()):
        raise ValueError(f"shard={text!r}; expected i/n, such as 0/4 for the first of four parts")
    return int(i), int(n)


def _several(names: Any) -> tuple[str, ...]:
    """Names from a sequence, or joined by commas, as the command line gives `a,b`; an existing path may have commas."""
    sequence = (names,) if isinstance(names, str) else tuple(names)
    parts = [[name] if os.path.exists(name) else name.split(",") for name in sequence]
    return tuple(name.strip() for several in parts for name in several if name.strip())


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refuse(what: str, values: Mapping[str, Any], known: set[str]) -> None:
    check_names(what, values, known)
