"""A scoring task: a metric with its settings, seed, nulls and resamples, checked before anything is computed."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla.checks import check_names, check_number, check_whole_number
from vla.metrics.metric import Metric
from vla.metrics.registry import METRICS, find
from vla.metrics.ridge_settings import find_protocol


@dataclasses.dataclass(frozen=True)
class Task:
    """A metric and all choices that determine its scores, except the activations.

    Attributes:
      metric: The metric.
      settings: An instance of `metric.settings`.
      protocol: Name of the protocol that the settings come from.
      seed: Seed of folds, permutations and draws of items.
      null: Number of permutations of the items.
      bootstrap: Number of draws of items for intervals.
      halves: Number of splits of the items into halves.
      confidence: Level of the intervals.
      units: Whether the score of every target unit is wanted.
      groups: One label per item, in the order of the items: items that share a label stay together in folds, halves,
        draws and permutations. "duplicates" stands for the labels of `vla.alignment.duplicates`; None for no groups.
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
    units: bool = False

    def with_groups(self, groups: Any) -> "Task":
        """The same task with these groups, also in the settings of a metric with folds."""
        settings = self.settings
        if hasattr(settings, "groups"):
            settings = dataclasses.replace(settings, groups=groups)
        return dataclasses.replace(self, settings=settings, groups=groups)

    def with_splits(self, n_items: int) -> "Task":
        """The same task with the `splits` of ridge regression, if there are any, as item numbers.

        Raises:
          ValueError: Splits that do not fit the items or the groups.
        """
        if getattr(self.settings, "splits", None) is None:
            return self
        return dataclasses.replace(self, settings=self.settings.for_items(n_items))

    @property
    def lowest(self) -> float:
        """Lower end of the range of the score."""
        return self.metric.lowest_of(self.settings)

    @property
    def settings_text(self) -> str:
        """The settings and the groups as JSON, because attributes of zarr and netCDF cannot be nested."""
        settings = dataclasses.asdict(self.settings)
        if settings.get("splits", ()) is None:
            del settings["splits"]  # the keys of stores are those from before this setting
        if self.groups is not None:
            settings["groups"] = self.groups
        # A splitter becomes item numbers once these are known (`with_splits`); until then its text stands for it.
        return json.dumps(
            settings, default=lambda value: repr(value) if hasattr(value, "split") else np.asarray(value).tolist()
        )

    def determines(self) -> dict[str, Any]:
        """JSON values of all that determines the scores, except the activations."""
        return {
            "metric": self.metric.name,
            "settings": json.loads(self.settings_text),
            "seed": self.seed,
            "null": self.null,
            "bootstrap": self.bootstrap,
            "halves": self.halves,
            "confidence": self.confidence,
            **({"units": True} if self.units else {}),
        }


def make_tasks(
    names: Iterable[str],
    protocol: str,
    seed: Any,
    null: Any,
    overrides: Mapping[str, Any] | None = None,
    bootstrap: Any = 0,
    halves: Any = 0,
    confidence: Any = 0.95,
    units: bool = False,
) -> list[Task]:
    """One task per metric, checked.

    Args:
      names: Names of different metrics.
      protocol: Named defaults of the settings of ridge regression.
      seed: In 0..2**32 - 1.
      null: Number of permutations, 0 or more.
      overrides: Settings by name; each metric takes those that it has. `groups` is for all metrics: one label per item
        in the order of the items, or "duplicates".
      bootstrap: Number of draws, 0 or at least 2.
      halves: Number of splits, 0 or more.
      confidence: Above 0 and below 1.
      units: Whether the scores of target units are wanted, of the metrics that have them.

    Raises:
      ValueError: No metric, a metric twice, an unknown metric or protocol, a setting that no metric has, or a bad
        value.
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
    check_number("confidence", confidence, above=0, below=1)
    if units and not any(metric.of_units for metric in metrics):
        known = sorted(name for name, metric in METRICS.items() if metric.of_units)
        raise ValueError(
            f"units=True: {', '.join(names)} is no mean over target units; only {', '.join(known)} is. Set units=False."
        )
    overrides = dict(overrides or {})
    groups = _labels(overrides.pop("groups", None))
    chosen = _settings(metrics, protocol, int(seed), overrides)
    tasks = [
        Task(
            metric,
            settings,
            protocol,
            int(seed),
            int(null),
            int(bootstrap),
            int(halves),
            float(confidence),
            units=units and metric.of_units,
        )
        for metric, settings in zip(metrics, chosen, strict=True)
    ]
    return tasks if groups is None else [task.with_groups(groups) for task in tasks]


def check_metrics(names: Iterable[str], setting: str = "metric") -> None:
    """Refuse an empty list of metrics, and a metric named twice; messages name the argument `setting`.

    Raises:
      ValueError: The list is empty, or a name occurs more than once.
    """
    names = list(names)
    if not names:
        raise ValueError(f"{setting} is empty: name at least one metric, such as {setting}='linear_predictivity'.")
    repeated = sorted(name for name, count in Counter(map(str, names)).items() if count > 1)
    if repeated:
        raise ValueError(f"{setting} names {', '.join(repeated)} more than once: name each metric once.")


def check_overrides(names: Iterable[str], overrides: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse settings that none of the metrics has.

    Args:
      names: Names of metrics.
      overrides: Names of settings.
      also: Further names that are allowed.

    Raises:
      ValueError: An unknown setting, with the known ones, or an unknown metric.
    """
    metrics = list(dict.fromkeys(names))
    known = {field.name for name in metrics for field in dataclasses.fields(find(name).settings)} - {"seed"}
    known.update(also, ["groups"])
    check_names(f"overrides ({', '.join(metrics)})", overrides, known)


def _labels(groups: Any) -> tuple | str | None:
    """Labels as a tuple of Python values; None and strings are returned unchanged."""
    if groups is None or isinstance(groups, str):
        return groups
    if isinstance(groups, Mapping | pd.Series | pd.DataFrame | xr.DataArray):
        raise ValueError(
            f"groups is a {type(groups).__name__}, but the names of the items are not known here: give a list with one "
            "label per item, in the order of the items of x."
        )
    return tuple(np.asarray(groups).tolist())


def _settings(metrics: list[Metric], protocol: str, seed: int, overrides: dict[str, Any]) -> list[Any]:
    """The settings of each metric; an override that no metric has is refused."""
    find_protocol(protocol)
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
        changed = {name: value for name, value in plain.items() if name in known[metric.name]}
        chosen.append(metric.settings(**{**metric.protocols.get(protocol, {}), **changed}))
    return chosen
