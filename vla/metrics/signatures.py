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
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.devices import AnyArray

Prepare = Callable[[Array, Any], Array]

# Signatures held at a time, of both sides together; more layers are compared in portions.
MOST_BYTES = 1 << 31

# Pairs of items gathered and multiplied at a time on the host: what is gathered stays in the cache.
_CHUNK = 1 << 13

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
      prepare: From a layer [N, D] and the settings to its signature, a symmetric matrix [N, N].
      most_bytes: Memory for signatures. Where those of all layers need more, the layers of `x` are taken in
        portions of a third of it and those of `y` in portions of two thirds, and the layers of `y` are prepared
        once for each portion of `x`.
      expected: Whether one more row follows: the exact mean over all pairings that there are.
    """
    N = x.shape[1]
    pairings = np.arange(N)[None] if pairings is None else pairings

    def prepared(layer: np.ndarray) -> Float[AnyArray, "N N"]:
        return devices.multiplied_here(prepare(jnp.asarray(layer), settings))

    table = np.empty((len(pairings) + expected, len(x), len(y)))
    at_a_time = max(1, most_bytes // (3 * 4 * N * N))
    for left in portions(len(x), at_a_time):
        of_left, kept = [], []
        for layer in x[left]:
            signature = prepared(layer)
            of_left.append(_sums(signature))
            kept.append(_bands_of(signature))
        a = kept[0].__array_namespace__().stack(kept)
        del kept
        for right in portions(len(y), at_a_time):
            whole = [prepared(layer) for layer in y[right]]
            if expected:
                table[-1, left, right] = expected_products(of_left, [_sums(signature) for signature in whole], N)
            # Pairs first: reading the items in another order then moves whole rows.
            b = _pairs_first([signature.ravel() for signature in whole])
            del whole
            of_pairing = devices.in_float64(functools.partial(_of_pairing, a, b))
            with ThreadPoolExecutor(devices.workers()) as pool:
                for p, products in enumerate(pool.map(of_pairing, pairings)):
                    table[p, left, right] = products
                    advance(a.shape[0] * b.shape[1])
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


def _sums(signature: Float[AnyArray, "N N"]) -> tuple[float, float]:
    """The sums on and beside the diagonal."""
    trace = float(signature.trace())
    return trace, float(signature.sum()) - trace


def portions(count: int, at_a_time: int) -> list[slice]:
    """0..count-1 in slices of so many."""
    return [slice(start, min(start + at_a_time, count)) for start in range(0, count, at_a_time)]


def _pairs_first(flat: Sequence[Float[AnyArray, " NN"]]) -> Float[AnyArray, "NN Y"]:
    """Flattened signatures side by side; on the host chunk by chunk, which writes every line of the cache once."""
    if not isinstance(flat[0], np.ndarray):
        return jnp.stack(flat, axis=1)
    out = np.empty((flat[0].size, len(flat)), flat[0].dtype)
    for start in range(0, len(out), _CHUNK):
        some = slice(start, start + _CHUNK)
        out[some] = np.array([one[some] for one in flat]).T
    return out


def _bands(n: int) -> list[tuple[slice, slice]]:
    """Rows and columns of bands that cover the lower triangle of an n x n matrix."""
    edges = sorted({n * i // _BANDS for i in range(_BANDS + 1)})
    return [(slice(start, stop), slice(0, stop)) for start, stop in itertools.pairwise(edges)]


@devices.compiled
def _bands_of(signature: Float[AnyArray, "N N"]) -> Float[AnyArray, " M"]:
    """The bands one after the other, the entries left of their square part doubled for those above it."""
    xp = signature.__array_namespace__()
    weighted = []
    for rows, columns in _bands(len(signature)):
        weights = np.where(np.arange(columns.stop) < rows.start, 2.0, 1.0)
        weighted.append((signature[rows, columns] * weights).ravel())
    return xp.concatenate(weighted)


def _pairs(order: Int[np.ndarray, " N"]) -> Int[np.ndarray, " M"]:
    """Where a flattened matrix has the entries of the bands of the reordered one."""
    n = len(order)
    order = order.astype(np.int32 if n * n < 1 << 31 else np.int64)
    return np.concatenate([(order[rows, None] * n + order[columns]).ravel() for rows, columns in _bands(n)])


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
