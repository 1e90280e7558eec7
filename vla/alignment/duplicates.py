"""Duplicates: items with the same activations, which a warning names, or which share a fold on request.

N items, L layers, D units.

A test item whose copy is a training item does not test generalisation. Items are duplicates if all layers of a side
that vary agree to a relative 1e-5, about the float32 difference of one stimulus in two batches. A side with too few
numbers per item, such as the lengths of captions, may agree by chance and is not used.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vla.alignment.task import Task
from vla.checks import listed
from vla.metrics.folds import Fold, numbered

DUPLICATES = "duplicates"

# The relative difference up to which two rows are the same.
_TOLERANCE = 1e-5

# Sides with fewer numbers per item are used only if they identify items, see `_identifies_items`.
_FEWEST_NUMBERS = 9


def same_items(*sides: Float[np.ndarray, "_ N _"]) -> Int[np.ndarray, " N"]:
    """One label per item; duplicates on any side share a label, directly or through other items."""
    n = sides[0].shape[1]
    pairs = np.concatenate([_pairs(side) for side in sides])
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def settle_groups(tasks: Sequence[Task], x: xr.DataArray, y: xr.DataArray) -> list[Task]:
    """Replace `groups="duplicates"` by labels and `splits` by item numbers, and warn about duplicates that folds
    without groups would split.

    Duplicates are searched once for all tasks, and only if a task needs them.

    Args:
      tasks: The tasks.
      x: Activations (layer, item, unit).
      y: Activations of the same items in the same order.

    Raises:
      ValueError: `groups` is another string, or has another number of labels than there are items; splits that do not
        fit the items or the groups.
    """
    asked, metrics_by_folds, n_items = False, {}, x.sizes["item"]
    for task in tasks:
        if isinstance(task.groups, str):
            if task.groups != DUPLICATES:
                raise ValueError(f"groups={task.groups!r}: expected one label per item, or {DUPLICATES!r}.")
            asked = True
        elif task.groups is not None:
            numbered(task.groups, n_items)  # checks the labels, also for metrics that ignore groups
        elif hasattr(task.settings, "groups"):
            splits = getattr(task.settings, "splits", None)
            key = task.settings.outer_folds, task.settings.seed, splits if isinstance(splits, tuple) else id(splits)
            metrics_by_folds.setdefault(key, []).append(task)
    if not asked and not metrics_by_folds:
        return [task.with_splits(n_items) for task in tasks]
    labels = same_items(x.values, y.values)
    names = x["item"].values.tolist() if "item" in x.coords else list(range(x.sizes["item"]))
    for alike in metrics_by_folds.values():
        split = _split_duplicates(labels, alike[0].metric.folds(alike[0].settings, n_items))
        metrics = [task.metric.name for task in alike]
        if split:
            shown = listed([" = ".join(str(names[row]) for row in rows) for rows in split])
            warnings.warn(
                f"{', '.join(metrics)}: the folds separate items with the same activations ({len(split)} sets of "
                f"them), so some test items were seen in training: {shown}. The scores are computed as asked; "
                "groups='duplicates' keeps such items together, or leave them out.",
                stacklevel=3,
            )
    grouped = [task.with_groups(tuple(labels.tolist())) if isinstance(task.groups, str) else task for task in tasks]
    return [task.with_splits(n_items) for task in grouped]


def _split_duplicates(labels: Int[np.ndarray, " N"], folds: Sequence[Fold]) -> list[list[int]]:
    """Rows of each set of duplicates of which a fold trains on some and tests others."""
    split = np.zeros(labels.max() + 1, bool)
    for train, test in folds:
        split[np.intersect1d(labels[train], labels[test])] = True
    return [np.flatnonzero(labels == label).tolist() for label in np.flatnonzero(split)]


def _pairs(side: Float[np.ndarray, "L N D"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of rows that agree in every layer that varies; a set of copies gives a chain of pairs."""
    varied = [layer for layer in side if (layer != layer[0]).any()]
    few = side.shape[0] * side.shape[2] < _FEWEST_NUMBERS
    if not varied or (few and not _identifies_items(np.concatenate(varied, axis=1))):
        return np.empty((0, 2), np.int64)
    # Rows that agree have projections that agree, so only rows with close projections are compared in full.
    rng = np.random.default_rng(0)
    projection, norm = np.zeros(side.shape[1]), np.zeros(side.shape[1])
    for layer in varied:
        scale = 1 / np.sqrt(np.mean(np.square(layer, dtype=np.float64)))
        projection += (layer @ rng.standard_normal(layer.shape[1]).astype(layer.dtype)) * scale
        norm += np.sqrt(np.square(layer, dtype=np.float64).sum(axis=1)) * scale
    order, close = np.argsort(projection, kind="stable"), 10 * _TOLERANCE * norm.max()
    pairs = []
    for i, row in enumerate(order):
        for other in order[i + 1 :]:
            if projection[other] - projection[row] > close:
                break
            if all(_agree(layer[row], layer[other]) for layer in varied):
                pairs.append((row, other))
                break  # further copies are paired with `other`
    return np.array(pairs, np.int64).reshape(-1, 2)


def _identifies_items(numbers: Float[np.ndarray, "N C"]) -> bool:
    """Whether a few numbers per item suffice: no counts, and items that agree in one column agree in all of several."""
    numbers = numbers[:, (numbers != numbers[0]).any(axis=0)]
    distinct = len(np.unique(numbers, axis=0))
    counts = bool((numbers == np.round(numbers)).all())
    return not counts and numbers.shape[1] > 1 and all(len(np.unique(column)) == distinct for column in numbers.T)


def _agree(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> bool:
    return bool(np.linalg.norm(a - b) <= _TOLERANCE * max(float(np.linalg.norm(a)), float(np.linalg.norm(b))))
