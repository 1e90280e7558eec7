"""The penalty that inner cross-validation chooses, for every target layer at once.

n training items, r directions, T target layers, e target units, a penalties (alphas).

Held-out residuals of inner cross-validation, the intercept refitted, follow from C_alpha without refitting:
for an inner block t, e_t = (C[t,t])^-1 (C Y)[t]; leave-one-out is blocks of size one. So e = R Y with
R = blockdiag(C[t,t])^-1 C, and the summed squared residuals are <R^T R, Y Y^T>: targets of any width enter
through their Gram matrix, and every target layer is scored by one matrix product with the flattened R^T R.

Source: Golub, Heath & Wahba (1979) for leave-one-out; blocks by the same Schur complement.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.model_selection import KFold

from vla.metrics.ridge_spectrum import Spectrum, residual_weights

Blocks = tuple[tuple[int, int], ...]

# Rounding errors of <R^T R, Y Y^T> were measured at up to about 10 eps |R^T R| |Y Y^T| (Frobenius norms).
# Losses closer than this many of those units are not told apart by the product and are recomputed.
_NOISE_UNITS = 32.0


class Losses(NamedTuple):
    """Mean squared inner-validation error, and how far rounding may have moved it."""

    loss: Float[Array, "T a"]
    noise: Float[Array, "T a"]


def inner_blocks(n: int, inner_cv: int) -> Blocks:
    """Contiguous validation blocks (start, stop) of inner k-fold; elsewhere None stands for leave-one-out.

    Equivalent to `KFold(inner_cv)` without shuffling, as scikit-learn uses for an integer `cv`.
    """
    if inner_cv > n:
        raise ValueError(f"inner_cv={inner_cv} folds but only {n} training items: use at most {n}, or 'loo'.")
    blocks = [(int(test[0]), int(test[-1]) + 1) for _, test in KFold(inner_cv).split(np.empty(n))]
    return tuple(blocks)


def residual_maker(
    s: Spectrum, c: Float[Array, ""], w: Float[Array, " r"], blocks: Blocks | None, dtype: jnp.dtype
) -> Float[Array, "n n"]:
    """R with R Y the inner-validation residuals, rows weighted so that |R Y|^2 is the mean over folds of their MSE.

    Leave-one-out with a complete U has no cancellation and may be formed in `dtype`; otherwise C is formed in
    float64 and only R is rounded.
    """
    n = s.vectors.shape[0]
    if blocks is None and s.complete:
        diagonal = (s.vectors**2) @ w
        u, uw = s.vectors.astype(dtype), (s.vectors * (w / np.sqrt(n))).astype(dtype)
        return (uw @ u.T) / diagonal.astype(dtype)[:, None]
    big_c = (s.vectors * w) @ s.vectors.T + c * (jnp.eye(n) - 1 / n)
    if blocks is None:
        return (big_c / jnp.diagonal(big_c)[:, None] / np.sqrt(n)).astype(dtype)
    rows = []
    for start, stop in blocks:
        block = jnp.linalg.solve(big_c[start:stop, start:stop], big_c[start:stop])
        rows.append(block / np.sqrt(len(blocks) * (stop - start)))
    return jnp.concatenate(rows).astype(dtype)


@functools.partial(jax.jit, static_argnames="blocks")
def gram_losses(s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks | None) -> Losses:
    """Losses of one shared penalty per target layer, in the precision of `grams`.

    R^T R is symmetric: only its lower block triangle is computed, off-diagonal blocks counting twice.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive.
      grams: Y Y^T of the centred training targets, per summed unit; divide by e for a mean over units.
      blocks: As from `inner_blocks`.
    """
    n = s.vectors.shape[0]
    c, w = residual_weights(s, alphas)
    edges = [n * i // 4 for i in range(5)]
    tiles = [(slice(*edges[i : i + 2]), slice(*edges[j : j + 2])) for i in range(4) for j in range(i + 1)]
    twice = [1.0 if i == j else 2.0 for i in range(4) for j in range(i + 1)]

    def products(cw):
        r = residual_maker(s, *cw, blocks, grams.dtype)
        return [r[:, rows].T @ r[:, columns] for rows, columns in tiles]

    loss = jnp.zeros((alphas.shape[0], grams.shape[0]), jnp.float64)
    power = jnp.zeros(alphas.shape[0], jnp.float64)
    for product, (rows, columns), times in zip(jax.lax.map(products, (c, w)), tiles, twice, strict=True):
        # Sums over one row run in the products' precision, sums over rows in float64.
        by_row = jnp.einsum("aij,tij->iat", product, grams[:, rows, columns])
        loss += times * jnp.sum(by_row.astype(jnp.float64), axis=0)
        power += times * jnp.sum(jnp.sum(product**2, axis=-1).astype(jnp.float64), axis=-1)
    size = jnp.linalg.norm(grams.astype(jnp.float64), axis=(1, 2))
    noise = _NOISE_UNITS * jnp.finfo(grams.dtype).eps * jnp.outer(size, jnp.sqrt(power))
    return Losses(loss.T, noise)


@functools.partial(jax.jit, static_argnames="blocks")
def unit_losses(
    s: Spectrum, alphas: Float[Array, " a"], y: Float[Array, "n e"], blocks: Blocks | None
) -> Float[Array, "a e"]:
    """Mean squared inner-validation error of every target unit, from the residuals themselves, in float64."""
    c, w = residual_weights(s, alphas)
    y = y.astype(jnp.float64)

    def one(cw):
        return jnp.sum((residual_maker(s, *cw, blocks, jnp.dtype("float64")) @ y) ** 2, axis=0)

    return jax.lax.map(one, (c, w))


def choose_shared(
    s: Spectrum,
    alphas: Float[Array, " a"],
    grams: Float[Array, "T n n"],
    y: Float[Array, "T n e"],
    blocks: Blocks | None,
) -> np.ndarray:
    """Index of the best penalty per target layer; the smallest of equals, as scikit-learn takes it.

    Where the Gram products cannot tell the best from the second best within their rounding error (near-perfect
    prediction, or a flat loss), the candidates are compared by their residuals in float64.
    """
    loss, noise = (np.asarray(x) for x in gram_losses(s, alphas, grams, blocks))
    best = np.argmin(loss, axis=1)
    ceiling = np.min(loss + noise, axis=1)
    close = loss - noise <= ceiling[:, None]
    for t in np.flatnonzero(close.sum(axis=1) > 1):
        candidates = np.flatnonzero(close[t])
        exact = np.asarray(unit_losses(s, alphas[candidates], y[t], blocks)).mean(axis=1)
        best[t] = candidates[np.argmin(exact)]
    return best
