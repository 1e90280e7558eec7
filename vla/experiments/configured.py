"""From a config's values to a study."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vla.experiments.catalogue import catalogue, item_sweep
from vla.experiments.choices import Choices
from vla.experiments.content_plan import ContentPlan
from vla.experiments.experiment import Experiment, as_experiment
from vla.experiments.study import DatasetPlan, Study
from vla.records import listed

Kind = TypeVar("Kind", Choices, ContentPlan)

# Read here; every other value is a field of `Study`.
_OWN = ("experiments", "own_experiments", "captions", "images", "sweep", "datasets", "choices", "content", "vision",
        "language", "shard", "overrides")  # fmt: skip


def study(config: Mapping[str, Any], commands: Mapping[str, str] | None = None) -> Study:
    """The study that a config describes.

    Args:
      config: Fields of `Study`, with `experiments` (ids of the catalogue, and of `own_experiments`), `own_experiments`
        (dictionaries of fields of `Experiment`), `captions` and `images` (most exemplars averaged), `sweep` (numbers of
        items), `datasets` (fields of `DatasetPlan` by role), `choices`, `content` (fields of `ContentPlan`), `vision`,
        `language` (models by group), and `shard` as "i/n".
      commands: How the run was started.

    Raises:
      ValueError: Something of it is not known; the message lists what is.
    """
    values = dict(config)
    known = {field.name for field in dataclasses.fields(Study)} - {"commands"}
    _refuse("the config", values, known | set(_OWN))
    experiments, note = _experiments(values)
    if note:
        values["note"] = f"{values.get('note', '')} {note}".strip()
    return Study(
        experiments=tuple(experiments),
        datasets={role: _dataset(role, given) for role, given in (values.get("datasets") or {}).items()},
        vision=_groups(values.get("vision") or {}),
        language=_groups(values.get("language") or {}),
        choices=_fields("choices", values.get("choices") or {}, Choices),
        content=_fields("content", values.get("content") or {}, ContentPlan),
        overrides={name: value for name, value in (values.get("overrides") or {}).items() if value is not None},
        shard=_shard(values.get("shard") or "0/1"),
        commands=commands or {},
        **{name: _plain(value) for name, value in values.items() if name in known and name not in _OWN},
    )


def _experiments(values: Mapping[str, Any]) -> tuple[list[Experiment], str]:
    """The experiments in order, and what a reader must know of those that were asked for."""
    captions, images = values.get("captions", 15), values.get("images", 10)
    for name, most, least in (("captions", captions, 1), ("images", images, 0)):
        if isinstance(most, bool) or not isinstance(most, int) or most < least:
            raise ValueError(f"{name}={most!r}; expected how many {name} are averaged at most, {least} or more")
    known = catalogue(captions, images)
    own = [as_experiment(given) for given in values.get("own_experiments") or ()]
    known |= {experiment.id: experiment for experiment in own}
    asked = list(dict.fromkeys((*_several(values.get("experiments") or ()), *(one.id for one in own))))
    left_out = [id for id in asked if id not in known and id in catalogue()]
    if left_out and left_out == asked:
        raise ValueError(
            f"images={images} leaves {listed(left_out)} out, which averages images: set images to 1 or more"
        )
    unknown = [id for id in asked if id not in known and id not in left_out]
    if unknown:
        raise ValueError(f"no experiment is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    chosen = [known[id] for id in asked if id in known]
    sweep = tuple(values.get("sweep") or ())
    note = f"images={images} leaves {listed(left_out)} out." if left_out else ""
    return chosen + ([item_sweep(sweep)] if sweep else []), note


def _dataset(role: str, given: Mapping[str, Any]) -> DatasetPlan:
    values = dict(given)
    _refuse(f"the dataset {role}", values, {field.name for field in dataclasses.fields(DatasetPlan)} - {"role"})
    values["options"] = {name: value for name, value in (values.get("options") or {}).items() if value is not None}
    return DatasetPlan(role, **values)


def _groups(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(_several(models)) for name, models in given.items()}


def _fields(what: str, given: Mapping[str, Any], kind: type[Kind]) -> Kind:
    values = dict(given)
    _refuse(what, values, {field.name for field in dataclasses.fields(kind)})
    return kind(**values)


def _shard(text: Any) -> tuple[int, int]:
    i, sign, n = str(text).partition("/")
    if not (sign and i.isdigit() and n.isdigit()):
        raise ValueError(f"shard={text!r}; expected i/n, such as 0/4 for the first of four parts")
    return int(i), int(n)


def _several(given: Any) -> Sequence[str]:
    """A tuple of names; a name alone stands for one."""
    return (given,) if isinstance(given, str) else tuple(given)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refuse(what: str, values: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{what} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
