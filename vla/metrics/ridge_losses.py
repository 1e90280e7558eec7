"""Errors of inner cross-validation for every penalty, without refitting.

n training items, r directions, T target layers, e target units, a penalties (alphas).

Held-out residuals, the intercept refitted, follow from C_alpha: for an inner block t of items,
e_t = (C[t,t])^-1 (C Y)[t]; leave-one-out is blocks of size one. So e = R Y with R = blockdiag(C[t,t])^-1 C, and the
summed squares are <R^T R, Y Y^T>: targets of any width enter through their Gram matrix, and every target layer is
scored by one matrix product.

Source: Golub, Heath & Wahba (1979) for leave-one-out; blocks by the same Schur complement.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla.metrics.ridge_spectrum import Spectrum, residual_weights

# Contiguous validation blocks (start, stop) of inner k-fold; None stands for leave-one-out.
Blocks = tuple[tuple[int, int], ...] | None

# Rounding errors of the products below were measured at up to about 10 eps times the size of their terms. Losses
# closer than this many of those units cannot be told apart by them.
_NOISE_UNITS = 32.0

# R^T R is formed in this many row and column tiles, of which only the lower triangle is computed.
_TILES = 4


class Losses(NamedTuple):
    """Mean squared inner-validation error, and how far rounding may have moved it."""

    loss: Float[Array, "T a"]
    noise: Float[Array, "T a"]


def losses(s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks) -> Losses:
    """Losses of one shared penalty per target layer.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive.
      grams: Y Y^T / e of the centred training targets; float32 makes the products of a complete spectrum fast, at
        the noise that is reported. With few directions pass float64.
      blocks: Inner folds.
    """
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, grams, blocks)
    return _losses_of_few_directions(s, alphas, grams.astype(jnp.float64))


@functools.partial(jax.jit, static_argnames="blocks")
def unit_losses(s: Spectrum, alphas: Float[Array, " a"], y: Float[Array, "n e"], blocks: Blocks) -> Float[Array, "a e"]:
    """Losses of every target unit, from the residuals themselves, in float64: slower, but nothing cancels."""
    c, w = residual_weights(s, alphas)
    y = y.astype(jnp.float64)

    def one(cw):
        return jnp.sum((_residual_maker(s, *cw, blocks, jnp.dtype("float64")) @ y) ** 2, axis=0)

    return jax.lax.map(one, (c, w))


def _residual_maker(
    s: Spectrum, c: Float[Array, ""], w: Float[Array, " r"], blocks: Blocks, dtype: jnp.dtype
) -> Float[Array, "n n"]:
    """R, rows weighted so that |R Y|^2 is the mean over inner folds of their mean squared error.

    Leave-one-out with a complete U has no cancellation and is formed in `dtype`; otherwise C is formed in float64
    and only R is rounded.
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
def _losses_of_many_directions(
    s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks
) -> Losses:
    """<R^T R, Y Y^T> in the precision of `grams`, summed over rows in float64."""
    n = s.vectors.shape[0]
    c, w = residual_weights(s, alphas)
    edges = [n * i // _TILES for i in range(_TILES + 1)]
    tiles = [
        (slice(*edges[i : i + 2]), slice(*edges[j : j + 2]), 1.0 if i == j else 2.0)
        for i in range(_TILES)
        for j in range(i + 1)
    ]

    def products(cw):
        r = _residual_maker(s, *cw, blocks, grams.dtype)
        return [r[:, rows].T @ r[:, columns] for rows, columns, _ in tiles]

    loss = jnp.zeros((alphas.shape[0], grams.shape[0]), jnp.float64)
    power = jnp.zeros(alphas.shape[0], jnp.float64)
    for product, (rows, columns, times) in zip(jax.lax.map(products, (c, w)), tiles, strict=True):
        by_row = jnp.einsum("aij,tij->iat", product, grams[:, rows, columns])
        loss += times * jnp.sum(by_row.astype(jnp.float64), axis=0)
        power += times * jnp.sum(jnp.sum(product**2, axis=-1).astype(jnp.float64), axis=-1)
    size = jnp.linalg.norm(grams.astype(jnp.float64), axis=(1, 2))
    noise = _NOISE_UNITS * jnp.finfo(grams.dtype).eps * jnp.outer(size, jnp.sqrt(power))
    return Losses(loss.T, noise)


@jax.jit
def _losses_of_few_directions(s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"]) -> Losses:
    """Leave-one-out losses without any n x n matrix per penalty, in float64.

    With V = [1/sqrt(n), U], H = V diag(f) V^T, f = (1, s / (s + alpha)) and g_i = (1 - H_ii)^-2, expanding
    sum_i g_i |((I - H) Y)_i|^2 gives, for G = Y Y^T,

        sum_i g_i G_ii  -  2 sum_k f_k (V^T diag(g) G V)_kk  +  sum_kl f_k f_l (V^T diag(g) V)_kl (V^T G V)_kl.
    """
    n = s.vectors.shape[0]
    v = jnp.concatenate([jnp.full((n, 1), 1 / np.sqrt(n)), s.vectors], axis=1)
    shrunk = s.values / (s.values + alphas[:, None])
    f = jnp.concatenate([jnp.ones_like(alphas)[:, None], shrunk], axis=1)
    g = 1 / (1 - f @ (v**2).T) ** 2
    gv = grams @ v
    own = jnp.einsum("an,tnn->ta", g, grams)
    crossed = jnp.einsum("tak,ak->ta", jnp.einsum("an,tnk->tak", g, v * gv), f)
    turned = v.T @ gv

    def fitted(gf):
        weight, factor = gf
        return jnp.einsum("kl,tkl->t", (v.T * weight) @ v * jnp.outer(factor, factor), turned)

    squared = jax.lax.map(fitted, (g, f)).T
    noise = _NOISE_UNITS * jnp.finfo(jnp.float64).eps * (own + jnp.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)
