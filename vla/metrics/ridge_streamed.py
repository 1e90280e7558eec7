"""Linear predictivity of more items than memory holds, from sums over chunks of items.

N items, n training items, d predictor units, e target units, a penalties (alphas), F outer folds, K inner folds.

With many more items than units, ridge regression needs only X^T X, X^T Y and the sums of squares of Y. They are added
up over chunks of rows, apart for every combination of outer and inner folds that an item belongs to, so that those of
each training, validation and test set are sums of a few. Everything is float64.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

from vla.metrics.folds import Table, inner_blocks
from vla.metrics.ridge_settings import RidgeSettings


class Sums(NamedTuple):
    """Of some items, less a common origin: how many, sums, and sums of products."""

    n: float
    x: Float[np.ndarray, " d"]
    y: Float[np.ndarray, " e"]
    xx: Float[np.ndarray, "d d"]
    xy: Float[np.ndarray, "d e"]
    yy: Float[np.ndarray, " e"]

    def plus(self, other: "Sums") -> "Sums":
        """Of both sets of items together."""
        return jax.tree.map(lambda a, b: a + b, self, other)


def can_stream(settings: RidgeSettings) -> bool:
    """Whether sums over items suffice for the settings."""
    inner = not isinstance(settings.inner_cv, str) and not settings.alpha_per_target
    return inner and settings.test_statistics == "train" and getattr(settings, "measure", "pearson") == "pearson"


def streamed_predictivity(x: Any, y: Any, settings: RidgeSettings, rows: int = 4096) -> Table:
    """Predict one layer from another as `linear_predictivity` does, reading each once, a chunk of rows at a time.

    The numbers are those of `linear_predictivity.all_pairs` with the same settings and float64 input. Memory: one
    chunk, and (d^2 + d e) float64 numbers for each of about F K + F (F - 1) combinations of folds.

    Args:
      x: Predictor [N, d]: an array, a memory map, a zarr array: whatever has a shape and gives rows for a slice.
      y: Target [N, e] of the same items, likewise.
      settings: With `inner_cv` a number of folds: leave-one-out would need every item again.
      rows: Items read at a time.

    Raises:
      ValueError: Settings that sums cannot serve; shapes that do not match; values that are not finite; too few items.
    """
    if not can_stream(settings):
        raise ValueError(
            "streamed ridge regression keeps sums, not items: give inner_cv as a number of folds, such as 5, "
            "alpha_per_target=False, test_statistics='train' and measure='pearson'."
        )
    if len(x.shape) != 2 or len(y.shape) != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x is {tuple(x.shape)}, y {tuple(y.shape)}: expected [items, units] of the same items.")
    if rows < 1:
        raise ValueError(f"rows={rows!r}: expected a number of items of at least 1.")
    folds = settings.folds(x.shape[0])
    cells, origin = _accumulate(x, y, _memberships(x.shape[0], folds, settings.inner_cv), rows)
    shape = (1, 1, 1, len(folds))
    table = Table(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64))
    for f in range(len(folds)):
        test = _total(sums for cell, sums in cells.items() if cell[f] == _TEST)
        parts = [_total(sums for cell, sums in cells.items() if cell[f] == k) for k in range(settings.inner_cv)]
        table.fold_score[..., f], table.alpha[..., f], table.undefined[..., f] = _score(parts, test, origin, settings)
    return table


# In place of an inner fold: of test items, and of items that the outer fold leaves out.
_TEST, _NEITHER = -1, -2


def _memberships(n_items: int, folds: list, inner: int) -> Int[np.ndarray, "N F"]:
    """For every item and outer fold the inner fold that it validates, or _TEST, or _NEITHER."""
    member = np.full((n_items, len(folds)), _NEITHER)
    for f, (train, test) in enumerate(folds):
        member[test, f] = _TEST
        blocks = inner_blocks(len(train), inner)
        assert blocks is not None
        for k, (start, stop) in enumerate(blocks):
            member[train[start:stop], f] = k
    return member


def _accumulate(
    x: Any, y: Any, member: Int[np.ndarray, "N F"], rows: int
) -> tuple[dict[tuple[int, ...], Sums], tuple[np.ndarray, np.ndarray]]:
    """Sums of the items of each combination of folds, less the mean of the first chunk, which is returned too."""
    cells: dict[tuple[int, ...], Sums] = {}
    origin = None
    for start in range(0, len(member), rows):
        chunk = slice(start, min(start + rows, len(member)))
        a, b = (np.asarray(side[chunk], np.float64) for side in (x, y))
        for name, values in (("x", a), ("y", b)):
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise ValueError(f"{name} is not finite at item {start + int(bad.argmax())}: leave that item out.")
        if origin is None:
            origin = a.mean(axis=0), b.mean(axis=0)
        a, b = a - origin[0], b - origin[1]
        kinds, which = np.unique(member[chunk], axis=0, return_inverse=True)
        for k, kind in enumerate(map(tuple, kinds.tolist())):
            p, q = a[which.ravel() == k], b[which.ravel() == k]
            found = Sums(float(len(p)), p.sum(0), q.sum(0), p.T @ p, p.T @ q, (q**2).sum(0))
            cells[kind] = cells[kind].plus(found) if kind in cells else found
    assert origin is not None
    return cells, origin


def _total(parts: Iterator[Sums]) -> Sums:
    total = next(parts)
    for part in parts:
        total = total.plus(part)
    return total


def _about(sums: Sums, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of products of the items less `x` and `y`: x with x, x with y, squares of y."""
    n = sums.n
    xx = sums.xx - np.outer(sums.x, x) - np.outer(x, sums.x) + n * np.outer(x, x)
    xy = sums.xy - np.outer(sums.x, y) - np.outer(x, sums.y) + n * np.outer(x, y)
    return xx, xy, sums.yy - 2 * sums.y * y + n * y**2


