"""The penalty that inner cross-validation chooses, for every target layer at once.

n training items, T target layers, d predictor units, e target units, r directions, a penalties (alphas), K inner folds.

Dual form: targets enter by their Gram matrices Y Y^T [n, n], one per target layer. Primal form (`is_primal`), for many
items of few units: targets enter by their rows, and no array has n^2 elements.
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


def is_primal(n: int, d: int, e: int, targets: int, penalties: int, blocks: Blocks, most_bytes: int) -> bool:
    """Whether penalties are searched without Gram matrices of the targets.

    Args:
      n: Training items.
      d: Predictor units.
      e: Target units.
      targets: Target layers, times pairings.
      penalties: How many there are.
      blocks: Inner folds.
      most_bytes: Memory that n x n matrices may take.
    """
    if 2 * d >= n:
        return False
    if blocks is None:
        return 2 * e < n
    # A few n x n float64 matrices are in use at a time. The other side of `or` compares operations.
    cheaper = 32 * n * n > most_bytes or 3 * len(blocks) * d * d * e * targets < penalties * n**3
    return cheaper and _few_refits(n, d, blocks)


def _few_refits(n: int, d: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    """Whether a d x d matrix for each inner fold takes no more memory than n x n matrices."""
    return len(blocks) * d * d <= 2 * n * n


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


@jax.jit(static_argnames=("blocks", "careful", "primal"))
def losses(
    s: Spectrum,
    alphas: Float[Array, " a"],
    targets: Float[Array, "T n n"] | Float[Array, "T n e"],
    blocks: Blocks,
    careful: bool = False,
    primal: bool = False,
) -> Losses:
    """Losses of one shared penalty per target layer.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive, ascending.
      targets: Y Y^T / e of the centred training targets, or in the primal form Y / sqrt(e); their precision is that of
        the products, and the noise that is reported is that of the precision.
      blocks: Inner folds.
      careful: In the dual form, compute the residuals of inner folds in float64 whatever the precision of the products:
        less noise, twice the time.
      primal: Which form.
    """
    if primal and blocks is not None:
        return _losses_of_refits(s, alphas, targets, blocks)
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, targets, blocks, careful)
    return _losses_of_few_directions(s, alphas, targets, primal)


@jax.jit(static_argnames="blocks")
def unit_losses(s: Spectrum, alphas: Float[Array, " a"], y: Float[Array, "n e"], blocks: Blocks) -> Float[Array, "a e"]:
    """Losses of every target unit, from the residuals themselves, in float64: slower, but nothing cancels."""
    return jax.lax.map(_unit_loss(s, y, blocks), alphas)


def _unit_loss(s: Spectrum, y: Float[Array, "n e"], blocks: Blocks) -> Callable[[Float[Array, ""]], Float[Array, " e"]]:
    """A function from a penalty to the loss of every unit."""
    n, y = s.vectors.shape[0], y.astype(jnp.float64)
    if blocks is not None and (s.complete or not _few_refits(n, len(s.values), blocks)):
        maker = _residual_maker(s, blocks, np.dtype("float64"), careful=True)
        return lambda alpha: jnp.sum((maker(alpha)[0] @ y) ** 2, axis=0)
    if blocks is not None:
        refits, sizes = _refits(s, blocks), _sizes(blocks)
        projected = _projected(s, y)
        held, turned, _ = jax.lax.map(lambda refit: _of_refit(refit, projected, y), refits)

        def k_fold(alpha: Float[Array, ""]) -> Float[Array, " e"]:
            weights = jax.vmap(lambda values: solution_weights(values, alpha[None])[0])(refits.values)
            residuals = held - refits.rows @ (weights[:, :, None] * turned)
            return jnp.sum(jnp.sum(residuals**2, axis=1) / sizes[:, None], axis=0) / len(blocks)

        return k_fold
    centred, turned = y - jnp.mean(y, axis=0), s.vectors.T @ y

    def leave_one_out(alpha: Float[Array, ""]) -> Float[Array, " e"]:
        (c,), (w,) = residual_weights(s, alpha[None])

        def squares(u: Float[Array, "i r"], y: Float[Array, "i e"]) -> Float[Array, " e"]:
            diagonal = c * (1 - 1 / n) + (u**2) @ w
            return jnp.sum(((c * y + u @ (w[:, None] * turned)) / diagonal[:, None]) ** 2, axis=0)

        return _over_items(squares, s.vectors, centred) / n

    return leave_one_out


# Items whose residuals are in memory at a time.
_ITEMS = 1 << 14


def _over_items(function: Callable[..., Array], *rows: Float[Array, "n _"]) -> Array:
    """The sum of `function` over runs of items."""
    runs, left = divmod(len(rows[0]), _ITEMS)
    whole = runs * _ITEMS
    if not runs:
        return function(*rows)
    parts = [side[:whole].reshape(runs, _ITEMS, -1) for side in rows]
    total = jnp.sum(jax.lax.map(lambda run: function(*run), parts), axis=0)
    return total + function(*(side[whole:] for side in rows)) if left else total


class Refits(NamedTuple):
    """Ridge regression without each inner fold, for few directions.

    With B = U diag(sqrt(s)), so that B B^T = K, and B' the rows of B that are left when a fold is held out.

    Attributes:
      items: The items of the fold; the last repeated where other folds are larger.
      inside: Which of them are not such repetitions.
      mean: Column means of B'.
      values: Eigenvalues of the centred B'^T B', those within rounding error of zero exactly zero.
      vectors: Eigenvectors.
      rows: Rows of B of the fold, less `mean`, times `vectors`; zero where an item is repeated.
    """

    items: Int[Array, "K b"]
    inside: Bool[Array, "K b 1"]
    mean: Float[Array, "K r"]
    values: Float[Array, "K r"]
    vectors: Float[Array, "K r r"]
    rows: Float[Array, "K b r"]


def _sizes(blocks: tuple[tuple[int, int], ...]) -> Float[np.ndarray, " K"]:
    return np.array([float(stop - start) for start, stop in blocks])


def _refits(s: Spectrum, blocks: tuple[tuple[int, int], ...]) -> Refits:
    n, sizes = s.vectors.shape[0], _sizes(blocks).astype(int)
    places = np.arange(max(sizes))
    inside = places < sizes[:, None]
    items = np.minimum(np.array(blocks)[:, :1] + places, n - 1)

    def one(fold: tuple[Array, Array]) -> Refits:
        rows, inside = fold
        held = jnp.where(inside, s.vectors[rows] * jnp.sqrt(s.values), 0.0)
        count = n - jnp.sum(inside)
        mean = -jnp.sum(held, axis=0) / count  # columns of B sum to zero
        left = jnp.diag(s.values) - held.T @ held - count * jnp.outer(mean, mean)
        values, vectors = jnp.linalg.eigh(left)
        floor = n * np.finfo(np.float64).eps * s.values[-1]
        turned = jnp.where(inside, (held - mean) @ vectors, 0.0)
        return Refits(rows, inside, mean, jnp.where(values > floor, values, 0.0), vectors, turned)

    return jax.lax.map(one, (jnp.asarray(items), jnp.asarray(inside)[:, :, None]))


def _projected(s: Spectrum, y: Float[Array, "n e"]) -> Float[Array, "r e"]:
    """B^T Y."""
    return jnp.sqrt(s.values)[:, None] * (s.vectors.T @ y)


def _of_refit(refit: Refits, projected: Float[Array, "r e"], y: Float[Array, "n e"]) -> tuple[Array, Array, Array]:
    """Of one fold: Y, its targets less their mean over the other items [b, e]; P and X^T Y [r, e], as in
    `_losses_of_refits`."""
    held, total = jnp.where(refit.inside, y[refit.items], 0.0), jnp.sum(y, axis=0)
    mean = (total - jnp.sum(held, axis=0)) / (len(y) - jnp.sum(refit.inside))
    crossed = refit.rows.T @ held
    p = refit.vectors.T @ (projected - jnp.outer(refit.mean, total)) - crossed
    return jnp.where(refit.inside, held - mean, 0.0), p, crossed - jnp.outer(jnp.sum(refit.rows, axis=0), mean)


def _losses_of_refits(
    s: Spectrum, alphas: Float[Array, " a"], targets: Float[Array, "T n e"], blocks: tuple[tuple[int, int], ...]
) -> Losses:
    """Losses of inner folds without any n x n matrix, in float64.

    With w = 1 / (values + alpha), P = `vectors`^T B'^T Y', X the `rows` and Y the targets of the held-out fold:

        |Y - X diag(w) P|^2 = |Y|^2 - 2 <w, diag(P Y^T X)> + <w w^T, (P P^T) * (X^T X)>.
    """
    refits, sizes = _refits(s, blocks), jnp.asarray(_sizes(blocks))

    def of_target(y: Float[Array, "n e"]) -> tuple[Array, Array]:
        y = y.astype(jnp.float64)
        projected = _projected(s, y)

        def of_fold(fold: tuple[Refits, Array]) -> tuple[Array, Array]:
            refit, size = fold
            held, p, xy = _of_refit(refit, projected, y)
            w = solution_weights(refit.values, alphas)
            power, crossed = jnp.sum(held**2), jnp.sum(p * xy, axis=1)
            quadratic = jnp.sum((w @ ((p @ p.T) * (refit.rows.T @ refit.rows))) * w, axis=1)
            loss = power - 2 * w @ crossed + quadratic
            return loss / size, (power + 2 * w @ jnp.abs(crossed) + quadratic) / size

        return jax.tree.map(lambda part: jnp.mean(part, axis=0), jax.lax.map(of_fold, (refits, sizes)))

    loss, terms = jax.lax.map(of_target, targets)
    return Losses(loss, _NOISE_UNITS * float(np.finfo(np.float64).eps) * terms)


def _residual_maker(
    s: Spectrum, blocks: Blocks, dtype: np.dtype, careful: bool
) -> Callable[[Float[Array, ""]], tuple[Float[Array, "n n"], Array]]:
    """A function from a penalty to R, its rows weighted so that |R Y|^2 is the mean over inner
    folds of their mean squared error, with the size (Frobenius norm) of what rounding may have added to R.

    Leave-one-out, for which U must be complete, has no cancellation and is formed in `dtype`. For inner folds C is
    formed in `dtype` too unless `careful`, its diagonal blocks always in float64: what R then differs from the
    identity by on its diagonal blocks shows how far rounding has moved all of it.
    """
    n = s.vectors.shape[0]
    if blocks is None:
        assert s.complete
        u = s.vectors.astype(dtype)

        def leave_one_out(alpha: Float[Array, ""]) -> tuple[Float[Array, "n n"], Array]:
            _, (w,) = residual_weights(s, alpha[None])
            row_scale = 1 / (np.sqrt(n) * ((s.vectors**2) @ w))
            return symmetric_product(u, w.astype(dtype)) * row_scale.astype(dtype)[:, None], jnp.zeros(())

        return leave_one_out
    working = np.dtype("float64") if careful else dtype
    u = s.vectors.astype(working)

    def by_block(alpha: Float[Array, ""]) -> tuple[Float[Array, "n n"], Array]:
        (c,), (w,) = residual_weights(s, alpha[None])
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

    def one(alpha: Float[Array, ""]) -> tuple[Float[Array, " T"], Array, Array]:
        r, moved = maker(alpha)
        product = r.T @ r
        loss = jnp.sum(jnp.einsum("rc,trc->tr", product, grams).astype(jnp.float64), axis=1)
        return loss, jnp.sum(jnp.sum(product**2, axis=1).astype(jnp.float64)), moved

    loss, power, moved = jax.lax.map(one, alphas)
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


def _losses_of_few_directions(
    s: Spectrum, alphas: Float[Array, " a"], targets: Float[Array, "T n n"] | Float[Array, "T n e"], primal: bool
) -> Losses:
    """Leave-one-out losses without any n x n matrix per penalty, in the precision of `targets`.

    With V = [1/sqrt(n), U], H = V diag(f) V^T, f = (1, s / (s + alpha)) and g_i = (1 - H_ii)^-2, expanding
    sum_i g_i |((I - H) Y)_i|^2 gives, for G = Y Y^T,

        sum_i g_i G_ii  -  2 sum_k f_k (V^T diag(g) G V)_kk  +  sum_kl f_k f_l (V^T diag(g) V)_kl (V^T G V)_kl.
    """
    n, dtype = s.vectors.shape[0], targets.dtype
    v = jnp.concatenate([jnp.full((n, 1), 1 / np.sqrt(n)), s.vectors], axis=1)
    shrunk = s.values / (s.values + alphas[:, None])
    f = jnp.concatenate([jnp.ones_like(alphas)[:, None], shrunk], axis=1)
    g = 1 / (1 - f @ (v**2).T) ** 2
    v, f, weight = v.astype(dtype), f.astype(dtype), g.astype(dtype)
    weighted = jax.lax.map(lambda gf: (v.T * gf[0]) @ v * jnp.outer(gf[1], gf[1]), (weight, f))

    def by_target(target: Float[Array, "n _"]) -> tuple[Array, Array, Array]:
        if primal:
            by_unit = target.T @ v
            gv, diagonal, turned = target @ by_unit, jnp.sum(target**2, axis=1), by_unit.T @ by_unit
        else:
            gv, diagonal = target @ v, jnp.diagonal(target)
            turned = v.T @ gv
        by_direction = weight @ (v * gv)
        return g @ diagonal.astype(jnp.float64), jnp.sum((by_direction * f).astype(jnp.float64), -1), turned

    own, crossed, turned = jax.lax.map(by_target, targets)
    squared = _inner_products(turned, weighted)
    noise = _NOISE_UNITS * float(np.finfo(dtype).eps) * (own + jnp.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)


@functools.partial(jax.jit, static_argnames="blocks")
def choose_shared(
    s: Spectrum,
    alphas: Float[Array, " a"],
    grams: Float[Array, "T n n"] | None,
    y: Float[Array, "T n e"],
    scale: Float[Array, "T e"],
    blocks: Blocks,
) -> Int[Array, " T"]:
    """Index of the best penalty per target layer; the smallest of equals, as scikit-learn takes it.

    Where the products cannot tell the best from the second best within their rounding error (near-perfect prediction,
    or a flat loss), the candidates are compared by their residuals in float64.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive, ascending.
      grams: Y Y^T / e of every target layer; None for the primal form.
      y: The training targets, z-scored.
      scale: Y is `y` times this, per unit.
      blocks: Inner folds.
    """
    if grams is None:
        rows = y * (scale / np.sqrt(y.shape[2])).astype(y.dtype)[:, None]
        loss, noise = _usable(losses(s, alphas, rows, blocks, primal=True))
    else:
        loss, noise = _usable(losses(s, alphas, grams, blocks))
    if blocks is not None and grams is not None and grams.dtype != np.float64:
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

    def by_residuals(target: tuple[Array, Array, Array]) -> Int[Array, ""]:
        layer, factor, candidates = target
        unit_loss = _unit_loss(s, layer * factor, blocks)

        def one(penalty: tuple[Array, Array]) -> Float[Array, ""]:
            alpha, candidate = penalty
            return jax.lax.cond(candidate, lambda: jnp.mean(unit_loss(alpha)), lambda: jnp.inf)

        return jnp.argmin(jax.lax.map(one, (alphas, candidates)))

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
