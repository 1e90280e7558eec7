"""The penalty that inner cross-validation chooses, for every target layer at once.

n training items, T target layers, e target units, a penalties (alphas).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla.metrics.folds import Blocks
from vla.metrics.gram import symmetric_product


class Spectrum(NamedTuple):
    """Eigenvectors and eigenvalues of K on the complement of the constant direction.

    Attributes:
      vectors: U, orthonormal columns orthogonal to 1, float64.
      values: Eigenvalues, float64, ascending; those within rounding error of zero are exactly zero.
    """

    vectors: Float[Array, "n r"]
    values: Float[Array, " r"]

    @property
    def complete(self) -> bool:
        """Whether U spans the whole complement of 1, so that no multiple of I' is needed."""
        return self.vectors.shape[1] == self.vectors.shape[0] - 1


def solution_weights(values: Float[Array, " r"], alphas: Float[Array, " a"]) -> Float[Array, "a r"]:
    """1 / (s + alpha) on directions that occur in training, 0 elsewhere: predictions cannot depend on the others."""
    return jnp.where(values > 0, 1 / (values + alphas[:, None]), 0.0)


def residual_weights(s: Spectrum, alphas: Float[Array, " a"]) -> tuple[Float[Array, " a"], Float[Array, "a r"]]:
    """c and w with C_alpha proportional to c I' + U diag(w) U^T, scaled so that C has a mean diagonal of 1.

    With a complete U, c = 0 and w = 1 / (s + alpha): nothing cancels, however small alpha. With few directions
    C is multiplied by alpha: c = 1, w = -s / (s + alpha).
    """
    n = s.vectors.shape[0]
    if s.complete:
        c, w = jnp.zeros_like(alphas), 1 / (s.values + alphas[:, None])
    else:
        c, w = jnp.ones_like(alphas), -s.values / (s.values + alphas[:, None])
    scale = (c * (n - 1) + w @ jnp.sum(s.vectors**2, axis=0)) / n
    return c / scale, w / scale[:, None]


# Rounding errors of the products below were measured at up to about 10 eps times the size of their terms. Losses
# closer than this many of those units cannot be told apart by them.
_NOISE_UNITS = 32.0


class Losses(NamedTuple):
    """Mean squared inner-validation error, and how far rounding may have moved it."""

    loss: Float[Array, "T a"]
    noise: Float[Array, "T a"]


@jax.jit(static_argnames=("blocks", "careful"))
def losses(
    s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks, careful: bool = False
) -> Losses:
    """Losses of one shared penalty per target layer.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive, ascending.
      grams: Y Y^T / e of the centred training targets; their precision is that of the products, and the noise
        that is reported is that of the precision.
      blocks: Inner folds.
      careful: Form the residuals of inner folds in float64 whatever the precision of the products: less noise, twice
        the time.
    """
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, grams, blocks, careful)
    return _losses_of_few_directions(s, alphas, grams)


@jax.jit(static_argnames="blocks")
def unit_losses(s: Spectrum, alphas: Float[Array, " a"], y: Float[Array, "n e"], blocks: Blocks) -> Float[Array, "a e"]:
    """Losses of every target unit, from the residuals themselves, in float64: slower, but nothing cancels."""
    return jax.lax.map(_unit_loss(s, y, blocks), residual_weights(s, alphas))


def _unit_loss(s: Spectrum, y: Float[Array, "n e"], blocks: Blocks) -> Callable[[tuple[Array, Array]], Array]:
    """A function from the residual weights of a penalty to the loss of every unit."""
    n, y = s.vectors.shape[0], y.astype(jnp.float64)
    if blocks is not None:
        maker = _residual_maker(s, blocks, np.dtype("float64"), careful=True)
        return lambda cw: jnp.sum((maker(cw)[0] @ y) ** 2, axis=0)
    centred, turned = y - jnp.mean(y, axis=0), s.vectors.T @ y

    def leave_one_out(cw: tuple[Array, Array]) -> Float[Array, " e"]:
        c, w = cw
        diagonal = c * (1 - 1 / n) + (s.vectors**2) @ w
        residuals = (c * centred + s.vectors @ (w[:, None] * turned)) / diagonal[:, None]
        return jnp.mean(residuals**2, axis=0)

    return leave_one_out


