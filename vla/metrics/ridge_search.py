"""The penalty that inner cross-validation chooses, for every target layer at once.

n training items, T target layers, e target units, a penalties (alphas).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.model_selection import KFold

from vla import devices
from vla.devices import AnyArray
from vla.metrics.gram import Tile, lower_tiles, symmetric_product
from vla.metrics.ridge_predictor import Spectrum, residual_weights

# Contiguous validation blocks (start, stop) of inner k-fold; None stands for leave-one-out.
Blocks = tuple[tuple[int, int], ...] | None


def at_least(
    s: Spectrum, alphas: Float[np.ndarray, " a"], grams: Float[AnyArray, "T n n"], blocks: Blocks
) -> Float[np.ndarray, "T a"]:
    """Losses are at least this: alpha C <= I, so that every diagonal block of it enlarges residuals when inverted, and
    |alpha C Y| >= alpha / (s_max + alpha) |Y| for centred targets. Less a part in ten thousand for rounding."""
    n = s.vectors.shape[0]
    items = n if blocks is None else len(blocks) * max(stop - start for start, stop in blocks)
    power = np.asarray(grams[:, np.arange(n), np.arange(n)], np.float64).sum(axis=1)
    return (1 - 1e-4) * np.outer(power / items, (alphas / (float(s.values[-1]) + alphas)) ** 2)


def share_left(s: Spectrum, alphas: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    """Of the root of the leave-one-out loss at the smallest penalty, the share that is left at least at the others.

    With D = diag(C)^-1, which grows with alpha, |D C Y| >= |D_1 C_1 Y| - |D_1 E C_1 Y|, where E = (C_1 - C) C_1^-1 has
    norm q = (alpha - alpha_1) / (s_min + alpha); and |D_1 E C_1 Y| <= q max(D_1) / min(D_1) |D_1 C_1 Y|. Less a part in
    ten thousand for rounding.
    """
    diagonal = np.asarray(s.vectors) ** 2 @ (1 / (np.asarray(s.values) + alphas[0]))
    q = (alphas - alphas[0]) / (float(s.values[0]) + alphas)
    return np.maximum((1 - 1e-4) * (1 - q * diagonal.max() / diagonal.min()), 0.0)


# Rounding errors of the products below were measured at up to about 10 eps times the size of their terms. Losses
# closer than this many of those units cannot be told apart by them.
_NOISE_UNITS = 32.0

# R^T R of several penalties is held at a time, to be multiplied with the Gram matrices of all targets at once.
_PRODUCT_BYTES = 1 << 26


class Losses(NamedTuple):
    """Mean squared inner-validation error, and how far rounding may have moved it."""

    loss: Float[AnyArray, "T a"]
    noise: Float[AnyArray, "T a"]


def losses(
    s: Spectrum, alphas: Float[AnyArray, " a"], grams: Float[AnyArray, "T n n"], blocks: Blocks, careful: bool = False
) -> Losses:
    """Losses of one shared penalty per target layer.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive.
      grams: Y Y^T / e of the centred training targets; their precision is that of the products, and the noise
        that is reported is that of the precision.
      blocks: Inner folds.
      careful: Form the residuals of inner folds in float64 whatever the precision of the products: less noise, twice
        the time.
    """
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, grams, blocks, careful)
    return _losses_of_few_directions(s, alphas, grams)


@functools.partial(devices.compiled, static_argnames="blocks")
def unit_losses(
    s: Spectrum, alphas: Float[AnyArray, " a"], y: Float[AnyArray, "n e"], blocks: Blocks
) -> Float[AnyArray, "a e"]:
    """Losses of every target unit, from the residuals themselves, in float64: slower, but nothing cancels."""
    xp, n = s.vectors.__array_namespace__(), s.vectors.shape[0]
    y = y.astype(np.float64)
    if blocks is not None:
        maker = _residual_maker(s, alphas, blocks, np.dtype("float64"))
        return devices.mapped(lambda a: xp.sum((maker(a)[0] @ y) ** 2, axis=0), xp.arange(len(alphas)))
    centred, turned = y - xp.mean(y, axis=0), s.vectors.T @ y

    def leave_one_out(cw: tuple[Any, Float[AnyArray, " r"]]) -> Float[AnyArray, " e"]:
        c, w = cw
        diagonal = c * (1 - 1 / n) + (s.vectors**2) @ w
        residuals = (c * centred + s.vectors @ (w[:, None] * turned)) / diagonal[:, None]
        return xp.mean(residuals**2, axis=0)

    return devices.mapped(leave_one_out, residual_weights(s, alphas))


def _residual_maker(
    s: Spectrum, alphas: Float[AnyArray, " a"], blocks: Blocks, dtype: np.dtype, careful: bool = True
) -> Callable[[Any], tuple[Float[AnyArray, "n n"], Any]]:
    """A function from the index of a penalty to R, its rows weighted so that |R Y|^2 is the mean over inner folds of
    their mean squared error, with the size (Frobenius norm) of what rounding may have added to R.

    Leave-one-out, for which U must be complete, has no cancellation and is formed in `dtype`. For inner folds C is
    formed in `dtype` too unless `careful`, its diagonal blocks always in float64: what R then differs from the
    identity by on its diagonal blocks shows how far rounding has moved all of it.
    """
    xp, n = s.vectors.__array_namespace__(), s.vectors.shape[0]
    c, w = residual_weights(s, alphas)
    if blocks is None:
        assert s.complete
        u, narrow_w = s.vectors.astype(dtype), w.astype(dtype)
        row_scale = (1 / (np.sqrt(n) * (w @ (s.vectors**2).T))).astype(dtype)
        return lambda a: (symmetric_product(u, narrow_w[a]) * row_scale[a][:, None], 0.0)
    working = np.dtype("float64") if careful else dtype
    u = s.vectors.astype(working)

    def by_block(a: Any) -> tuple[Float[AnyArray, "n n"], Any]:
        big_c = symmetric_product(u, w[a].astype(working))
        if not s.complete:
            big_c += (c[a] * (xp.eye(n) - 1 / n)).astype(working)
        rows, moved = [], 0.0
        for start, stop in blocks:
            size = stop - start
            weight, identity = 1 / math.sqrt(len(blocks) * size), xp.eye(size, dtype=working)
            corner = symmetric_product(s.vectors[start:stop], w[a]) + c[a] * (xp.eye(size) - 1 / n)
            block = (weight * _inverse(corner)).astype(working) @ big_c[start:stop]
            moved += xp.sum((block[:, start:stop] - weight * identity) ** 2) * (n / size)
            rows.append(_put(block, (slice(None), slice(start, stop)), weight * identity))
        return xp.concatenate(rows).astype(dtype, copy=False), xp.sqrt(moved)

    return by_block


def _inverse(a: Float[AnyArray, "k k"]) -> Float[AnyArray, "k k"]:
    """Not finite where there is none."""
    xp = a.__array_namespace__()
    try:
        return xp.linalg.solve(a, xp.eye(len(a)))
    except np.linalg.LinAlgError:
        return np.full(a.shape, np.nan)


def _losses_of_many_directions(
    s: Spectrum, alphas: Float[AnyArray, " a"], grams: Float[AnyArray, "T n n"], blocks: Blocks, careful: bool
) -> Losses:
    """<R^T R, Y Y^T>, in the precision of `grams`.

    Penalties far below the smallest eigenvalue hardly change 1 / (s + alpha): with full rank R^T R is analytic
    in alpha with radius s_min, so that below q s_min a straight line in alpha is exact to about q^2 of its size.
    Of the penalties with q < 0.01 only the smallest and the largest are computed; ten times that error is added to
    the noise. Penalties far above the largest eigenvalue, or little above the smallest penalty as eigenvalues go, are
    computed only if a bound from below leaves them a chance for some target; loss and noise of the others are infinite.
    """
    values = np.asarray(alphas)
    small = np.flatnonzero(values <= 1e-2 * float(s.values[0]))
    loss, noise = (np.full((len(grams), len(values)), np.inf) for _ in range(2))
    sizes = _sizes(grams)
    group = min(len(values), max(1, _PRODUCT_BYTES // grams[0].nbytes))

    def compute(wanted: np.ndarray) -> None:
        for start in range(0, len(wanted), group):
            some = wanted[start : start + group]
            # Few shapes are compiled: groups are of one size, the last filled up but not computed.
            filled = some if isinstance(grams, np.ndarray) else np.resize(some, group)
            found = _gram_losses(s, alphas[filled], grams, sizes, blocks, len(some), careful)
            for whole, part in zip((loss, noise), found, strict=True):
                whole[:, some] = np.asarray(part)[:, : len(some)]

    large = np.flatnonzero(values > 10 * float(s.values[-1]))
    alike = share_left(s, values) if blocks is None else np.zeros(len(values))
    near = np.setdiff1d(np.flatnonzero(alike > 0.1), np.append(large, 0))
    between = small[1:-1]
    compute(np.setdiff1d(np.arange(len(values)), np.concatenate([between, near, large])))
    with np.errstate(invalid="ignore"):  # a smallest penalty of no use has neither loss nor noise
        after_first = np.outer(loss[:, 0] - noise[:, 0], alike[near] ** 2)
    lowest = np.concatenate([after_first, at_least(s, values[large], grams, blocks)], axis=1)
    # Constant targets have no loss to compare.
    hopeless = (lowest > np.min(loss + noise, axis=1, initial=np.inf, keepdims=True)) | (lowest == 0)
    left = np.concatenate([near, large])[~hopeless.all(axis=0)]
    between = np.setdiff1d(between, np.setdiff1d(near, left))
    ends = np.intersect1d(near, small[-1:]) if len(between) else small[:0]
    compute(np.setdiff1d(np.union1d(left, ends), between))
    if len(between):
        first, last = small[0], small[-1]
        share = (values[between] - values[first]) / (values[last] - values[first])
        for whole in (loss, noise):
            whole[:, between] = whole[:, [first]] + share * (whole[:, [last]] - whole[:, [first]])
        bend = 10 * (values[last] / float(s.values[0])) ** 2
        noise[:, between] *= 1 + bend / (_NOISE_UNITS * np.finfo(grams.dtype).eps)
    return Losses(loss, noise)


@devices.compiled
def _sizes(grams: Float[AnyArray, "T n n"]) -> Float[AnyArray, " T"]:
    """Frobenius norms."""
    if isinstance(grams, np.ndarray):
        return np.array([math.sqrt(np.vdot(gram, gram)) for gram in grams])
    return jnp.sqrt(jnp.sum(jnp.sum(grams**2, axis=-1).astype(jnp.float64), axis=-1))


@functools.partial(devices.compiled, static_argnames=("blocks", "careful"))
def _gram_losses(
    s: Spectrum,
    alphas: Float[AnyArray, " a"],
    grams: Float[AnyArray, "T n n"],
    sizes: Float[AnyArray, " T"],
    blocks: Blocks,
    count: Any,
    careful: bool,
) -> Losses:
    """Losses of the first `count` penalties; of the others zero."""
    xp, n = grams.__array_namespace__(), s.vectors.shape[0]
    maker = _residual_maker(s, alphas, blocks, grams.dtype, careful)
    tiles = lower_tiles(n)

    def add(a: Any, found: tuple[AnyArray, AnyArray, AnyArray]) -> tuple[AnyArray, AnyArray, AnyArray]:
        products, power, moved = found
        r, own = maker(a)
        whole = symmetric_product(r.T) if xp is np else None
        squares = 0.0
        for rows, columns in tiles:
            tile = r[:, rows].T @ r[:, columns] if whole is None else whole[rows, columns]
            times = 1.0 if rows == columns else 2.0  # off the diagonal a tile stands for its mirror image too
            squares += times * xp.sum(xp.sum(tile**2, axis=-1).astype(np.float64))
            products = _put(products, (a, rows, columns), times * tile)
        return products, _put(power, a, squares), _put(moved, a, own)

    nothing = (xp.zeros(len(alphas)) for _ in range(2))
    loop = _loop if xp is np else jax.lax.fori_loop
    products, power, moved = loop(0, count, add, (xp.zeros((len(alphas), n, n), grams.dtype), *nothing))
    loss, size = _lower_inner_products(grams, products, tiles), sizes[:, None]
    noise = float(_NOISE_UNITS * np.finfo(grams.dtype).eps) * size * xp.sqrt(power)
    # |(R + E) Y|^2 - |R Y|^2, with |E Y|^2 <= |E|^2 times the largest eigenvalue of Y Y^T; doubled, as E is estimated.
    noise += 4 * xp.sqrt(xp.maximum(loss, 0.0) * size) * moved + 4 * size * moved**2
    return Losses(loss, noise)


def _loop(start: int, stop: int, body: Callable, carried: Any) -> Any:
    """`jax.lax.fori_loop` for arrays of NumPy."""
    return functools.reduce(lambda found, i: body(i, found), range(start, stop), carried)


def _put(array: AnyArray, place: Any, value: Any) -> AnyArray:
    """The array with a part replaced: of NumPy the same array, changed."""
    if not isinstance(array, np.ndarray):
        return array.at[place].set(value)
    array[place] = value
    return array


def _lower_inner_products(
    a: Float[AnyArray, "X n n"], b: Float[AnyArray, "Y n n"], tiles: list[Tile]
) -> Float[AnyArray, "X Y"]:
    """Sums of elementwise products of all pairs over the lower tiles, read a few rows at a time, so that both stay in
    the cache: in the arrays' precision within these rows, in float64 beyond."""
    total = a.__array_namespace__().zeros((len(a), len(b)), np.float64)
    for rows, last in tiles:
        if rows == last:  # the diagonal tile ends the row of tiles
            step = math.gcd(rows.stop - rows.start, 8)
            if isinstance(a, np.ndarray):
                for start in range(rows.start, rows.stop, step):
                    one, other = (side[:, start : start + step, : last.stop].reshape(len(side), -1) for side in (a, b))
                    total += one @ other.T
                continue

            def add(sums: Array, start: Array, step: int = step, width: int = last.stop) -> tuple[Array, None]:
                one, other = (
                    jax.lax.dynamic_slice(side, (0, start, 0), (len(side), step, width)).reshape(len(side), -1)
                    for side in (a, b)
                )
                return sums + (one @ other.T).astype(jnp.float64), None

            total = jax.lax.scan(add, total, jnp.arange(rows.start, rows.stop, step))[0]
    return total


