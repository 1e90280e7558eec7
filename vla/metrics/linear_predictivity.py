"""Linear predictivity: ridge regression from every layer of one model to every layer of another.

N items, n training items, m test items, d predictor units, e target units, r directions, X predictor layers,
T target layers, P pairings of items.

Source: the paper, section 2 and appendix A.1. With default settings each cell equals, averaged over the folds of
`KFold(5, shuffle=True)`, scikit-learn's `RidgeCV(alphas)` on z-scored features and targets, scored by the mean
Pearson r over target units.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.folds import outer_folds
from vla.metrics.metric import Metric
from vla.metrics.ridge_losses import Blocks, unit_losses
from vla.metrics.ridge_measures import MEASURES, NEEDS_MEAN, Predicted
from vla.metrics.ridge_predictor import Predictor, prepare_predictor
from vla.metrics.ridge_search import choose_shared, inner_blocks
from vla.metrics.ridge_settings import PredictivitySettings, RidgeSettings
from vla.metrics.ridge_spectrum import solution_weights
from vla.metrics.ridge_targets import Targets, prepare_targets

# Held at a time of one fold: half for predictor layers with their eigenvectors, half for target layers with their Gram
# matrices; what exceeds it is scored in portions.
MOST_BYTES = 1 << 31


class Table(NamedTuple):
    """Scores of all layer pairs under every pairing of items.

    Attributes:
      fold_score: What is measured of the held-out items, as a mean over the target units where it is defined; NaN
        where there is none.
      alpha: The chosen penalty; with one penalty per unit it has a trailing unit axis.
      undefined: How many target units were left out because they, or their prediction, are constant.
    """

    fold_score: Float[np.ndarray, "P X T folds"]
    alpha: Float[np.ndarray, "P X T folds *e"]
    undefined: Int[np.ndarray, "P X T folds"]


def all_pairs(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    measure: str | None = None,
    most_bytes: int = MOST_BYTES,
) -> Table:
    """`all_measures` of one measure; None takes the settings' own."""
    measured = measure or getattr(settings, "measure", "pearson")
    return all_measures(x, y, settings, pairings, advance, measures=(measured,), most_bytes=most_bytes)[0]


