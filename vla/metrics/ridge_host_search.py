"""The penalty that inner cross-validation chooses, in NumPy: the same choices as `vla.metrics.ridge_search`.

n training items, T target layers, e target units, a penalties (alphas).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vla.metrics.folds import Blocks
from vla.metrics.gram import Tile, lower_tiles

# As in `vla.metrics.ridge_search`.
_NOISE_UNITS = 32.0

# R^T R of several penalties is held at a time, to be multiplied with the Gram matrices of all targets at once.
_PRODUCT_BYTES = 1 << 26


class Spectrum(NamedTuple):
    """As `vla.metrics.ridge.Spectrum`."""

    vectors: Float[np.ndarray, "n r"]
    values: Float[np.ndarray, " r"]

    @property
    def complete(self) -> bool:
        """Whether U spans the whole complement of 1."""
        return self.vectors.shape[1] == self.vectors.shape[0] - 1


class Losses(NamedTuple):
    """As `vla.metrics.ridge_search.Losses`."""

    loss: Float[np.ndarray, "T a"]
    noise: Float[np.ndarray, "T a"]


class Target(NamedTuple):
    """As `vla.metrics.ridge_measures.Target`."""

    train: Float[np.ndarray, "n e"]
    scale: Float[np.ndarray, " e"]
    test: Float[np.ndarray, "m e"]
    spread: Float[np.ndarray, " e"]
    offset: Float[np.ndarray, " e"]
    constant: Bool[np.ndarray, " e"]


def symmetric_product(a: Float[np.ndarray, "n k"], weights: Float[np.ndarray, " k"] | None = None) -> np.ndarray:
    """a a^T, or a diag(weights) a^T of weights of one sign, by BLAS's symmetric update: half of a product."""
    if weights is None:
        return a @ a.T
    sign = 1.0 if np.all(weights >= 0) else -1.0
    half = a * np.sqrt(sign * weights)
    product = half @ half.T
    return product if sign > 0 else np.negative(product, out=product)