def _inner_products(a: Float[AnyArray, "X r c"], b: Float[AnyArray, "Y r c"]) -> Float[AnyArray, "X Y"]:
    """Sums of elementwise products of all pairs: in the arrays' precision within a run of rows, in float64 beyond."""
    runs = math.gcd(a.shape[1], 8)
    one, other = (side.reshape(len(side), runs, -1).swapaxes(0, 1) for side in (a, b))
    return (one @ other.swapaxes(1, 2)).astype(np.float64).sum(axis=0)


@devices.compiled
def _losses_of_few_directions(s: Spectrum, alphas: Float[AnyArray, " a"], grams: Float[AnyArray, "T n n"]) -> Losses:
    """Leave-one-out losses without any n x n matrix per penalty, in the precision of `grams`.

    With V = [1/sqrt(n), U], H = V diag(f) V^T, f = (1, s / (s + alpha)) and g_i = (1 - H_ii)^-2, expanding
    sum_i g_i |((I - H) Y)_i|^2 gives, for G = Y Y^T,

        sum_i g_i G_ii  -  2 sum_k f_k (V^T diag(g) G V)_kk  +  sum_kl f_k f_l (V^T diag(g) V)_kl (V^T G V)_kl.
    """
    xp, n, dtype = grams.__array_namespace__(), s.vectors.shape[0], grams.dtype
    v = xp.concatenate([xp.full((n, 1), 1 / np.sqrt(n)), s.vectors], axis=1)
    shrunk = s.values / (s.values + alphas[:, None])
    f = xp.concatenate([xp.ones_like(alphas)[:, None], shrunk], axis=1)
    g = 1 / (1 - f @ (v**2).T) ** 2
    v, f, weight = v.astype(dtype), f.astype(dtype), g.astype(dtype)
    weighted = devices.mapped(lambda gf: (v.T * gf[0]) @ v * xp.outer(gf[1], gf[1]), (weight, f))

    def by_target(gram: Float[AnyArray, "n n"]) -> tuple[AnyArray, AnyArray, AnyArray]:
        gv = gram @ v
        by_direction = weight @ (v * gv)
        return g @ xp.diagonal(gram).astype(np.float64), (by_direction * f).astype(np.float64).sum(axis=-1), v.T @ gv

    own, crossed, turned = devices.mapped(by_target, grams)
    squared = _inner_products(turned, weighted)
    noise = _NOISE_UNITS * float(np.finfo(dtype).eps) * (own + xp.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)