def _constants(sums: Sums, origin: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which units of x and of y are the same for all of the items: scikit-learn's rule, as `vla.metrics.gram`
    has it, for a variance that is left of the mean square about the origin, of whose size its rounding error is."""
    n, eps = sums.n, np.finfo(np.float64).eps

    def flat(total: np.ndarray, squares: np.ndarray, start: np.ndarray) -> np.ndarray:
        mean, square = total / n, squares / n
        return square - mean**2 <= n * eps * square + (n * (mean + start) * eps) ** 2

    return flat(sums.x, np.diag(sums.xx), origin[0]), flat(sums.y, sums.yy, origin[1])


def _score(
    parts: list[Sums], test: Sums, origin: tuple[np.ndarray, np.ndarray], settings: RidgeSettings
) -> tuple[float, float, int]:
    """Mean r, penalty and number of undefined units of one outer fold."""
    train = _total(iter(parts))
    mean_x, mean_y = train.x / train.n, train.y / train.n
    xx, xy, yy = _about(train, mean_x, mean_y)
    var_x, var_y = np.diag(xx) / train.n, yy / train.n
    flat_x, flat_y = _constants(train, origin)
    scale_x, scale_y = (np.where(f, 1.0, np.sqrt(np.where(f, 1.0, v))) for f, v in ((flat_x, var_x), (flat_y, var_y)))
    # Units that are constant in training predict nothing and have no error.
    to_x = np.where(flat_x, 0.0, 1 / scale_x)
    to_y = np.where(flat_y, 0.0, 1 / scale_y if settings.standardize_targets else 1.0)

    def scaled(of: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return of[0] * np.outer(to_x, to_x), of[1] * np.outer(to_x, to_y), of[2] * to_y**2

    alphas = np.asarray(settings.alphas)
    losses = np.zeros(len(alphas))
    for k, part in enumerate(parts):
        rest = _total(iter(parts[:k] + parts[k + 1 :]))
        centre = rest.x / rest.n, rest.y / rest.n
        losses += _validate(scaled(_about(rest, *centre)), scaled(_about(part, *centre)), alphas) / part.n
    alpha = alphas[np.argmin(losses)]
    full_xx, full_xy, _ = scaled((xx, xy, yy))
    values, vectors = _eigen(full_xx)
    weights = np.where(values > 0, 1 / (values + alpha), 0.0)
    coefficients = vectors @ (weights[:, None] * (vectors.T @ full_xy))
    test_xx, test_xy, test_yy = scaled(_about(test, test.x / test.n, test.y / test.n))
    still_x, still_y = _constants(test, origin)
    test_xx[still_x], test_xx[:, still_x], test_xy[still_x], flat = 0.0, 0.0, 0.0, flat_y | still_y
    power = np.einsum("de,de->e", coefficients, test_xx @ coefficients)
    shared = np.einsum("de,de->e", coefficients, test_xy)
    defined = ~flat & (power > 0)
    size = np.sqrt(np.where(defined, power * test_yy, 1.0))
    r = np.clip(shared / size, -1.0, 1.0)[defined]
    return (float(r.mean()) if len(r) else np.nan), float(alpha), int(len(flat) - defined.sum())


def _eigen(xx: Float[np.ndarray, "d d"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, those within rounding of zero exactly zero, with their vectors."""
    values, vectors = linalg.eigh(xx)
    return np.where(values > len(values) * np.finfo(np.float64).eps * values[-1], values, 0.0), vectors


def _validate(
    fitted: tuple[np.ndarray, np.ndarray, np.ndarray],
    held: tuple[np.ndarray, np.ndarray, np.ndarray],
    alphas: np.ndarray,
) -> Float[np.ndarray, " a"]:
    """Sum over items and units of the squared error on `held`, divided by the units, of every penalty.

    With X^T X = V S V^T of the fitted items, W = 1 / (S + alpha), A = V^T X^T Y of the fitted and B of the held items:
    sum |y - x b|^2 = <Y, Y> - 2 tr(W A B^T) + tr(W A A^T W V^T X_h^T X_h V).
    """
    values, vectors = _eigen(fitted[0])
    a, b = vectors.T @ fitted[1], vectors.T @ held[1]
    crossed, quadratic = np.sum(a * b, axis=1), (a @ a.T) * (vectors.T @ held[0] @ vectors)
    w = np.where(values > 0, 1 / (values + alphas[:, None]), 0.0)
    return (held[2].sum() - 2 * w @ crossed + np.einsum("ak,kl,al->a", w, quadratic, w)) / len(held[2])
