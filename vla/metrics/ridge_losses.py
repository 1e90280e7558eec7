"""Errors of inner cross-validation for every penalty, without refitting.

n training items, r directions, T target layers, e target units, a penalties (alphas).

Held-out residuals, the intercept refitted, follow from C_alpha: for an inner block t of items,
e_t = (C[t,t])^-1 (C Y)[t]; leave-one-out is blocks of size one. So e = R Y with R = blockdiag(C[t,t])^-1 C, and the
summed squares are <R^T R, Y Y^T>: targets of any width enter through their Gram matrix, and every target layer is
scored by one matrix product.

Source: Golub, Heath & Wahba (1979) for leave-one-out; blocks by the same Schur complement.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla.metrics.ridge_spectrum import Spectrum, residual_weights
from vla.metrics.symmetric import lower_tiles, symmetric_product

# Contiguous validation blocks (start, stop) of inner k-fold; None stands for leave-one-out.
Blocks = tuple[tuple[int, int], ...] | None

# Rounding errors of the products below were measured at up to about 10 eps times the size of their terms. Losses
# closer than this many of those units cannot be told apart by them.
_NOISE_UNITS = 32.0


class Losses(NamedTuple):
    """Mean squared inner-validation error, and how far rounding may have moved it."""

    loss: Float[Array, "T a"]
    noise: Float[Array, "T a"]


def losses(s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks) -> Losses:
    """Losses of one shared penalty per target layer.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive.
      grams: Y Y^T / e of the centred training targets; their precision is that of the products, and the noise
        that is reported is that of the precision.
      blocks: Inner folds.
    """
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, grams, blocks)
    return _losses_of_few_directions(s, alphas, grams)


@functools.partial(jax.jit, static_argnames="blocks")
def unit_losses(s: Spectrum, alphas: Float[Array, " a"], y: Float[Array, "n e"], blocks: Blocks) -> Float[Array, "a e"]:
    """Losses of every target unit, from the residuals themselves, in float64: slower, but nothing cancels."""
    n = s.vectors.shape[0]
    y = y.astype(jnp.float64)
    if blocks is not None:
        maker = _residual_maker(s, alphas, blocks, jnp.dtype("float64"))
        return jax.lax.map(lambda a: jnp.sum((maker(a) @ y) ** 2, axis=0), jnp.arange(alphas.shape[0]))
    centred, turned = y - jnp.mean(y, axis=0), s.vectors.T @ y

    def leave_one_out(cw: tuple[Float[Array, ""], Float[Array, " r"]]) -> Float[Array, " e"]:
        c, w = cw
        diagonal = c * (1 - 1 / n) + (s.vectors**2) @ w
        residuals = (c * centred + s.vectors @ (w[:, None] * turned)) / diagonal[:, None]
        return jnp.mean(residuals**2, axis=0)

    return jax.lax.map(leave_one_out, residual_weights(s, alphas))


def _residual_maker(
    s: Spectrum, alphas: Float[Array, " a"], blocks: Blocks, dtype: jnp.dtype
) -> Callable[[Int[Array, ""]], Float[Array, "n n"]]:
    """A function from the index of a penalty to R, its rows weighted so that |R Y|^2 is the mean over inner folds of
    their mean squared error.

    Leave-one-out, for which U must be complete, has no cancellation and is formed in `dtype`; for inner folds C is
    formed in float64 and only R is rounded.
    """
    n = s.vectors.shape[0]
    c, w = residual_weights(s, alphas)
    if blocks is None:
        assert s.complete
        u = s.vectors.astype(dtype)
        narrow_w = w.astype(dtype)
        row_scale = (1 / (np.sqrt(n) * (w @ (s.vectors**2).T))).astype(dtype)
        return lambda a: symmetric_product(u * narrow_w[a], u) * row_scale[a][:, None]

    def by_block(a: Int[Array, ""]) -> Float[Array, "n n"]:
        big_c = symmetric_product(s.vectors * w[a], s.vectors) + c[a] * (jnp.eye(n) - 1 / n)
        rows = []
        for start, stop in blocks:
            block = jnp.linalg.solve(big_c[start:stop, start:stop], big_c[start:stop])
            rows.append(block / np.sqrt(len(blocks) * (stop - start)))
        return jnp.concatenate(rows).astype(dtype)

    return by_block


def _losses_of_many_directions(
    s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks
) -> Losses:
    """<R^T R, Y Y^T>, in the precision of `grams`.

    Penalties far below the smallest eigenvalue hardly change 1 / (s + alpha): with full rank R^T R is analytic
    in alpha with radius s_min, so that below 1e-4 s_min a straight line in alpha is exact to about 1e-8 of its size.
    Of those penalties only the smallest and the largest are computed; ten times that error is added to the noise.
    """
    values = np.asarray(alphas)
    small = np.flatnonzero(values <= 1e-4 * float(s.values[0]))
    between = small[1:-1]
    computed = np.setdiff1d(np.arange(len(values)), between)
    # Filled up, so that one shape is compiled; what is beyond `count` is not computed.
    padded = np.resize(computed, len(values))
    found = _gram_losses(s, alphas[padded], grams, blocks, len(computed))
    loss, noise = (np.empty((len(grams), len(values))) for _ in range(2))
    for whole, part in zip((loss, noise), found, strict=True):
        whole[:, computed] = np.asarray(part)[:, : len(computed)]
        if len(between):
            ends = whole[:, small[[0, -1]]]
            share = (values[between] - values[small[0]]) / (values[small[-1]] - values[small[0]])
            whole[:, between] = ends[:, :1] + share * (ends[:, 1:] - ends[:, :1])
    noise[:, between] *= 1 + 1e-7 / (_NOISE_UNITS * jnp.finfo(grams.dtype).eps)
    return Losses(jnp.asarray(loss), jnp.asarray(noise))


@functools.partial(jax.jit, static_argnames="blocks")
def _gram_losses(
    s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks, count: Int[Array, ""]
) -> Losses:
    """Losses of the first `count` penalties; of the others zero."""
    n = s.vectors.shape[0]
    maker = _residual_maker(s, alphas, blocks, grams.dtype)
    tiles = lower_tiles(n)

    def add(a: Int[Array, ""], products: list[Array]) -> list[Array]:
        r = maker(a)
        return [
            product.at[a].set(r[:, rows].T @ r[:, columns])
            for product, (rows, columns) in zip(products, tiles, strict=True)
        ]

    empty = [jnp.zeros((len(alphas), *grams[0, rows, columns].shape), grams.dtype) for rows, columns in tiles]
    loss = jnp.zeros((grams.shape[0], alphas.shape[0]), jnp.float64)
    power = jnp.zeros(alphas.shape[0], jnp.float64)
    for product, (rows, columns) in zip(jax.lax.fori_loop(0, count, add, empty), tiles, strict=True):
        times = 1.0 if rows == columns else 2.0
        loss += times * _inner_products(grams[:, rows, columns], product)
        power += times * jnp.sum(jnp.sum(product**2, axis=-1).astype(jnp.float64), axis=-1)
    size = jnp.linalg.norm(grams.astype(jnp.float64), axis=(1, 2))
    noise = _NOISE_UNITS * jnp.finfo(grams.dtype).eps * jnp.outer(size, jnp.sqrt(power))
    return Losses(loss, noise)


def _inner_products(a: Float[Array, "X r c"], b: Float[Array, "Y r c"]) -> Float[Array, "X Y"]:
    """Sums of elementwise products of all pairs: in the arrays' precision within a run of rows, in float64 beyond."""
    runs = math.gcd(a.shape[1], 8)
    by_run = jnp.einsum("xqk,yqk->qxy", a.reshape(len(a), runs, -1), b.reshape(len(b), runs, -1))
    return jnp.sum(by_run.astype(jnp.float64), axis=0)


