"""Picks from a run's tables the rows that belong together in one figure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vla.experiments.experiment import over_models

SHUFFLED = "shuffled"
LENGTH = "length only"
CELL = ["condition", "vision_model", "language_model", "metric", "direction"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Conditions that are compared with one another.

    Attributes:
      name: For files, such as "images".
      conditions: Names; the first is what the others are compared with.
      comparisons: Names of the comparisons.
    """

    name: str
    conditions: tuple[str, ...]
    comparisons: tuple[str, ...]


def groups(experiment: Mapping[str, Any]) -> list[Group]:
    """Comparisons of an experiment within one part of its conditions, those along a curve left out."""
    specs = {condition["name"]: condition for condition in experiment.get("conditions", ())}
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for comparison in experiment.get("comparisons", ()):
        high, low = (specs.get(comparison[side], {}) for side in ("higher", "lower"))
        if high.get("series"):
            continue
        changed = "images" if high.get("image") != low.get("image") else "captions"
        found.setdefault((comparison["higher"], high.get("part") or changed), []).append(comparison)
    return [
        Group(
            part,
            (reference, *dict.fromkeys(comparison["lower"] for comparison in own)),
            tuple(comparison["name"] for comparison in own),
        )
        for (reference, part), own in found.items()
    ]


def layer_maps(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of those conditions, model pairs and metrics of which several layer pairs were scored."""
    if scores.empty:
        return scores
    return scores.loc[scores.groupby(CELL, sort=False)["score"].transform("size") > 1]


def curve_groups(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of curves by what is averaged: "captions", "images", or "curves" where the name of a series says neither."""
    if curves.empty:
        return {}
    names = curves["series"].astype(str)
    kind = names.map(lambda name: next((word for word in ("captions", "images") if word in name), "curves"))
    return {str(word): rows for word, rows in curves.groupby(kind, sort=False)}


def counts_items(curves: pd.DataFrame) -> bool:
    """Whether the counts of curves are numbers of items."""
    return set(curves["series"].astype(str)) == {"items"}


def along_training(experiment: Mapping[str, Any]) -> bool:
    """Whether an experiment follows models along their training: whether the points of a curve are other models."""
    names = ("series", "vision_group", "language_group")
    return over_models(
        tuple(one.get(name) for name in names) for one in experiment.get("conditions", ()) if one.get("series")
    )
