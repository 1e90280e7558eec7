"""All layer pairs of a metric whose score is an inner product of per-layer signatures.

A signature is a symmetric matrix over pairs of items. Permuting the items permutes it: a null distribution prepares
nothing anew, it only reads one side in another order. Of the other side bands of rows are kept up to the diagonal,
weighted so that the inner product with the same entries of a matrix is that of the matrices.

N items, D and E units, X and Y layers, P pairings of items, R rows of the result, M pairs of items in the bands (little
more than N^2 / 2).
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.devices import AnyArray


class Factor(NamedTuple):
    """The signature F F^T of NumPy's F [N, R]: only what is kept of it is multiplied, where it is kept."""

    rows: Float[np.ndarray, "N R"]


Signature = Any
"""A symmetric matrix [N, N], or its factor."""

Prepare = Callable[[Array, Any], Signature]

Prepared = Callable[[np.ndarray], Signature]
"""From a layer to its signature, of the library that multiplies fastest here."""

Part = Callable[[int], list[tuple[slice, slice, Any]]]
"""Rows and columns of an n x n matrix that are kept one after the other, with the weights of the columns."""

# Signatures held at a time, of both sides together; more layers are compared in portions.
MOST_BYTES = 1 << 31

# Pairs of items gathered and multiplied at a time on the host: what is gathered stays in the cache.
_CHUNK = 1 << 13

# Signatures laid side by side at a time: as many numbers as a line of the cache has.
_SIDE_BY_SIDE = 8

# A band ends with a square on the diagonal, all of which it keeps: N^2 / 32 entries more than needed.
_BANDS = 16


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
    most_bytes: int = MOST_BYTES,
    expected: bool = False,
) -> Float[np.ndarray, "R X Y"]:
    """Prepare every layer once, then compare all pairs as one matrix product per pairing.

    Args:
      x: Activations of one model.
      y: Activations of the other model on the same items.
      settings: Of the metric.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i.
      advance: Called with the number of cells just finished.
      prepare: From a layer [N, D] and the settings to its signature, a symmetric matrix [N, N]; on the host it may be
        a `Factor`.
      most_bytes: Memory for signatures. Where those of all layers need more, the layers of `x` are taken in
        portions of a third of it and those of `y` in portions of two thirds, and the layers of `y` are prepared
        once for each portion of `x`. In progress are besides one signature per core, or eight where pairings shuffle.
      expected: Whether one more row follows: the exact mean over all pairings that there are.
    """
    N = x.shape[1]
    pairings = np.arange(N)[None] if pairings is None else pairings
    as_given = len(pairings) == 1 and np.array_equal(pairings[0], np.arange(N))

    @devices.in_float64
    def prepared(layer: np.ndarray) -> Signature:
        return devices.multiplied_here(prepare(jnp.asarray(layer), settings))

    table = np.empty((len(pairings) + expected, len(x), len(y)))
    at_a_time = max(1, most_bytes // (3 * 4 * N * N))
    with ThreadPoolExecutor(devices.workers()) as pool:
        for left in portions(len(x), at_a_time):
            a, of_left = _one_below_the_other(x[left], prepared, _weighted_bands, pool)
            for right in portions(len(y), at_a_time):
                if as_given:
                    b, of_right = _one_below_the_other(y[right], prepared, _bands, pool)
                    table[0, left, right] = np.asarray(a @ b.T)
                    advance(a.shape[0] * b.shape[0])
                else:
                    b, of_right = _pairs_first(y[right], prepared, pool)
                    of_pairing = devices.in_float64(functools.partial(_of_pairing, a, b))
                    for p, products in enumerate(pool.map(of_pairing, pairings)):
                        table[p, left, right] = products
                        advance(a.shape[0] * b.shape[1])
                if expected:
                    table[-1, left, right] = expected_products(of_left, of_right, N)
                del b  # before the next is made
    return table


def expected_products(
    a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]], n: int
) -> Float[np.ndarray, "X Y"]:
    """The mean inner product of two signatures over all orders of the items of one.

    Of symmetric matrices A and B over N items, <A, P B P^T> is on average over orders P
    tr A tr B / N + off(A) off(B) / (N (N - 1)), where off is the sum beside the diagonal.

    Args:
      a: Trace and off of every signature of one side.
      b: Of the other side.
      n: The number of items, at least 2.
    """
    (of_a, beside_a), (of_b, beside_b) = np.transpose(a), np.transpose(b)
    return np.outer(of_a, of_b) / n + np.outer(beside_a, beside_b) / (n * (n - 1))


def _sums(signature: Signature) -> tuple[float, float]:
    """The sums on and beside the diagonal."""
    if isinstance(signature, Factor):
        trace, whole = np.vdot(signature.rows, signature.rows), np.sum(signature.rows.sum(axis=0) ** 2)
    else:
        trace, whole = signature.trace(), signature.sum()
    return float(trace), float(whole) - float(trace)


