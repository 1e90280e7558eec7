"""Linear predictivity on the host's own cores, in NumPy and SciPy: the same numbers as `vla.metrics.ridge`.

Two cores take less time for it than for the program of `vla.metrics.ridge`, which has to be compiled for every shape:
LAPACK factorises one layer per thread, and BLAS multiplies a matrix with its own transpose at half the cost.

N items, n training items, m test items, d predictor units, e target units, r directions, X predictor layers,
T target layers, P pairings of items, a penalties.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import linalg

from vla import devices
from vla.metrics.folds import Block, Blocks, Fold, inner_blocks
from vla.metrics.ridge_host_search import Spectrum, Target, choose_shared, symmetric_product, unit_losses
from vla.metrics.ridge_measures import NEEDS_MEAN, OF_UNITS
from vla.metrics.ridge_settings import RidgeSettings


class Moments(NamedTuple):
    """As `vla.metrics.gram.Moments`."""

    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    constant: Bool[np.ndarray, " d"]


def moments(x: Float[np.ndarray, "n d"]) -> Moments:
    """As `vla.metrics.gram.moments`."""
    n, eps, mean = len(x), np.finfo(np.float64).eps, x.mean(axis=0)
    variance = np.mean((x - mean) ** 2, axis=0)
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return Moments(mean, np.where(constant, 1.0, np.sqrt(variance)), constant)


def standardise(x: Float[np.ndarray, "n d"], m: Moments) -> Float[np.ndarray, "n d"]:
    """As `vla.metrics.gram.standardise`."""
    return np.where(m.constant, 0.0, x - m.mean) / m.scale


def spectrum(a: Float[np.ndarray, "n d"]) -> Spectrum:
    """As `vla.metrics.ridge.spectrum`."""
    n, d = a.shape
    if 2 * d < n:
        values, right = linalg.eigh(a.T @ a)
        values = _clip(values, max(n, d))
        left = a @ right / np.sqrt(np.where(values > 0, values, 1.0))
        return Spectrum(np.where(values > 0, left, 0.0), values)
    unit = np.full(n, 1 / np.sqrt(n))
    unit[0] += 1.0
    unit /= linalg.norm(unit)
    k = symmetric_product(a)
    ku = k @ unit
    half = 2 * ku - 2 * (unit @ ku) * unit
    k = k - np.outer(unit, half) - np.outer(half, unit)
    values, inner = linalg.eigh(k[1:, 1:])
    vectors = np.concatenate([np.zeros((1, n - 1)), inner])
    return Spectrum(vectors - 2 * np.outer(unit, unit @ vectors), _clip(values, n))


def _clip(values: Float[np.ndarray, " r"], size: int) -> Float[np.ndarray, " r"]:
    return np.where(values > size * np.finfo(np.float64).eps * values.max(), values, 0.0)


def solution_weights(values: Float[np.ndarray, " r"], alphas: Float[np.ndarray, " a"]) -> Float[np.ndarray, "a r"]:
    """As `vla.metrics.ridge.solution_weights`."""
    with np.errstate(divide="ignore"):
        return np.where(values > 0, 1 / (values + alphas[:, None]), 0.0)


class Predictor(NamedTuple):
    """As `vla.metrics.ridge.Predictor`."""

    spectrum: Spectrum
    projected_test: Float[np.ndarray, "m r"]
    projected_mean: Float[np.ndarray, " r"]


def prepare_predictor(
    layer: Float[np.ndarray, "N d"],
    train: Int[np.ndarray, " n"],
    test: Int[np.ndarray, " m"],
    use_test_statistics: bool,
) -> Predictor:
    """As `vla.metrics.ridge.prepare_predictor`."""
    rows, test_rows = layer[train].astype(np.float64), layer[test].astype(np.float64)
    of_train = moments(rows)
    a, a_test = (
        standardise(rows, of_train),
        standardise(test_rows, moments(test_rows) if use_test_statistics else of_train),
    )
    s, m = spectrum(a), moments(a_test)
    centred = np.where(m.constant, 0.0, a_test - m.mean)
    return Predictor(s, (centred @ a.T) @ s.vectors, (m.mean @ a.T) @ s.vectors)


def prepare_target(
    layer: Float[np.ndarray, "N e"], train: Int[np.ndarray, " n"], test: Int[np.ndarray, " m"], standardize: bool
) -> Target:
    """As `vla.metrics.ridge.prepare_target`."""
    rows, unseen = layer[train].astype(np.float64), layer[test].astype(np.float64)
    of_train, of_test, size = moments(rows), moments(unseen), np.sqrt(len(test))
    return Target(
        train=standardise(rows, of_train).astype(layer.dtype),
        scale=np.ones_like(of_train.scale) if standardize else of_train.scale,
        test=(standardise(unseen, of_test) / size).astype(layer.dtype),
        spread=np.where(of_test.constant, 0.0, of_test.scale) / of_train.scale * size,
        offset=(of_test.mean - of_train.mean) / of_train.scale,
        constant=of_train.constant | of_test.constant,
    )


def target_gram(target: Target) -> Float[np.ndarray, "n n"]:
    """As `vla.metrics.ridge.target_gram`."""
    return symmetric_product(target.train * target.scale.astype(target.train.dtype)) / target.train.shape[1]


def _pearson(rows: Float[np.ndarray, "m e"], mean: Float[np.ndarray, " e"] | None, target: Target) -> np.ndarray:
    power = np.sum(rows**2, axis=0)
    r = np.sum(rows * target.test, axis=0) / np.sqrt(np.where(power > 0, power, 1.0))
    return np.where((power > 0) & ~target.constant, np.clip(r, -1.0, 1.0), np.nan)


def _share_explained(rows: Float[np.ndarray, "m e"], target: Target, bias: np.ndarray | float) -> np.ndarray:
    spread = np.where(target.constant, 1.0, target.spread)
    rest = target.test - rows / spread.astype(rows.dtype)
    return np.where(target.constant, np.nan, 1 - (np.sum(rest**2, axis=0) + bias / spread**2))


def _explained_variance(rows: Float[np.ndarray, "m e"], mean: np.ndarray | None, target: Target) -> np.ndarray:
    return _share_explained(rows, target, 0.0)


def _r2(rows: Float[np.ndarray, "m e"], mean: np.ndarray | None, target: Target) -> np.ndarray:
    assert mean is not None
    return _share_explained(rows, target, len(rows) * (mean - target.offset) ** 2)


def _ahead(rows: Float[np.ndarray, "m e"], mean: np.ndarray | None, target: Target) -> tuple[np.ndarray, float]:
    """By how much each prediction is more like its own target than like each other one, and what is a tie."""

    varies = ~target.constant

    def normal(values: Float[np.ndarray, "m e"]) -> Float[np.ndarray, "m e"]:
        values = np.where(varies, values, 0.0)
        values = np.where(varies, values - values.sum(axis=1, keepdims=True) / max(varies.sum(), 1), 0.0)
        size = linalg.norm(values, axis=1, keepdims=True)
        return np.where(size > 0, values / np.where(size > 0, size, 1.0), np.nan)

    assert mean is not None
    actual = target.test * target.spread + target.offset
    likeness = normal(rows + mean) @ normal(actual.astype(rows.dtype)).T
    if not np.isfinite(likeness).all():
        return np.full_like(likeness, np.nan), 0.0
    return np.diagonal(likeness)[:, None] - likeness, 32 * float(np.finfo(likeness.dtype).eps)


def _retrieval(rows: Float[np.ndarray, "m e"], mean: np.ndarray | None, target: Target) -> np.ndarray:
    ahead, tie = _ahead(rows, mean, target)
    first = ~(ahead < -tie).any(axis=1) / np.maximum((abs(ahead) <= tie).sum(axis=1), 1)
    return np.where(np.isnan(ahead).any(), np.nan, first.mean())


def _matching(rows: Float[np.ndarray, "m e"], mean: np.ndarray | None, target: Target) -> np.ndarray:
    ahead, tie = _ahead(rows, mean, target)
    m, won = len(ahead), (ahead > tie) + 0.5 * (abs(ahead) <= tie)
    return np.where(np.isnan(ahead).any(), np.nan, (won.sum() - 0.5 * m) / (m * (m - 1)))


MEASURES: dict[str, Callable[..., np.ndarray]] = {
    "pearson": _pearson,
    "r2": _r2,
    "explained_variance": _explained_variance,
    "retrieval": _retrieval,
    "matching": _matching,
}
"""As `vla.metrics.ridge_measures.MEASURES`, of predictions less their mean, that mean or None, and the target."""


def compare(
    predictors: Sequence[Predictor],
    targets: Sequence[Target],
    grams: Float[np.ndarray, "T n n"] | None,
    blocks: Blocks,
    alphas: Float[np.ndarray, " a"],
    measures: Sequence[str],
    units: bool,
) -> tuple[list[np.ndarray], list[np.ndarray], Int[np.ndarray, "X T *e"], list[np.ndarray | None]]:
    """Score every predictor layer against every target layer, as `vla.metrics.ridge` does.

    Args:
      predictors: Some layers.
      targets: Layers of the same fold.
      grams: Of the targets, for one penalty per target layer; None for one per target unit.
      blocks: Inner folds.
      alphas: Penalties to choose from, ascending.
      measures: Keys of `MEASURES`.
      units: Whether the scores of units are returned.
    """
    mean, maps = not NEEDS_MEAN.isdisjoint(measures), []
    with np.errstate(all="ignore"):
        if grams is None:
            chosen = [
                np.stack([np.argmin(unit_losses(one.spectrum, alphas, of.train, blocks), axis=0) for of in targets])
                for one in predictors
            ]
        else:
            chosen = [choose_shared(one.spectrum, alphas, grams, targets, blocks) for one in predictors]
            maps = [_maps(one, alphas, own, grams.dtype, mean) for one, own in zip(predictors, chosen, strict=True)]
        shape = (len(measures), len(predictors), len(targets))
        scores, undefined = np.empty(shape), np.empty(shape, np.int64)
        of_units = (*shape[1:], targets[0].train.shape[1])
        by_unit = [np.empty(of_units) if units and measure in OF_UNITS else None for measure in measures]
        # Target by target, so that predictions are read while they are in the cache.
        for t, target in enumerate(targets):
            if grams is None:
                parts = [
                    _predict_per_unit(one, target, alphas[own[t]], mean)
                    for one, own in zip(predictors, chosen, strict=True)
                ]
            else:
                rows = np.concatenate([by_penalty[own[t]] for by_penalty, own in zip(maps, chosen, strict=True)])
                parts = np.split(rows @ target.train, len(predictors))
            for i, part in enumerate(parts):
                rows, offset = (part[:-1], part[-1]) if mean else (part, None)
                for k, measure in enumerate(measures):
                    values = MEASURES[measure](rows, offset, target)
                    scores[k, i, t], undefined[k, i, t] = _summed(values, target)
                    if (unit_scores := by_unit[k]) is not None:
                        unit_scores[i, t] = values
    return list(scores), list(undefined), np.stack(chosen), by_unit


def _summed(values: Float[np.ndarray, "*e"], target: Target) -> tuple[float, int]:
    """Score and number of undefined units from what is measured of a target layer, or of its every unit."""
    if values.ndim == 0:
        return float(values), int(target.constant.sum())
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else np.nan, len(values) - len(known)


def _maps(
    predictor: Predictor, alphas: Float[np.ndarray, " a"], chosen: Int[np.ndarray, " T"], dtype: np.dtype, mean: bool
) -> dict[int, Float[np.ndarray, "m n"]]:
    """By the index of each penalty that was chosen, what makes predictions of training targets: A_test A^T C_alpha,
    less its mean over the test rows, which follows as one more row where it is asked for."""
    s, projected = predictor.spectrum, predictor.projected_test
    if mean:
        projected = np.concatenate([projected, predictor.projected_mean[None]])
    used = np.unique(chosen)
    weights = solution_weights(s.values, alphas[used])
    return {int(a): ((projected * weight) @ s.vectors.T).astype(dtype) for a, weight in zip(used, weights, strict=True)}


def _predict_per_unit(
    predictor: Predictor, target: Target, alphas: Float[np.ndarray, " e"], mean: bool
) -> Float[np.ndarray, "m e"]:
    """Each target unit with its own penalty: the weights act between A_test A^T U and U^T Y."""
    s = predictor.spectrum
    coefficients = solution_weights(s.values, alphas).T * (s.vectors.T @ target.train)
    rows = (predictor.projected_test @ coefficients).astype(target.train.dtype)
    return np.concatenate([rows, (predictor.projected_mean @ coefficients)[None].astype(rows.dtype)]) if mean else rows


# Predictor layers that predict a target layer by one product: of a fifth of the items, one is short of rows for the
# full rate.
_TOGETHER = 4


def blocks(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"],
    folds: Sequence[Fold],
    measures: tuple[str, ...],
    units: bool,
    most_bytes: int,
) -> Iterator[Block]:
    """As `vla.metrics.ridge.blocks`: one thread per core, each with one thread of BLAS.

    Predictor layers are taken in portions of a quarter of `most_bytes`, of which the next is prepared, also of the
    next fold, while one is compared; target layers in portions of half of it.
    """
    alphas, workers = np.asarray(settings.alphas), devices.cores()

    def prepared(layer: np.ndarray, train: np.ndarray, test: np.ndarray) -> Predictor:
        return prepare_predictor(layer, train, test, settings.test_statistics == "test")

    def of_target(task: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Target:
        return prepare_target(*task, settings.standardize_targets)

    with devices.one_thread_per_product(), ThreadPoolExecutor(workers) as pool:
        portions = [
            (f, left)
            for f, (train, _) in enumerate(folds)
            for left in _portions(len(x), 8 * len(train) * min(len(train), x.shape[2]), most_bytes // 4)
        ]

        def begin(f: int, left: np.ndarray) -> list[Future[Predictor]]:
            return [pool.submit(prepared, x[i], *folds[f]) for i in left]

        begun = begin(*portions[0])
        for (f, left), following in zip(portions, [*portions[1:], None], strict=True):
            predictors, (train, test) = [one.result() for one in begun], folds[f]
            inner, n = inner_blocks(len(train), settings.inner_cv), len(train)
            groups = np.array_split(
                np.arange(len(left)), min(len(left), -(-len(left) // (_TOGETHER * workers)) * workers)
            )
            for right in _portions(len(pairings) * len(y), y.itemsize * n * (n + 2 * y.shape[2]), most_bytes // 2):
                p, t = np.divmod(right, len(y))
                tasks = [(y[j], rows[train], rows[test]) for j, rows in zip(t, pairings[p], strict=True)]
                targets = list(pool.map(of_target, tasks))
                grams = None if settings.alpha_per_target else np.stack(list(pool.map(target_gram, targets)))
                comparing = [
                    pool.submit(compare, [predictors[i] for i in group], targets, grams, inner, alphas, measures, units)
                    for group in groups
                ]
                if following is not None:  # so that no core waits for the last of these
                    begun, following = begin(*following), None
                for group, cells in zip(groups, comparing, strict=True):
                    yield Block(f, left[group], right, *cells.result())
                del targets, grams  # before the next are made


def _portions(count: int, bytes_each: int, most_bytes: int) -> list[np.ndarray]:
    """0..count-1 in portions that stay within the memory allowed, and hold at least one."""
    return np.array_split(np.arange(count), min(count, -(-count * bytes_each // max(most_bytes, 1))))
