"""What is asked of one metric: its settings, and which shuffled scores stand beside it."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla.alignment.paired import check_confidence
from vla.checks import check_names, check_whole_number
from vla.metrics.metric import Metric
from vla.metrics.registry import find
from vla.metrics.ridge_settings import RidgeSettings, find_protocol


@dataclasses.dataclass(frozen=True)
class Task:
    """One metric with everything that is chosen, activations apart.

    Attributes:
      metric: The metric.
      settings: An instance of its settings.
      protocol: Name of the protocol from which the settings come.
      seed: Of folds, permutations and draws of items.
      null: Number of shuffled correspondences.
      bootstrap: Number of draws of items for intervals.
      halves: Number of splits of the items into halves.
      confidence: Of the intervals.
      groups: One label per item, in the order of the items: items that share a label stay together in folds, halves,
        draws and permutations. `vla.alignment.duplicates.DUPLICATES` finds them; None: every item stands alone.
    """

    metric: Metric
    settings: Any
    protocol: str = "paper"
    seed: int = 42
    null: int = 0
    bootstrap: int = 0
    halves: int = 0
    confidence: float = 0.95
    groups: Any = None

    def with_groups(self, groups: Any) -> "Task":
        """The same task on items in these groups; metrics with folds make their folds of them."""
        has = any(field.name == "groups" for field in dataclasses.fields(self.settings))
        settings = dataclasses.replace(self.settings, groups=groups) if has else self.settings
        return dataclasses.replace(self, settings=settings, groups=groups)

    @property
    def folds(self) -> int:
        """In how many steps a pair of layers is scored."""
        return getattr(self.settings, "outer_folds", 1)

    @property
    def lowest(self) -> float:
        """The lowest score there is; of shares of variance there is none."""
        return -np.inf if self._of_variance else self.metric.lowest

    @property
    def chance(self) -> float | None:
        """Expected score of unrelated features; of shares of variance none is known, but that it is below 0."""
        return None if self._of_variance else self.metric.chance

    @property
    def _of_variance(self) -> bool:
        return getattr(self.settings, "measure", "pearson") in ("explained_variance", "r2")

    @property
    def settings_text(self) -> str:
        """The settings and the groups as JSON: attributes of zarr and netCDF hold no nested values."""
        settings = dataclasses.asdict(self.settings)
        if self.groups is not None:
            settings["groups"] = self.groups
        return json.dumps(settings, default=_plain)

    def determines(self) -> dict[str, Any]:
        """JSON values of all that decides the numbers, activations apart."""
        return {
            "metric": self.metric.name,
            "settings": json.loads(self.settings_text),
            "seed": self.seed,
            "null": self.null,
            "bootstrap": self.bootstrap,
            "halves": self.halves,
            "confidence": self.confidence,
        }


def make_tasks(
    names: Iterable[str],
    protocol: str,
    seed: Any,
    null: Any,
    overrides: dict[str, Any] | None = None,
    bootstrap: Any = 0,
    halves: Any = 0,
    confidence: Any = 0.95,
) -> list[Task]:
    """Check what is asked of each metric.

    Args:
      names: Of metrics, at least one and each once.
      protocol: Named defaults of the settings of ridge regression.
      seed: In 0..2**32 - 1.
      null: A whole number.
      overrides: Settings by name; each metric is given those that it knows. `groups` is for all metrics: one label per
        item in the order of the items, or "duplicates".
      bootstrap: A whole number; one draw is no interval.
      halves: A whole number.
      confidence: Above 0 and below 1.

    Raises:
      ValueError: No metric, a metric twice; unknown metric, protocol or setting, or a setting that none of the metrics
        knows.
    """
    names = list(names)
    check_metrics(names)
    metrics = [find(name) for name in names]
    check_whole_number("seed", seed, 0, 2**32 - 1)
    check_whole_number("null", null, 0)
    check_whole_number("bootstrap", bootstrap, 0)
    check_whole_number("halves", halves, 0)
    if bootstrap == 1:
        raise ValueError("bootstrap=1: an interval needs at least 2 draws, and some 200 to be of use.")
    check_confidence(confidence)
    overrides = dict(overrides or {})
    groups = _labels(overrides.pop("groups", None))
    chosen = _settings(metrics, protocol, int(seed), overrides)
    tasks = [
        Task(metric, settings, protocol, int(seed), int(null), int(bootstrap), int(halves), float(confidence))
        for metric, settings in zip(metrics, chosen, strict=True)
    ]
    return tasks if groups is None else [task.with_groups(groups) for task in tasks]


def check_metrics(names: Iterable[str], setting: str = "metric") -> None:
    """Refuse no metric, and a metric named twice.

    Args:
      names: Of metrics.
      setting: What the caller names them by, for the message.

    Raises:
      ValueError: With what to give instead.
    """
    names = list(names)
    if not names:
        raise ValueError(f"{setting} is empty: name at least one metric, such as {setting}='linear_predictivity'.")
    twice = sorted(name for name, count in Counter(map(str, names)).items() if count > 1)
    if twice:
        raise ValueError(f"{setting} names {', '.join(twice)} more than once: name each metric once.")


def check_overrides(names: Iterable[str], overrides: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse settings that no metric has.

    Args:
      names: Of metrics.
      overrides: Names of settings.
      also: Names of settings that are known whatever the metrics have.

    Raises:
      ValueError: Some are not known; the message lists what is. An unknown metric.
    """
    metrics = list(dict.fromkeys(names))
    known = {field.name for name in metrics for field in dataclasses.fields(find(name).settings)} - {"seed"}
    known.update(also, ["groups"])
    check_names(f"overrides ({', '.join(metrics)})", overrides, known)


def _plain(value: Any) -> list:
    """What JSON makes of a setting that is an array or a sequence of labels."""
    return np.asarray(value).tolist()


def _labels(groups: Any) -> Any:
    """Labels of groups as a tuple of plain values; None and texts as they are."""
    if groups is None or isinstance(groups, str):
        return groups
    if isinstance(groups, Mapping | pd.Series | pd.DataFrame | xr.DataArray):
        raise ValueError(
            f"groups is a {type(groups).__name__}, but the names of the items are not known here: give a list with one "
            "label per item, in the order of the items of x."
        )
    return tuple(np.asarray(groups).tolist())


def _settings(metrics: list[Metric], protocol: str, seed: int, overrides: dict[str, Any]) -> list[Any]:
    """The settings of each metric; an override that none of them knows is refused."""
    defaults = find_protocol(protocol)
    known = {metric.name: {field.name for field in dataclasses.fields(metric.settings)} for metric in metrics}
    every = sorted(set().union(*known.values()) - {"seed"})
    check_names(" / ".join(known), overrides, every)
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in overrides.items()}
    check_whole_number("outer_folds", plain.get("outer_folds", 2), 0)
    plain["seed"] = seed
    chosen = []
    for metric in metrics:
        for field in dataclasses.fields(metric.settings):
            if field.type is bool and not isinstance(plain.get(field.name, False), bool):
                raise ValueError(f"{field.name}={plain[field.name]!r}: expected True or False.")
        base = defaults if issubclass(metric.settings, RidgeSettings) else {}
        own = {name: value for name, value in plain.items() if name in known[metric.name]}
        chosen.append(metric.settings(**{**base, **own}))
    return chosen