def _residual_maker(
    s: Spectrum, blocks: Blocks, dtype: np.dtype, careful: bool
) -> Callable[[tuple[Array, Array]], tuple[Float[Array, "n n"], Array]]:
    """A function from the residual weights of a penalty to R, its rows weighted so that |R Y|^2 is the mean over inner
    folds of their mean squared error, with the size (Frobenius norm) of what rounding may have added to R.

    Leave-one-out, for which U must be complete, has no cancellation and is formed in `dtype`. For inner folds C is
    formed in `dtype` too unless `careful`, its diagonal blocks always in float64: what R then differs from the
    identity by on its diagonal blocks shows how far rounding has moved all of it.
    """
    n = s.vectors.shape[0]
    if blocks is None:
        assert s.complete
        u = s.vectors.astype(dtype)

        def leave_one_out(cw: tuple[Array, Array]) -> tuple[Float[Array, "n n"], Array]:
            w = cw[1]
            row_scale = 1 / (np.sqrt(n) * ((s.vectors**2) @ w))
            return symmetric_product(u, w.astype(dtype)) * row_scale.astype(dtype)[:, None], jnp.zeros(())

        return leave_one_out
    working = np.dtype("float64") if careful else dtype
    u = s.vectors.astype(working)

    def by_block(cw: tuple[Array, Array]) -> tuple[Float[Array, "n n"], Array]:
        c, w = cw
        big_c = symmetric_product(u, w.astype(working))
        if not s.complete:
            big_c += (c * (jnp.eye(n) - 1 / n)).astype(working)
        rows, moved = [], jnp.zeros(())
        for start, stop in blocks:
            size = stop - start
            weight, identity = 1 / math.sqrt(len(blocks) * size), jnp.eye(size, dtype=working)
            corner = symmetric_product(s.vectors[start:stop], w) + c * (jnp.eye(size) - 1 / n)
            block = (weight * jnp.linalg.inv(corner)).astype(working) @ big_c[start:stop]
            moved += jnp.sum((block[:, start:stop] - weight * identity).astype(jnp.float64) ** 2) * (n / size)
            rows.append(block.at[:, start:stop].set(weight * identity))
        return jnp.concatenate(rows).astype(dtype), jnp.sqrt(moved)

    return by_block


def _losses_of_many_directions(
    s: Spectrum, alphas: Float[Array, " a"], grams: Float[Array, "T n n"], blocks: Blocks, careful: bool
) -> Losses:
    """<R^T R, Y Y^T>, in the precision of `grams`: within a row, in float64 beyond."""
    maker = _residual_maker(s, blocks, grams.dtype, careful)

    def one(weights: tuple[Array, Array]) -> tuple[Float[Array, " T"], Array, Array]:
        r, moved = maker(weights)
        product = r.T @ r
        loss = jnp.sum(jnp.einsum("rc,trc->tr", product, grams).astype(jnp.float64), axis=1)
        return loss, jnp.sum(jnp.sum(product**2, axis=1).astype(jnp.float64)), moved

    loss, power, moved = jax.lax.map(one, residual_weights(s, alphas))
    loss, size = loss.T, jnp.sqrt(jnp.sum(jnp.sum(grams**2, axis=-1).astype(jnp.float64), axis=-1))[:, None]
    noise = float(_NOISE_UNITS * np.finfo(grams.dtype).eps) * size * jnp.sqrt(power)
    # |(R + E) Y|^2 - |R Y|^2, with |E Y|^2 <= |E|^2 times the largest eigenvalue of Y Y^T; doubled, as E is estimated.
    noise += 4 * jnp.sqrt(jnp.maximum(loss, 0.0) * size) * moved + 4 * size * moved**2
    return Losses(loss, noise)


