"""Items that are the same stimulus twice: found by their activations, warned of in words, or kept together on request.

N items, L layers, D units.

A copy of a training item in the test fold is no test. Items count as the same where all layers of one side that vary
at all agree to a relative 1e-5, about what float32 leaves of one stimulus in two batches. A side of a few numbers that
may agree by chance, such as the lengths of captions, cannot tell stimuli apart and is not asked.
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
from vla.metrics.folds import numbered, outer_folds

DUPLICATES = "duplicates"

_SAME = 1e-5

_FEWEST_NUMBERS = 9


def same_items(*sides: Float[np.ndarray, "_ N _"]) -> Int[np.ndarray, " N"]:
    """A label for every item; items share one if any side shows them alike, directly or through others."""
    n = sides[0].shape[1]
    pairs = np.concatenate([_pairs(side) for side in sides])
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def settle_groups(tasks: Sequence[Task], x: xr.DataArray, y: xr.DataArray) -> list[Task]:
    """The tasks with `groups="duplicates"` made into labels; warns of duplicates that folds would part.

    Duplicates are sought once for all tasks, if any of them asks; of the same folds there is one warning.

    Args:
      tasks: What is asked.
      x: Activations (layer, item, unit).
      y: Activations of the same items in the same order.

    Raises:
      ValueError: `groups` is another word, or has another number of labels than there are items.
    """
    wanted, by_folds = False, {}
    for task in tasks:
        if isinstance(task.groups, str) and task.groups != DUPLICATES:
            raise ValueError(f"groups={task.groups!r}: expected one label per item, or {DUPLICATES!r}.")
        wanted |= isinstance(task.groups, str)
        if task.groups is not None and not isinstance(task.groups, str):
            numbered(task.groups, x.sizes["item"])  # also for a metric that makes no use of them here
        elif task.groups is None and hasattr(task.settings, "groups"):
            by_folds.setdefault((task.settings.outer_folds, task.settings.seed), []).append(task.metric.name)
    if not wanted and not by_folds:
        return list(tasks)
    labels = same_items(x.values, y.values)
    for (folds, seed), metrics in by_folds.items():
        parted = _parted(labels, folds, seed)
        if parted:
            names = x["item"].values.tolist() if "item" in x.coords else list(range(x.sizes["item"]))
            shown = [" = ".join(str(names[row]) for row in rows) for rows in parted]
            warnings.warn(
                f"{', '.join(metrics)}: items that are the same stimulus are parted by the folds ({len(parted)} sets "
                f"of them), so that some test items were seen in training: {listed(shown)}. Scores are given as asked; "
                "groups='duplicates' keeps such items together, or leave them out.",
                stacklevel=3,
            )
    return [task.with_groups(tuple(labels.tolist())) if isinstance(task.groups, str) else task for task in tasks]


def _parted(labels: Int[np.ndarray, " N"], folds: int, seed: int) -> list[list[int]]:
    """Rows of every set of equal items that stands on both sides of a split."""
    if len(np.unique(labels)) == len(labels):
        return []
    fold = np.empty(len(labels), np.int64)
    for number, (_, test) in enumerate(outer_folds(len(labels), folds, seed)):
        fold[test] = number
    sets: Sequence[np.ndarray] = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [rows.tolist() for rows in sets if len(np.unique(fold[rows])) > 1]


def _pairs(side: Float[np.ndarray, "L N D"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of rows that agree in every layer that varies; those of a set of copies form a chain."""
    varied = [layer for layer in side if not (layer == layer[0]).all()]
    few = side.shape[0] * side.shape[2] < _FEWEST_NUMBERS
    if not varied or (few and not _tells_apart(np.concatenate(varied, axis=1))):
        return np.empty((0, 2), np.int64)
    # Rows that agree have projections that agree: only neighbours in that order are looked at whole.
    rng = np.random.default_rng(0)
    projected, size = np.zeros(side.shape[1]), np.zeros(side.shape[1])
    for layer in varied:
        scale = 1 / np.sqrt(np.mean(np.square(layer, dtype=np.float64)))
        projected += (layer @ rng.standard_normal(layer.shape[1]).astype(layer.dtype)) * scale
        size += np.sqrt(np.square(layer, dtype=np.float64).sum(axis=1)) * scale
    order, near = np.argsort(projected, kind="stable"), 10 * _SAME * size.max()
    found = []
    for place, row in enumerate(order):
        for other in order[place + 1 :]:
            if projected[other] - projected[row] > near:
                break
            if all(_alike(layer[row], layer[other]) for layer in varied):
                found.append((row, other))
                break  # further copies follow the other
    return np.array(found, np.int64).reshape(-1, 2)


def _tells_apart(numbers: Float[np.ndarray, "N C"]) -> bool:
    """Whether a few numbers an item are no counts, and agree in one place only where they agree in all."""
    numbers = numbers[:, (numbers != numbers[0]).any(axis=0)]
    rows = len(np.unique(numbers, axis=0))
    whole = bool((numbers == np.round(numbers)).all())
    return not whole and numbers.shape[1] > 1 and all(len(np.unique(column)) == rows for column in numbers.T)


def _alike(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> bool:
    return bool(np.linalg.norm(a - b) <= _SAME * max(float(np.linalg.norm(a)), float(np.linalg.norm(b))))