def at_least(
    s: Spectrum, alphas: Float[np.ndarray, " a"], grams: Float[np.ndarray, "T n n"], blocks: Blocks
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


def losses(
    s: Spectrum,
    alphas: Float[np.ndarray, " a"],
    grams: Float[np.ndarray, "T n n"],
    blocks: Blocks,
    careful: bool = False,
) -> Losses:
    """As `vla.metrics.ridge_search.losses`.

    With `careful`, the residuals of inner folds are formed in float64 whatever the precision of the products: less
    noise, twice the time.
    """
    if s.complete or blocks is not None:
        return _losses_of_many_directions(s, alphas, grams, blocks, careful)
    return _losses_of_few_directions(s, alphas, grams)


def residual_weights(s: Spectrum, alphas: Float[np.ndarray, " a"]) -> tuple[np.ndarray, np.ndarray]:
    """As `vla.metrics.ridge.residual_weights`."""
    n = s.vectors.shape[0]
    if s.complete:
        c, w = np.zeros_like(alphas), 1 / (s.values + alphas[:, None])
    else:
        c, w = np.ones_like(alphas), -s.values / (s.values + alphas[:, None])
    scale = (c * (n - 1) + w @ np.sum(s.vectors**2, axis=0)) / n
    return c / scale, w / scale[:, None]


def unit_losses(
    s: Spectrum, alphas: Float[np.ndarray, " a"], y: Float[np.ndarray, "n e"], blocks: Blocks
) -> Float[np.ndarray, "a e"]:
    """As `vla.metrics.ridge_search.unit_losses`."""
    n, y = s.vectors.shape[0], y.astype(np.float64)
    if blocks is not None:
        maker = _residual_maker(s, alphas, blocks, np.dtype("float64"))
        return np.stack([np.sum((maker(a)[0] @ y) ** 2, axis=0) for a in range(len(alphas))])
    centred, turned = y - np.mean(y, axis=0), s.vectors.T @ y

    def leave_one_out(c: float, w: Float[np.ndarray, " r"]) -> Float[np.ndarray, " e"]:
        diagonal = c * (1 - 1 / n) + (s.vectors**2) @ w
        residuals = (c * centred + s.vectors @ (w[:, None] * turned)) / diagonal[:, None]
        return np.mean(residuals**2, axis=0)

    return np.stack([leave_one_out(c, w) for c, w in zip(*residual_weights(s, alphas), strict=True)])


def _residual_maker(
    s: Spectrum, alphas: Float[np.ndarray, " a"], blocks: Blocks, dtype: np.dtype, careful: bool = True
) -> Callable[[int], tuple[Float[np.ndarray, "n n"], float]]:
    """As that of `vla.metrics.ridge_search`, from the index of a penalty."""
    n = s.vectors.shape[0]
    c, w = residual_weights(s, alphas)
    if blocks is None:
        assert s.complete
        u, narrow_w = s.vectors.astype(dtype), w.astype(dtype)
        row_scale = (1 / (np.sqrt(n) * (w @ (s.vectors**2).T))).astype(dtype)
        return lambda a: (symmetric_product(u, narrow_w[a]) * row_scale[a][:, None], 0.0)
    working = np.dtype("float64") if careful else dtype
    u = s.vectors.astype(working)

    def by_block(a: int) -> tuple[Float[np.ndarray, "n n"], float]:
        big_c = symmetric_product(u, w[a].astype(working))
        if not s.complete:
            big_c += (c[a] * (np.eye(n) - 1 / n)).astype(working)
        rows, moved = [], 0.0
        for start, stop in blocks:
            size = stop - start
            weight, identity = 1 / math.sqrt(len(blocks) * size), np.eye(size, dtype=working)
            corner = symmetric_product(s.vectors[start:stop], w[a]) + c[a] * (np.eye(size) - 1 / n)
            block = (weight * _inverse(corner)).astype(working) @ big_c[start:stop]
            moved += float(np.sum((block[:, start:stop] - weight * identity) ** 2)) * (n / size)
            block[:, start:stop] = weight * identity
            rows.append(block)
        return np.concatenate(rows).astype(dtype, copy=False), math.sqrt(moved)

    return by_block


def _inverse(a: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Not finite where there is none."""
    try:
        return np.linalg.solve(a, np.eye(len(a)))
    except np.linalg.LinAlgError:
        return np.full(a.shape, np.nan)


def _losses_of_many_directions(
    s: Spectrum, alphas: Float[np.ndarray, " a"], grams: Float[np.ndarray, "T n n"], blocks: Blocks, careful: bool
) -> Losses:
    """<R^T R, Y Y^T>, in the precision of `grams`.

    Penalties far below the smallest eigenvalue hardly change 1 / (s + alpha): with full rank R^T R is analytic
    in alpha with radius s_min, so that below q s_min a straight line in alpha is exact to about q^2 of its size.
    Of the penalties with q < 0.01 only the smallest and the largest are computed; ten times that error is added to
    the noise. Penalties far above the largest eigenvalue, or little above the smallest penalty as eigenvalues go, are
    computed only if a bound from below leaves them a chance for some target; loss and noise of the others are infinite.
    """
    small = np.flatnonzero(alphas <= 1e-2 * float(s.values[0]))
    loss, noise = (np.full((len(grams), len(alphas)), np.inf) for _ in range(2))
    sizes = np.array([math.sqrt(np.vdot(gram, gram)) for gram in grams])
    group = min(len(alphas), max(1, _PRODUCT_BYTES // grams[0].nbytes))

    def compute(wanted: np.ndarray) -> None:
        for start in range(0, len(wanted), group):
            batch = wanted[start : start + group]
            loss[:, batch], noise[:, batch] = _gram_losses(s, alphas[batch], grams, sizes, blocks, careful)

    large = np.flatnonzero(alphas > 10 * float(s.values[-1]))
    alike = share_left(s, alphas) if blocks is None else np.zeros(len(alphas))
    near = np.setdiff1d(np.flatnonzero(alike > 0.1), np.append(large, 0))
    between = small[1:-1]
    compute(np.setdiff1d(np.arange(len(alphas)), np.concatenate([between, near, large])))
    with np.errstate(invalid="ignore"):  # a smallest penalty of no use has neither loss nor noise
        after_first = np.outer(loss[:, 0] - noise[:, 0], alike[near] ** 2)
    lowest = np.concatenate([after_first, at_least(s, alphas[large], grams, blocks)], axis=1)
    # Constant targets have no loss to compare.
    hopeless = (lowest > np.min(loss + noise, axis=1, initial=np.inf, keepdims=True)) | (lowest == 0)
    left = np.concatenate([near, large])[~hopeless.all(axis=0)]
    between = np.setdiff1d(between, np.setdiff1d(near, left))
    ends = np.intersect1d(near, small[-1:]) if len(between) else small[:0]
    compute(np.setdiff1d(np.union1d(left, ends), between))
    if len(between):
        first, last = small[0], small[-1]
        share = (alphas[between] - alphas[first]) / (alphas[last] - alphas[first])
        for whole in (loss, noise):
            whole[:, between] = whole[:, [first]] + share * (whole[:, [last]] - whole[:, [first]])
        bend = 10 * (alphas[last] / float(s.values[0])) ** 2
        noise[:, between] *= 1 + bend / (_NOISE_UNITS * np.finfo(grams.dtype).eps)
    return Losses(loss, noise)


def _gram_losses(
    s: Spectrum,
    alphas: Float[np.ndarray, " a"],
    grams: Float[np.ndarray, "T n n"],
    sizes: Float[np.ndarray, " T"],
    blocks: Blocks,
    careful: bool,
) -> Losses:
    n, tiles = s.vectors.shape[0], lower_tiles(s.vectors.shape[0])
    maker = _residual_maker(s, alphas, blocks, grams.dtype, careful)
    products = np.zeros((len(alphas), n, n), grams.dtype)
    power, moved = np.zeros(len(alphas)), np.zeros(len(alphas))
    for a in range(len(alphas)):
        r, moved[a] = maker(a)
        product = symmetric_product(r.T)
        for rows, columns in tiles:
            tile = product[rows, columns]
            times = 1.0 if rows == columns else 2.0  # off the diagonal a tile stands for its mirror image too
            power[a] += times * np.sum(np.sum(tile**2, axis=-1).astype(np.float64))
            products[a, rows, columns] = times * tile
    loss, size = _lower_inner_products(grams, products, tiles), sizes[:, None]
    noise = float(_NOISE_UNITS * np.finfo(grams.dtype).eps) * size * np.sqrt(power)
    noise += 4 * np.sqrt(np.maximum(loss, 0.0) * size) * moved + 4 * size * moved**2
    return Losses(loss, noise)


def _lower_inner_products(
    a: Float[np.ndarray, "X n n"], b: Float[np.ndarray, "Y n n"], tiles: list[Tile]
) -> Float[np.ndarray, "X Y"]:
    """Sums of elementwise products of all pairs over the lower tiles, read a few rows at a time, so that both stay in
    the cache: in the arrays' precision within these rows, in float64 beyond."""
    total = np.zeros((len(a), len(b)))
    for rows, last in tiles:
        if rows == last:  # the diagonal tile ends the row of tiles
            step = math.gcd(rows.stop - rows.start, 8)
            for start in range(rows.start, rows.stop, step):
                left, right = (side[:, start : start + step, : last.stop].reshape(len(side), -1) for side in (a, b))
                total += left @ right.T
    return total


def _inner_products(a: Float[np.ndarray, "X r c"], b: Float[np.ndarray, "Y r c"]) -> Float[np.ndarray, "X Y"]:
    """As that of `vla.metrics.ridge_search`."""
    runs = math.gcd(a.shape[1], 8)
    left, right = (side.reshape(len(side), runs, -1).swapaxes(0, 1) for side in (a, b))
    return (left @ right.swapaxes(1, 2)).astype(np.float64).sum(axis=0)


def _losses_of_few_directions(
    s: Spectrum, alphas: Float[np.ndarray, " a"], grams: Float[np.ndarray, "T n n"]
) -> Losses:
    """As that of `vla.metrics.ridge_search`."""
    n, dtype = s.vectors.shape[0], grams.dtype
    v = np.concatenate([np.full((n, 1), 1 / np.sqrt(n)), s.vectors], axis=1)
    shrunk = s.values / (s.values + alphas[:, None])
    f = np.concatenate([np.ones_like(alphas)[:, None], shrunk], axis=1)
    g = 1 / (1 - f @ (v**2).T) ** 2
    v, f, weight = v.astype(dtype), f.astype(dtype), g.astype(dtype)
    weighted = np.stack([(v.T * own) @ v * np.outer(shares, shares) for own, shares in zip(weight, f, strict=True)])

    def by_target(gram: Float[np.ndarray, "n n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        gv = gram @ v
        by_direction = weight @ (v * gv)
        return g @ np.diagonal(gram).astype(np.float64), (by_direction * f).astype(np.float64).sum(axis=-1), v.T @ gv

    own, crossed, turned = (np.stack(parts) for parts in zip(*map(by_target, grams), strict=True))
    squared = _inner_products(turned, weighted)
    noise = _NOISE_UNITS * float(np.finfo(dtype).eps) * (own + np.abs(crossed) + squared)
    return Losses((own - 2 * crossed + squared) / n, noise / n)


def choose_shared(
    s: Spectrum,
    alphas: Float[np.ndarray, " a"],
    grams: Float[np.ndarray, "T n n"],
    targets: Sequence[Target],
    blocks: Blocks,
) -> Int[np.ndarray, " T"]:
    """As `vla.metrics.ridge_search.choose_shared`."""
    if not np.any(s.values):  # a layer that is the same for every item predicts the same with every penalty
        return np.zeros(len(grams), np.int64)
    loss, noise = _usable(losses(s, alphas, grams, blocks))
    close = _close(loss, noise)
    if blocks is not None and grams.dtype != np.float64:
        # All that may win, for all targets at once, before any target is looked at on its own.
        again = np.flatnonzero(close[close.sum(axis=1) > 1].any(axis=0))
        if len(again):
            loss[:, again], noise[:, again] = _usable(losses(s, alphas[again], grams, blocks, careful=True))
            close = _close(loss, noise)
    best = np.argmin(loss, axis=1)
    # Constant targets have no loss to compare.
    unsure = (close.sum(axis=1) > 1) & np.any(np.isfinite(loss) & (loss != 0), axis=1)
    for t in map(int, np.flatnonzero(unsure)):
        candidates = np.flatnonzero(close[t])
        target = targets[t].train * targets[t].scale
        exact = unit_losses(s, alphas[candidates], target, blocks).mean(axis=1)
        best[t] = candidates[np.argmin(exact)]
    return best


def _usable(found: Losses) -> tuple[np.ndarray, np.ndarray]:
    """Losses with their noise; infinite where there is none."""
    loss, noise = (np.array(part) for part in found)
    usable = np.isfinite(loss) & np.isfinite(noise)
    return np.where(usable, loss, np.inf), np.where(usable, noise, 0.0)


def _close(loss: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Which penalties may be the best of their target."""
    return loss - noise <= np.min(loss + noise, axis=1, keepdims=True)