def _inner_products(a: Float[Array, "X r c"], b: Float[Array, "Y r c"]) -> Float[Array, "X Y"]:
    """Sums of elementwise products of all pairs: in the arrays' precision within a run of rows, in float64 beyond."""
    runs = math.gcd(a.shape[1], 8)
    left, right = (side.reshape(len(side), runs, -1).swapaxes(0, 1) for side in (a, b))
    return (left @ right.swapaxes(1, 2)).astype(jnp.float64).sum(axis=0)


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
    weighted = jax.lax.map(lambda gf: (v.T * gf[0]) @ v * jnp.outer(gf[1], gf[1]), (weight, f))

    def by_target(gram: Float[Array, "n n"]) -> tuple[Array, Array, Array]:
        gv = gram @ v
        by_direction = weight @ (v * gv)
        return g @ jnp.diagonal(gram).astype(jnp.float64), jnp.sum((by_direction * f).astype(jnp.float64), -1), v.T @ gv

    own, crossed, turned = jax.lax.map(by_target, grams)
    squared = _inner_products(turned, weighted)
    noise = _NOISE_UNITS * float(np.finfo(dtype).eps) * (own + jnp.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)


@functools.partial(jax.jit, static_argnames="blocks")
def choose_shared(
    s: Spectrum,
    alphas: Float[Array, " a"],
    grams: Float[Array, "T n n"],
    y: Float[Array, "T n e"],
    scale: Float[Array, "T e"],
    blocks: Blocks,
) -> Int[Array, " T"]:
    """Index of the best penalty per target layer; the smallest of equals, as scikit-learn takes it.

    Where the Gram products cannot tell the best from the second best within their rounding error (near-perfect
    prediction, or a flat loss), the candidates are compared by their residuals in float64.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive, ascending.
      grams: Y Y^T / e of every target layer.
      y: The training targets, z-scored.
      scale: Per unit, what makes of `y` the Y of `grams`.
      blocks: Inner folds.
    """
    loss, noise = _usable(losses(s, alphas, grams, blocks))
    if blocks is not None and grams.dtype != np.float64:
        # All that may win, for all targets at once, before any target is looked at on its own.
        close = _close(loss, noise)
        again = jnp.any(close & (jnp.sum(close, axis=1) > 1)[:, None], axis=0)
        better = jax.lax.cond(
            jnp.any(again),
            lambda: _usable(losses(s, alphas, grams, blocks, careful=True)),
            lambda: Losses(loss, noise),
        )
        loss, noise = (jnp.where(again, b, a) for a, b in zip((loss, noise), better, strict=True))
    close = _close(loss, noise)
    # Constant targets have no loss to compare.
    unsure = (jnp.sum(close, axis=1) > 1) & jnp.any(jnp.isfinite(loss) & (loss != 0), axis=1)
    weights = residual_weights(s, alphas)

    def by_residuals(target: tuple[Array, Array, Array]) -> Int[Array, ""]:
        layer, factor, candidates = target
        unit_loss = _unit_loss(s, layer * factor, blocks)

        def one(penalty: tuple[Array, Array, Array]) -> Float[Array, ""]:
            c, w, candidate = penalty
            return jax.lax.cond(candidate, lambda cw: jnp.mean(unit_loss(cw)), lambda _: jnp.inf, (c, w))

        return jnp.argmin(jax.lax.map(one, (*weights, candidates)))

    def best(target: tuple[Array, Array, Array, Array, Array]) -> Int[Array, ""]:
        doubtful, smallest, *rest = target
        return jax.lax.cond(doubtful, by_residuals, lambda _: smallest, tuple(rest))

    chosen = jax.lax.map(best, (unsure, jnp.argmin(loss, axis=1), y, scale, close))
    # A layer that is the same for every item predicts the same with every penalty.
    return jnp.where(jnp.any(s.values), chosen, 0)


def _usable(losses: Losses) -> Losses:
    """Losses with their noise; infinite where there is none."""
    # An item that alone decides a direction has leverage 1 under a vanishing penalty: 0 / 0, a penalty of no use.
    usable = jnp.isfinite(losses.loss) & jnp.isfinite(losses.noise)
    return Losses(jnp.where(usable, losses.loss, jnp.inf), jnp.where(usable, losses.noise, 0.0))


def _close(loss: Float[Array, "T a"], noise: Float[Array, "T a"]) -> Bool[Array, "T a"]:
    """Which penalties may be the best of their target."""
    return loss - noise <= jnp.min(loss + noise, axis=1, keepdims=True)