def portions(count: int, at_a_time: int) -> list[slice]:
    """0..count-1 in slices of so many."""
    return [slice(start, min(start + at_a_time, count)) for start in range(0, count, at_a_time)]


def _one_below_the_other(
    layers: Float[np.ndarray, "X N D"], prepared: Prepared, part: Part, pool: ThreadPoolExecutor
) -> tuple[Float[AnyArray, "X M"], list[tuple[float, float]]]:
    """A part of every signature, and the sums of each; on the host every thread writes where the part stays."""
    if not devices.on_cpu():
        found = [(_flat(signature, part=part), _sums(signature)) for signature in map(prepared, layers)]
        return jnp.stack([one for one, _ in found]), [sums for _, sums in found]
    n = layers.shape[1]
    shapes = [(len(range(n)[rows]), len(range(n)[columns])) for rows, columns, _ in part(n)]
    edges = np.cumsum([height * width for height, width in shapes])
    out = np.empty((len(layers), edges[-1]))

    def fill(i: int) -> tuple[float, float]:
        signature = prepared(layers[i])
        for (rows, columns, weights), kept, shape in zip(part(n), np.split(out[i], edges[:-1]), shapes, strict=True):
            place = kept.reshape(shape)
            if isinstance(signature, Factor):
                np.matmul(signature.rows[rows], signature.rows[columns].T, out=place)
                np.multiply(place, weights, out=place)
            else:
                np.multiply(signature[rows, columns], weights, out=place)
        return _sums(signature)

    return out, list(pool.map(fill, range(len(layers))))


def _pairs_first(
    layers: Float[np.ndarray, "Y N E"], prepared: Prepared, pool: ThreadPoolExecutor
) -> tuple[Float[AnyArray, "NN Y"], list[tuple[float, float]]]:
    """Flattened signatures side by side, so that reading the items in another order moves whole rows, and the sums of
    each; on the host some at a time and chunk by chunk, which writes whole lines of the cache."""
    if not devices.on_cpu():
        flat, sums = _one_below_the_other(layers, prepared, _whole, pool)
        return jnp.swapaxes(flat, 0, 1), sums
    out, sums = np.empty((layers.shape[1] ** 2, len(layers))), []
    for some in portions(len(layers), _SIDE_BY_SIDE):
        flat, own = _one_below_the_other(layers[some], prepared, _whole, pool)
        sums += own
        for start in range(0, len(out), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            out[chunk, some] = flat[:, chunk].T
        del flat
    return out, sums


def _bands(n: int) -> list[tuple[slice, slice, Any]]:
    """Bands that cover the lower triangle."""
    edges = sorted({n * i // _BANDS for i in range(_BANDS + 1)})
    return [(slice(start, stop), slice(0, stop), 1.0) for start, stop in itertools.pairwise(edges)]


def _weighted_bands(n: int) -> list[tuple[slice, slice, Any]]:
    """The same, entries left of the square part of a band counting twice, for those above it."""
    return [(rows, columns, np.where(np.arange(columns.stop) < rows.start, 2.0, 1.0)) for rows, columns, _ in _bands(n)]


def _whole(n: int) -> list[tuple[slice, slice, Any]]:
    return [(slice(0, n), slice(0, n), 1.0)]


@functools.partial(jax.jit, static_argnames="part")
def _flat(signature: Float[Array, "N N"], *, part: Part) -> Float[Array, " M"]:
    parts = part(len(signature))
    return jnp.concatenate([(signature[rows, columns] * weights).ravel() for rows, columns, weights in parts])


def _pairs(order: Int[np.ndarray, " N"]) -> Int[np.ndarray, " M"]:
    """Where a flattened matrix has the entries of the bands of the reordered one."""
    n = len(order)
    order = order.astype(np.int32 if n * n < 1 << 31 else np.int64)
    return np.concatenate([(order[rows, None] * n + order[columns]).ravel() for rows, columns, _ in _bands(n)])


def _of_pairing(
    a: Float[AnyArray, "X M"], b: Float[AnyArray, "NN Y"], order: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "X Y"]:
    return np.asarray(_products(a, b, _pairs(order)))


@devices.compiled
def _products(
    a: Float[AnyArray, "X M"], b: Float[AnyArray, "NN Y"], places: Int[AnyArray, " M"]
) -> Float[AnyArray, "X Y"]:
    """Inner products of all signatures with all reordered ones."""
    xp, at_a_time = a.__array_namespace__(), _CHUNK if isinstance(a, np.ndarray) else len(places)
    total = xp.zeros((len(a), b.shape[1]))
    for start in range(0, len(places), at_a_time):
        some = slice(start, start + at_a_time)
        total = total + a[:, some] @ xp.take(b, places[some], axis=0, mode="clip")
    return total
