"""All layer pairs of a metric whose score is an inner product of per-layer signatures.

A signature is a symmetric matrix over pairs of items. Permuting the items permutes it: a null distribution prepares
nothing anew, it only reads one side in another order. Of the other side the lower triangle is kept, weighted so that
the inner product with the triangle of a matrix is that of the matrices.

N items, D and E units, X and Y layers, P pairings of items, R rows of the result, M pairs of items (N (N + 1) / 2,
filled with zeros to whole chunks).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices

Prepare = Callable[[Array, Any], Array]

# Signatures held at a time, of both sides together; more layers are compared in portions.
MOST_BYTES = 1 << 31

# Pairs of items gathered and multiplied at a time: what is gathered stays in the cache.
_CHUNK = 1 << 13


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
    table = np.empty((len(pairings) + expected, len(x), len(y)))
    at_a_time = max(1, most_bytes // (3 * 4 * N * N))
    for left in portions(len(x), at_a_time):
        of_left, kept = [], []
        for layer in x[left]:
            signature = prepare(jnp.asarray(layer), settings)
            of_left.append(_sums(signature))
            kept.append(_triangle(signature))
        a = jnp.stack(kept)
        for right in portions(len(y), at_a_time):
            whole = [prepare(jnp.asarray(layer), settings) for layer in y[right]]
            if expected:
                table[-1, left, right] = expected_products(of_left, [_sums(signature) for signature in whole], N)
            # Pairs first: reading the items in another order then moves whole rows.
            b = jnp.stack([signature.ravel() for signature in whole], axis=1)
            del whole
            for p, order in enumerate(pairings):
                table[p, left, right] = _products(a, b, _pairs(order, a.shape[1]))
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


def _sums(signature: Float[Array, "N N"]) -> tuple[float, float]:
    """The sums on and beside the diagonal."""
    trace = float(jnp.trace(signature))
    return trace, float(jnp.sum(signature)) - trace


def portions(count: int, at_a_time: int) -> list[slice]:
    """0..count-1 in slices of so many."""
    return [slice(start, min(start + at_a_time, count)) for start in range(0, count, at_a_time)]


def _triangle(signature: Float[Array, "N N"]) -> Float[Array, " M"]:
    """The lower triangle row by row, its off-diagonal entries doubled."""
    rows, columns = np.tril_indices(len(signature))
    triangle = signature[rows, columns] * np.where(rows == columns, 1.0, 2.0)
    return jnp.pad(triangle, (0, -len(rows) % _CHUNK))


def _pairs(order: Int[np.ndarray, " N"], count: int) -> Int[np.ndarray, " M"]:
    """Where a flattened matrix has the entries of the lower triangle of the reordered one."""
    rows, columns = np.tril_indices(len(order))
    places = (order[rows] * len(order) + order[columns]).astype(np.int64)
    return np.pad(places, (0, count - len(places)))


@jax.jit
def _products(a: Float[Array, "X M"], b: Float[Array, "NN Y"], places: Int[Array, " M"]) -> Float[Array, "X Y"]:
    """Inner products of all signatures with all reordered ones."""
    X, Y = a.shape[0], b.shape[1]

    def add(total: Array, start: Array) -> tuple[Array, None]:
        chunk = jax.lax.dynamic_slice(places, (start,), (_CHUNK,))
        rows = jnp.take(b, chunk, axis=0, mode="clip")
        return total + jax.lax.dynamic_slice(a, (0, start), (X, _CHUNK)) @ rows, None

    return jax.lax.scan(add, jnp.zeros((X, Y), b.dtype), jnp.arange(0, a.shape[1], _CHUNK))[0]
