"""Scores of subsets of the items, drawn without repetition.

N items, m items of a subset, D and E units, X and Y layers, S subsets.

Where a metric is an inner product of what follows from a matrix over pairs of items (`Metric.pairwise`), that matrix is
made once per layer and every subset reads its part of it. Else the metric is computed anew. Both ways the result is
what the metric gives for those items alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.metrics.folds import Fold, Table, numbered
from vla.metrics.metric import Metric, Pairwise
from vla.metrics.ridge_settings import RidgeSettings
from vla.metrics.signatures import portions

# Matrices over pairs of items held at a time, of both sides together.
MOST_BYTES = 1 << 31


def halves(n_items: int, groups: Any, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random halves of the items, each with what is left: sorted rows; of an odd number one item is in neither.

    With groups, whole groups are dealt out, to the smaller side first.
    """
    rng = np.random.default_rng([seed, 2])
    found = []
    for _ in range(count):
        if groups is None:
            order = rng.permutation(n_items)
            sides = order[: n_items // 2], order[n_items // 2 : 2 * (n_items // 2)]
        else:
            names, of_group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
            order, sums, side = rng.permutation(len(names)), np.zeros(2, int), np.zeros(len(names), int)
            for group in order:
                side[group] = int(sums[1] < sums[0])
                sums[side[group]] += sizes[group]
            sides = np.flatnonzero(side[of_group] == 0), np.flatnonzero(side[of_group] == 1)
        found.append((np.sort(sides[0]), np.sort(sides[1])))
    return found


def left_out(n_items: int, folds: Sequence[Fold], groups: Any, count: int, seed: int) -> list[np.ndarray]:
    """The items in `count` random parts, to leave out one after the other: sorted rows, some from every fold.

    With groups, every group is in one part.

    Args:
      n_items: The number of items.
      folds: Their outer folds.
      groups: One label per item, or None.
      count: At most as many parts; fewer where there are fewer items, or groups.
      seed: Of the parts.
    """
    fold = fold_of_item(n_items, folds)
    group = np.arange(n_items) if groups is None else numbered(groups, n_items)
    _, first = np.unique(group, return_index=True)
    order = np.random.default_rng([seed, 3]).permutation(len(first))
    order = order[np.argsort(fold[first][order], kind="stable")]
    part = np.empty(len(first), int)
    part[order] = np.arange(len(first)) % count
    return [np.flatnonzero(part[group] == number) for number in range(min(count, len(first)))]


def fold_of_item(n_items: int, folds: Sequence[Fold]) -> np.ndarray:
    """The number of the last fold in which each item is tested; -1 for none."""
    fold = np.full(n_items, -1)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    return fold


def all_pairs(
    metric: Metric,
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    settings: Any,
    subsets: Sequence[Int[np.ndarray, "_"]],
    advance: Callable[[int], None] = lambda cells: None,
    most_bytes: int = MOST_BYTES,
) -> Float[np.ndarray, "S X Y"]:
    """Every pair of layers on every subset.

    Args:
      metric: Any.
      x: Activations of one model.
      y: Activations of the other model on the same items.
      settings: Of the metric.
      subsets: Rows, each once.
      advance: Called with the number of cells just finished, times outer folds where there are any.
      most_bytes: Memory for matrices over pairs of items.

    Raises:
      ValueError: What the metric refuses, as too few items.
    """
    if metric.pairwise is not None and metric.pairwise.subsets_of(settings):
        return _pairwise(metric.pairwise, x, y, settings, subsets, advance, most_bytes)
    table = np.empty((len(subsets), len(x), len(y)))
    for s, rows in enumerate(subsets):
        found = metric.all_pairs(x[:, rows], y[:, rows], settings=settings_of(settings, rows), advance=advance)
        table[s] = mean_over_folds(found)[0] if isinstance(found, Table) else found[0]
    return table


def settings_of(settings: Any, rows: Int[np.ndarray, " m"]) -> Any:
    """The settings of a metric for a subset of the items: with the groups and the splits of these items alone."""
    if isinstance(settings, RidgeSettings):
        return settings.for_subset(rows)
    if getattr(settings, "groups", None) is None:
        return settings
    return dataclasses.replace(settings, groups=np.asarray(settings.groups)[rows].tolist())


def mean_over_folds(table: Table) -> Float[np.ndarray, "P X T"]:
    """Mean of the folds that have a score; NaN where none has."""
    defined = ~np.isnan(table.fold_score)
    count = defined.sum(axis=-1)
    mean = np.where(defined, table.fold_score, 0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


@devices.in_float64
def _pairwise(
    pairwise: Pairwise,
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    settings: Any,
    subsets: Sequence[Int[np.ndarray, "_"]],
    advance: Callable[[int], None],
    most_bytes: int,
) -> Float[np.ndarray, "S X Y"]:
    table = np.empty((len(subsets), len(x), len(y)))
    at_a_time = max(1, most_bytes // (2 * 8 * x.shape[1] ** 2))
    matrix = functools.partial(pairwise.matrix, settings=settings)
    for left in portions(len(x), at_a_time):
        a = [matrix(jnp.asarray(layer)) for layer in x[left]]
        for right in portions(len(y), at_a_time):
            b = [matrix(jnp.asarray(layer)) for layer in y[right]]
            for s, rows in enumerate(subsets):
                sides = [[pairwise.signature(part, settings) for part in _parts(side, rows)] for side in (a, b)]
                table[s, left, right] = _products(*sides)
                advance(len(a) * len(b))
    return table


@jax.jit
def _parts(whole: list[Float[Array, "N N"]], rows: Int[Array, " m"]) -> list[Float[Array, "m m"]]:
    return [matrix[rows[:, None], rows[None]] for matrix in whole]


@jax.jit
def _products(a: list[Float[Array, "m m"]], b: list[Float[Array, "m m"]]) -> Float[Array, "X Y"]:
    left, right = (jnp.stack([signature.ravel() for signature in side]) for side in (a, b))
    return left @ right.T
