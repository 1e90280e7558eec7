"""Linear predictivity: ridge regression from every layer of one model to every layer of another.

N items, n training items, m test items, d predictor units, e target units, r directions, X predictor layers,
T target layers, P pairings of items.

Source: the paper, section 2 and appendix A.1. With default settings each cell equals, averaged over the folds of
`KFold(5, shuffle=True)`, scikit-learn's `RidgeCV(alphas)` on z-scored features and targets, scored by the mean
Pearson r over target units.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.folds import outer_folds
from vla.metrics.metric import Metric
from vla.metrics.ridge_measures import MEASURES, NEEDS_MEAN, Predicted
from vla.metrics.ridge_predictor import (
    Predictor,
    Targets,
    prepare_predictor,
    prepare_targets,
    solution_weights,
    target_grams,
)
from vla.metrics.ridge_search import Blocks, choose_shared, inner_blocks, unit_losses
from vla.metrics.ridge_settings import PredictivitySettings, RidgeSettings

Cells = tuple[Float[np.ndarray, " T"], Float[np.ndarray, "T *e"], Int[np.ndarray, " T"]]
"""Score, alpha and undefined of one predictor layer and all target layers of a fold."""


def compare(
    predictors: Sequence[Predictor],
    targets: Targets,
    grams: Float[AnyArray, "T n n"] | None,
    blocks: Blocks,
    alphas: Float[AnyArray, " a"],
    measures: tuple[str, ...],
) -> list[list[Cells]]:
    """Score every predictor layer against every target layer: for each of the former, what every measure gives.

    Args:
      predictors: Some layers.
      targets: Layers of the same fold.
      grams: Of the targets, for one penalty per target layer; None for one per target unit.
      blocks: Inner folds.
      alphas: Penalties to choose from, ascending.
      measures: Keys of `MEASURES`.
    """
    mean = not NEEDS_MEAN.isdisjoint(measures)
    if grams is None:
        chosen = [
            np.stack([np.argmin(unit_losses(one.spectrum, alphas, y, blocks), axis=0) for y in targets.train])
            for one in predictors
        ]
        found = []
        for one, own in zip(predictors, chosen, strict=True):
            predicted = _predict_per_unit(one, targets, alphas[own], mean=mean)
            found.append([MEASURES[measure](predicted, targets) for measure in measures])
    else:
        chosen, maps, places = [], [], []
        for one in predictors:
            own = choose_shared(one.spectrum, alphas, grams, targets.train, targets.scale, blocks)
            used, which = np.unique(own, return_inverse=True)
            if not isinstance(alphas, np.ndarray):  # to a power of two, so that few shapes are compiled
                used = np.resize(used, 1 << (len(used) - 1).bit_length())
            chosen.append(own)
            places.append(which)
            maps.append(_maps(one, alphas[used], targets.train, mean=mean))
        found = _measured(maps, np.stack(places, axis=1), targets, measures=measures)
    penalties = np.asarray(alphas)
    return [
        [_summed(np.asarray(values, np.float64), penalties[own], targets) for values in of_predictor]
        for own, of_predictor in zip(chosen, found, strict=True)
    ]


def _summed(values: Float[np.ndarray, "T *u"], penalties: Float[np.ndarray, "T *e"], targets: Targets) -> Cells:
    """Score, alpha and undefined from what is measured of every target layer, or of its every unit."""
    if values.ndim == 1:
        return values, penalties, np.asarray(targets.constant.sum(axis=1), np.int64)
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0).sum(axis=1)
    score = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return score, penalties, (values.shape[1] - count).astype(np.int64)


@functools.partial(devices.compiled, static_argnames="mean")
def _maps(
    predictor: Predictor, alphas: Float[AnyArray, " a"], train: Float[AnyArray, "T n e"], *, mean: bool
) -> Float[AnyArray, "a m n"]:
    """What makes predictions of training targets, in their precision: A_test A^T C_alpha, less its mean over the test
    rows, which follows as one more row where it is asked for."""
    s, projected, xp = predictor.spectrum, predictor.projected_test, alphas.__array_namespace__()
    if mean:
        projected = xp.concatenate([projected, predictor.projected_mean[None]])
    weights = solution_weights(s.values, alphas)
    return xp.stack([((projected * weight) @ s.vectors.T).astype(train.dtype) for weight in weights])


@functools.partial(devices.compiled, static_argnames="measures")
def _measured(
    maps: Sequence[Float[AnyArray, "_ m n"]],
    which: Int[AnyArray, "T X"],
    targets: Targets,
    *,
    measures: tuple[str, ...],
) -> list[list[Float[AnyArray, "T *e"]]]:
    """What is measured of the predictions of every target layer from some predictor layers, with one penalty each.

    Target by target, so that predictions are read while they are in the cache.
    """
    xp, mean = which.__array_namespace__(), not NEEDS_MEAN.isdisjoint(measures)

    def one(target: tuple[Any, Targets]) -> list[list[Any]]:
        own, of = target[0], jax.tree.map(lambda leaf: leaf[None], target[1])
        rows = xp.concatenate([of_predictor[place] for of_predictor, place in zip(maps, own, strict=True)])
        parts = (rows @ of.train[0]).reshape(len(maps), 1, -1, of.train.shape[2])
        predicted = [Predicted(out[:, :-1], out[:, -1]) if mean else Predicted(out, None) for out in parts]
        return [[MEASURES[measure](out, of)[0] for measure in measures] for out in predicted]

    return devices.mapped(one, (which, targets))


@functools.partial(devices.compiled, static_argnames="mean")
def _predict_per_unit(
    predictor: Predictor, targets: Targets, alphas: Float[AnyArray, "T e"], *, mean: bool
) -> Predicted:
    """Each target unit with its own penalty: the weights act between A_test A^T U and U^T Y."""
    s = predictor.spectrum

    def one(target_and_alphas: tuple[Float[AnyArray, "n e"], Float[AnyArray, " e"]]) -> Predicted:
        train, own = target_and_alphas
        coefficients = solution_weights(s.values, own).T * (s.vectors.T @ train)
        rows = (predictor.projected_test @ coefficients).astype(train.dtype)
        return Predicted(rows, (predictor.projected_mean @ coefficients).astype(train.dtype) if mean else None)

    return devices.mapped(one, (targets.train, alphas))


# Held at a time: half for predictor layers with their eigenvectors, half for target layers with their Gram matrices;
# what exceeds it is scored in portions.
MOST_BYTES = 1 << 31

# Predictor layers of which the host predicts a target layer by one product: of a fifth of the items, one is short of
# rows for the full rate.
_TOGETHER = 4


class Table(NamedTuple):
    """Scores of all layer pairs under every pairing of items.

    Attributes:
      fold_score: What is measured of the held-out items, as a mean over the target units where it is defined; NaN
        where there is none.
      alpha: The penalty chosen under the first pairing; with one penalty per unit it has a trailing unit axis.
      undefined: How many target units were left out because they, or their prediction, are constant.
    """

    fold_score: Float[np.ndarray, "P X T folds"]
    alpha: Float[np.ndarray, "1 X T folds *e"]
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
      most_bytes: Memory for what is prepared. Predictor layers are taken in portions of a quarter of it, of which the
        next is prepared, also of the next fold, while one is compared; target layers in portions of half of it,
        prepared once for each portion of predictors. Beside it come the activations themselves and, per core, one
        eigendecomposition or search of a penalty; on accelerators the predictions of a portion of targets.

    Raises:
      ValueError: Fewer items than the folds need.
    """
    n_items = x.shape[1]
    pairings = np.arange(n_items)[None] if pairings is None else pairings
    folds = outer_folds(n_items, settings.outer_folds, settings.seed, settings.groups)
    shape = (len(pairings), len(x), len(y), len(folds))
    units = (y.shape[2],) if settings.alpha_per_target else ()
    tables = tuple(
        Table(np.full(shape, np.nan), np.full((1, *shape[1:], *units), np.nan), np.zeros(shape, np.int64))
        for _ in measures
    )
    own_statistics = settings.test_statistics == "test"
    y_layers = devices.loaded(y, y[0].nbytes)
    alphas = devices.multiplied_here(jnp.asarray(settings.alphas))

    @devices.in_float64
    def prepared(layer: np.ndarray, train: np.ndarray, test: np.ndarray) -> Predictor:
        return prepare_predictor(devices.loaded(layer), train, test, own_statistics)

    @devices.in_float64
    def scored(some: Sequence[Predictor], targets: Targets, grams: Any, blocks: Blocks) -> list[list[Cells]]:
        return compare(some, targets, grams, blocks, alphas, tuple(measures))

    with ThreadPoolExecutor(devices.workers()) as pool:
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
            blocks, n = inner_blocks(len(train), settings.inner_cv), len(train)
            of_target = y.itemsize * n * (n + 2 * y.shape[2])
            for some in _portions(len(pairings) * len(y), of_target, most_bytes // 2):
                p, t = np.unravel_index(some, (len(pairings), len(y)))
                rows = pairings[p]
                targets = devices.multiplied_here(
                    prepare_targets(
                        y_layers, t, rows[:, train], rows[:, test], standardize=settings.standardize_targets
                    )
                )
                grams = None if settings.alpha_per_target else target_grams(targets, pool.map)
                groups = _groups(len(left))
                comparing = [
                    pool.submit(scored, [predictors[i] for i in own], targets, grams, blocks) for own in groups
                ]
                if following is not None:  # so that no core waits for the last of these
                    begun, following = begin(*following), None
                for own, found in zip(groups, comparing, strict=True):
                    for i, of_predictor in zip(left[own], found.result(), strict=True):
                        for table, (score, alpha, undefined) in zip(tables, of_predictor, strict=True):
                            table.fold_score[p, i, t, f], table.undefined[p, i, t, f] = score, undefined
                            table.alpha[0, i, t[p == 0], f] = alpha[p == 0]
                    advance(len(own) * len(some))
                del targets, grams  # before the next are made
    return tables


def _portions(count: int, bytes_each: int, most_bytes: int) -> list[np.ndarray]:
    """0..count-1 in portions that stay within the memory allowed, and hold at least one."""
    return np.array_split(np.arange(count), min(count, -(-count * bytes_each // max(most_bytes, 1))))


def _groups(count: int) -> list[np.ndarray]:
    """0..count-1 in groups that are compared together: as many for every thread, of one where that gains nothing."""
    workers = devices.workers()
    groups = -(-count // (_TOGETHER * workers)) * workers if devices.on_cpu() else count
    return np.array_split(np.arange(count), min(count, groups))


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