@jax.jit
def _losses_of_few_directions(s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"]) -> Losses:
    """Leave-one-out losses without any n x n matrix per penalty, in the precision of `grams`.

    With V = [1/sqrt(n), U], H = V diag(f) V^T, f = (1, s / (s + alpha)) and g_i = (1 - H_ii)^-2, expanding
    sum_i g_i |((I - H) Y)_i|^2 gives, for G = Y Y^T,

        sum_i g_i G_ii  -  2 sum_k f_k (V^T diag(g) G V)_kk  +  sum_kl f_k f_l (V^T diag(g) V)_kl (V^T G V)_kl.
    """
    n, dtype = s.vectors.shape[0], grams.dtype
    v = jnp.concatenate([jnp.full((n, 1), 1 / np.sqrt(n)), s.vectors], axis=1)
    shrunk = s.values / (s.values + alphas[:, None])
    f = jnp.concatenate([jnp.ones_like(alphas)[:, None], shrunk], axis=1)
    g = 1 / (1 - f @ (v**2).T) ** 2
    v, f, weight = v.astype(dtype), f.astype(dtype), g.astype(dtype)
    gv = grams @ v
    own = jnp.einsum("an,tnn->ta", g, grams.astype(jnp.float64))
    by_direction = jnp.einsum("an,tnk->tak", weight, v * gv)
    crossed = jnp.sum((by_direction * f).astype(jnp.float64), axis=-1)
    weighted = jax.lax.map(lambda gf: (v.T * gf[0]) @ v * jnp.outer(gf[1], gf[1]), (weight, f))
    squared = _inner_products(v.T @ gv, weighted)
    noise = _NOISE_UNITS * jnp.finfo(dtype).eps * (own + jnp.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)
