"""All layer pairs of a metric that compares two prepared layers, one pair after another.

N items, D and E units, X and Y layers, P pairings of items.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla import devices
from vla.metrics.gram import moments

# States held at a time, of both sides together; more layers are compared in portions.
MOST_BYTES = 1 << 31

T = TypeVar("T")

State = Any
"""A pytree of arrays."""

Prepare = Callable[[Array, Any], State]
Compare = Callable[[State, State, Any], Array]
Permute = Callable[[State, Array], State]
Finish = Callable[[np.ndarray, Any], float]


@devices.spread_layers
@devices.in_float64
def all_pairs(
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    settings: Any = None,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    prepare: Prepare,
    compare: Compare,
    permute: Permute | None = None,
    finish: Finish | None = None,
    most_bytes: int = MOST_BYTES,
) -> Float[np.ndarray, "P X Y"]:
    """Prepare every layer once, then compare pair by pair, one thread per core; NaN for a layer that is the same for
    all items.

    Args:
      x: Activations of one model.
      y: Activations of the other model on the same items.
      settings: Of the metric, hashable. With a field `outer_folds`, each cell counts as that many.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i.
      advance: Called with the number of cells just finished.
      prepare: From a layer [N, D] and the settings to its state. Arrays of states may differ in size from layer to
        layer: they are filled up with zeros, so that few shapes are compiled.
      compare: From the states of two layers and the settings to their score, traceable by JAX.
      permute: From a state and an order of the items to the state of the reordered layer, traceable. None where that
        needs the layer itself: then every layer of `y` is prepared again for every pairing.
      finish: What is left to do outside JAX: from what `compare` returned, and the settings, to the score.
      most_bytes: Memory for states. Where those of all layers need more, the layers of `x` are taken in portions of
        a third of it and those of `y` in portions of two thirds, and the layers of `y` are prepared once for each
        portion of `x`. In progress are besides one layer, or one result of `compare`, per core.
    """
    pairings = np.arange(x.shape[1])[None] if pairings is None else pairings
    table = np.full((len(pairings), len(x), len(y)), np.nan)
    if permute is None:
        variants = [([(p, None)], order) for p, order in enumerate(pairings)]
    else:
        variants = [([(p, jnp.asarray(order)) for p, order in enumerate(pairings)], slice(None))]
    known = [[i for i, layer in enumerate(side) if not _all_alike(jnp.asarray(layer))] for side in (x, y)]
    folds, workers = getattr(settings, "outer_folds", 1), devices.workers()
    advance(len(pairings) * (len(x) * len(y) - len(known[0]) * len(known[1])) * folds)

    # 64-bit types are enabled thread by thread.
    @devices.in_float64
    def score(a: State, b: State, order: Array | None) -> float:
        value = _pair(a, b, order, settings, compare=compare, permute=permute)
        return float(value if finish is None else finish(np.asarray(value), settings))

    with ThreadPoolExecutor(workers) as pool:
        portions = functools.partial(_portions, settings=settings, prepare=prepare, pool=pool)
        for left in portions(x, known[0], slice(None), most_bytes // 3):
            for orders, rows in variants:
                for right in portions(y, known[1], rows, most_bytes * 2 // 3):
                    pairs = list(itertools.product(left, right))
                    for (p, order), some in itertools.product(orders, _some(pairs, 8 * workers)):
                        sides = [left[i] for i, _ in some], [right[j] for _, j in some]
                        table[p][tuple(np.transpose(some))] = list(pool.map(score, *sides, itertools.repeat(order)))
                        advance(len(some) * folds)
    return table


@functools.partial(jax.jit, static_argnames=("settings", "compare", "permute"))
def _pair(
    a: State, b: State, order: Array | None, settings: Any, *, compare: Compare, permute: Permute | None
) -> Array:
    return compare(a, b if permute is None or order is None else permute(b, order), settings)


def _some(items: list[T], count: int) -> list[list[T]]:
    return [items[start : start + count] for start in range(0, len(items), count)]


def _portions(
    side: np.ndarray,
    layers: list[int],
    rows: Any,
    most_bytes: int,
    *,
    settings: Any,
    prepare: Prepare,
    pool: ThreadPoolExecutor,
) -> Iterator[dict[int, State]]:
    """States by layer, as many layers at a time as fit, and at least one."""

    @devices.in_float64
    def prepared(layer: int) -> State:
        return prepare(jnp.asarray(side[layer][rows]), settings)

    held, size = {}, 0
    for some in _some(layers, devices.workers()):
        for layer, state in zip(some, pool.map(prepared, some), strict=True):
            own = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            if held and size + own > most_bytes:
                yield dict(zip(held, padded(list(held.values())), strict=True))
                held, size = {}, 0
            held[layer] = state
            size += own
    if held:
        yield dict(zip(held, padded(list(held.values())), strict=True))


def padded(states: list[State]) -> list[State]:
    """States whose arrays have the size of the largest at every axis, filled with zeros."""

    def fill(*leaves: Array) -> list[Array]:
        shape = tuple(max(sizes) for sizes in zip(*(leaf.shape for leaf in leaves), strict=True))
        short = [[(0, most - own) for own, most in zip(leaf.shape, shape, strict=True)] for leaf in leaves]
        return [jnp.pad(leaf, pad) if leaf.shape != shape else leaf for leaf, pad in zip(leaves, short, strict=True)]

    leaves, structures = zip(*(jax.tree.flatten(state) for state in states), strict=True)
    columns = [fill(*column) for column in zip(*leaves, strict=True)]
    return [jax.tree.unflatten(structures[0], own) for own in zip(*columns, strict=True)]


@jax.jit
def _all_alike(layer: Float[Array, "N D"]) -> Bool[Array, ""]:
    """Whether every unit is the same for all items, up to the rounding error of its mean."""
    return jnp.all(moments(layer.astype(jnp.float64)).constant)