@devices.spread_layers
@devices.in_float64
def all_measures(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    measures: Sequence[str],
    most_bytes: int = MOST_BYTES,
) -> tuple[Table, ...]:
    """Predict every layer of `y` from every layer of `x`.

    Factorisations run in float64; the products after them run in the precision of the input.

    Args:
      x: Predictor activations, float32 or float64.
      y: Target activations of the same items, same precision.
      settings: See `RidgeSettings`.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i. All pairings
        share the folds and the factorisations.
      advance: Called with the number of (pair, fold) cells just finished.
      measures: Of the same held-out predictions: keys of `MEASURES`. Each has a table of its own.
      most_bytes: Memory for what is prepared. Where all layers of a fold need more, predictor layers are taken in
        portions of half of it and target layers in portions of the other half, and targets are prepared once for
        each portion of predictors. Beside it come the activations themselves and, per core, one eigendecomposition
        or the predictions of one predictor layer for one portion of targets.

    Raises:
      ValueError: Fewer items than the folds need.
    """
    n_items = x.shape[1]
    pairings = np.arange(n_items)[None] if pairings is None else pairings
    folds = outer_folds(n_items, settings.outer_folds, settings.seed, settings.groups)
    shape = (len(pairings), len(x), len(y), len(folds))
    units = (y.shape[2],) if settings.alpha_per_target else ()
    tables = tuple(
        Table(np.full(shape, np.nan), np.full(shape + units, np.nan), np.zeros(shape, np.int64)) for _ in measures
    )
    own_statistics = settings.test_statistics == "test"
    y_layers = jnp.asarray(y)
    alphas = devices.multiplied_here(jnp.asarray(settings.alphas))

    @devices.in_float64
    def prepared(layer: np.ndarray) -> Predictor:
        return prepare_predictor(jnp.asarray(layer), train, test, own_statistics)

    @devices.in_float64
    def scored(predictor: Predictor) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return compare(predictor, targets, alphas, settings, blocks, tuple(measures))

    with ThreadPoolExecutor(devices.workers()) as pool:
        for f, (train, test) in enumerate(folds):
            blocks, n = inner_blocks(len(train), settings.inner_cv), len(train)
            of_predictor = 8 * n * min(n, x.shape[2])
            of_target = y.itemsize * n * (n + 2 * y.shape[2])
            for left in _portions(len(x), of_predictor, most_bytes // 2):
                predictors = list(pool.map(prepared, x[left]))
                for some in _portions(len(pairings) * len(y), of_target, most_bytes // 2):
                    p, t = np.unravel_index(some, (len(pairings), len(y)))
                    rows = pairings[p]
                    targets = devices.multiplied_here(
                        prepare_targets(
                            y_layers, t, rows[:, train], rows[:, test], standardize=settings.standardize_targets
                        )
                    )
                    for i, found in zip(left, pool.map(scored, predictors), strict=True):
                        for table, of_measure in zip(tables, found, strict=True):
                            for whole, part in zip(table, of_measure, strict=True):
                                whole[p, i, t, f] = part
                        advance(len(some))
    return tables


def _portions(count: int, bytes_each: int, most_bytes: int) -> list[np.ndarray]:
    """0..count-1 in portions that stay within the memory allowed, and hold at least one."""
    return np.array_split(np.arange(count), min(count, -(-count * bytes_each // max(most_bytes, 1))))


def compare(
    predictor: Predictor,
    targets: Targets,
    alphas: Float[AnyArray, " a"],
    settings: RidgeSettings,
    blocks: Blocks,
    measures: tuple[str, ...],
) -> list[tuple[Float[np.ndarray, " T"], Float[np.ndarray, "T *e"], Int[np.ndarray, " T"]]]:
    """Score one predictor layer against every target layer of a fold: (score, alpha, undefined) by every measure."""
    if settings.alpha_per_target:
        chosen = np.stack(
            [np.argmin(unit_losses(predictor.spectrum, alphas, y, blocks), axis=0) for y in targets.train]
        )
        mean = not NEEDS_MEAN.isdisjoint(measures)
        predicted = _predict_per_unit(predictor, targets, alphas[jnp.asarray(chosen)], mean=mean)
        found = [MEASURES[measure](predicted, targets) for measure in measures]
    else:
        chosen = choose_shared(predictor.spectrum, alphas, targets.gram, targets.train, targets.scale, blocks)
        used, which = np.unique(chosen, return_inverse=True)
        if not isinstance(alphas, np.ndarray):  # to a power of two, so that few shapes are compiled
            used = np.resize(used, 1 << (len(used) - 1).bit_length())
        found = _measured(predictor, targets, alphas[used], which, measures=measures)
    penalties = np.asarray(alphas)[chosen]
    return [_summed(np.asarray(values, np.float64), penalties, targets) for values in found]


def _summed(
    values: Float[np.ndarray, "T *u"], penalties: Float[np.ndarray, "T *e"], targets: Targets
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, alpha and undefined from what is measured of every target layer, or of its every unit."""
    if values.ndim == 1:
        return values, penalties, np.asarray(targets.constant.sum(axis=1), np.int64)
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0).sum(axis=1)
    score = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return score, penalties, (values.shape[1] - count).astype(np.int64)


@functools.partial(devices.compiled, static_argnames="measures")
def _measured(
    predictor: Predictor,
    targets: Targets,
    alphas: Float[AnyArray, " a"],
    which: Int[AnyArray, " T"],
    *,
    measures: tuple[str, ...],
) -> tuple[AnyArray, ...]:
    """One penalty per target layer: prediction is (A_test A^T C_alpha) Y.

    Measured target by target, so that predictions are read while they are in the cache.
    """
    s, xp = predictor.spectrum, alphas.__array_namespace__()
    projected, mean = predictor.projected_test, not NEEDS_MEAN.isdisjoint(measures)
    if mean:  # as one more row, so that the targets are read once
        projected = xp.concatenate([projected, predictor.projected_mean[None]])
    weights, dtype = solution_weights(s.values, alphas), targets.train.dtype
    maps = xp.stack([((projected * weight) @ s.vectors.T).astype(dtype) for weight in weights])

    def one(target: tuple[Any, Targets]) -> tuple[Any, ...]:
        own, of = target[0], jax.tree.map(lambda leaf: leaf[None], target[1])
        out = (maps[own] @ of.train[0])[None]
        predicted = Predicted(out[:, :-1], out[:, -1]) if mean else Predicted(out, None)
        return tuple(MEASURES[measure](predicted, of)[0] for measure in measures)

    if xp is np:
        found = [one((own, Targets(*leaves))) for own, *leaves in zip(which, *targets, strict=True)]
        return tuple(np.stack(of_measure) for of_measure in zip(*found, strict=True))
    return jax.lax.map(one, (which, targets._replace(gram=xp.zeros(len(which)))))


@functools.partial(jax.jit, static_argnames="mean")
def _predict_per_unit(predictor: Predictor, targets: Targets, alphas: Float[Array, "T e"], *, mean: bool) -> Predicted:
    """Each target unit with its own penalty: the weights act between A_test A^T U and U^T Y."""
    s = predictor.spectrum

    def one(target_and_alphas: tuple[Float[Array, "n e"], Float[Array, " e"]]) -> Predicted:
        train, own = target_and_alphas
        coefficients = solution_weights(s.values, own).T * (s.vectors.T @ train)
        rows = (predictor.projected_test @ coefficients).astype(train.dtype)
        return Predicted(rows, (predictor.projected_mean @ coefficients).astype(train.dtype) if mean else None)

    return jax.lax.map(one, (targets.train, alphas))


LINEAR_PREDICTIVITY = Metric(
    name="linear_predictivity",
    directed=True,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="mean over folds and target units of Pearson r(Y_test, ridge prediction of Y_test from X_test)",
    source="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels, section 2 and appendix A.1",
    all_pairs=all_pairs,
    settings=PredictivitySettings,
)

RETRIEVAL = Metric(
    name="retrieval",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of held-out items whose own y, among those of the fold, is most like the ridge prediction from x "
    "(Pearson r over units); by chance folds / N",
    source="top-1 cross-modal retrieval, as Frome et al. 2013 (DeViSE), from cross-validated ridge predictions",
    all_pairs=functools.partial(all_pairs, measure="retrieval"),
    settings=RidgeSettings,
)

MATCHING_ACCURACY = Metric(
    name="matching_accuracy",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=0.5,
    invariances=frozenset({"translation", "unit_permutation", "unit_scaling"}),
    formula="share of pairs of held-out items in which the ridge prediction from x is more like its own y than the "
    "other's (Pearson r over units)",
    source="two-way identification of Mitchell et al. 2008, from cross-validated ridge predictions",
    all_pairs=functools.partial(all_pairs, measure="matching"),
    settings=RidgeSettings,
)