def inner_blocks(n: int, inner_cv: str | int) -> Blocks:
    """Validation blocks of inner cross-validation: contiguous, or None for leave-one-out.

    Equivalent to `KFold(inner_cv)` without shuffling, as scikit-learn uses for an integer `cv`.

    Raises:
      ValueError: More folds than items.
    """
    if isinstance(inner_cv, str):
        return None
    if inner_cv > n:
        raise ValueError(f"inner_cv={inner_cv} folds but only {n} training items: use at most {n}, or 'loo'.")
    return tuple((int(test[0]), int(test[-1]) + 1) for _, test in KFold(inner_cv).split(np.empty(n)))


def choose_shared(
    s: Spectrum,
    alphas: Float[AnyArray, " a"],
    grams: Float[AnyArray, "T n n"],
    y: Float[AnyArray, "T n e"],
    scale: Float[AnyArray, "T e"],
    blocks: Blocks,
) -> np.ndarray:
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
    if not np.any(s.values):  # a layer that is the same for every item predicts the same with every penalty
        return np.zeros(len(grams), np.int64)
    loss, noise = _usable(losses(s, alphas, grams, blocks))
    close = _close(loss, noise)
    if blocks is not None and grams.dtype != np.float64:
        # All that may win, for all targets at once, before any target is looked at on its own.
        again = np.flatnonzero(close[close.sum(axis=1) > 1].any(axis=0))
        if len(again):
            # Filled up to a power of two, so that few shapes are compiled.
            padded = np.resize(again, 1 << (len(again) - 1).bit_length())
            better = _usable(losses(s, alphas[np.sort(padded)], grams, blocks, careful=True))
            first = np.searchsorted(np.sort(padded), again)
            loss[:, again], noise[:, again] = (part[:, first] for part in better)
            close = _close(loss, noise)
    best = np.argmin(loss, axis=1)
    # Constant targets have no loss to compare.
    unsure = (close.sum(axis=1) > 1) & np.any(np.isfinite(loss) & (loss != 0), axis=1)
    for t in np.flatnonzero(unsure):
        candidates = np.flatnonzero(close[t])
        # Padded to a power of two, so that few shapes are compiled; the first of equals is taken.
        padded = np.resize(candidates, 1 << (len(candidates) - 1).bit_length())
        exact = np.asarray(unit_losses(s, alphas[padded], y[t] * scale[t], blocks)).mean(axis=1)
        best[t] = padded[np.argmin(exact)]
    return best


def _usable(found: Losses) -> tuple[np.ndarray, np.ndarray]:
    """Losses with their noise; infinite where there is none."""
    loss, noise = (np.array(part) for part in found)
    # An item that alone decides a direction has leverage 1 under a vanishing penalty: 0 / 0, a penalty of no use.
    usable = np.isfinite(loss) & np.isfinite(noise)
    return np.where(usable, loss, np.inf), np.where(usable, noise, 0.0)


def _close(loss: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Which penalties may be the best of their target."""
    return loss - noise <= np.min(loss + noise, axis=1, keepdims=True)
