"""Linear predictivity: ridge regression from every layer of one model to every layer of another.

N items, n training items, m test items, d predictor units, e target units, r directions, X predictor layers,
T target layers, P pairings of items.

Source: the paper, section 2 and appendix A.1. With default settings each cell equals, averaged over the folds of
`KFold(5, shuffle=True)`, scikit-learn's `RidgeCV(alphas)` on z-scored features and targets, scored by the mean
Pearson r over target units.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla import devices
from vla.metrics.folds import outer_folds
from vla.metrics.metric import Metric
from vla.metrics.ridge_losses import Blocks, unit_losses
from vla.metrics.ridge_search import choose_shared, inner_blocks
from vla.metrics.ridge_settings import RidgeSettings
from vla.metrics.ridge_spectrum import Spectrum, solution_weights, spectrum
from vla.metrics.standardise import moments, standardise
from vla.metrics.symmetric import symmetric_product

# Targets of one fold held at a time, Gram matrices included; what exceeds it is scored in portions.
_TARGET_BYTES = 1 << 30


class Table(NamedTuple):
    """Scores of all layer pairs under every pairing of items.

    Attributes:
      fold_score: Mean Pearson r over the target units where it is defined, in [-1, 1]; NaN where there is none.
      alpha: The chosen penalty; with one penalty per unit it has a trailing unit axis.
      undefined: How many target units were left out because they, or their prediction, are constant.
    """

    fold_score: Float[np.ndarray, "P X T folds"]
    alpha: Float[np.ndarray, "P X T folds *e"]
    undefined: Int[np.ndarray, "P X T folds"]


class Predictor(NamedTuple):
    """One predictor layer of one fold.

    Attributes:
      spectrum: Of the training rows.
      projected_test: A_test A^T U, each column centred: predictions made from it have a mean of zero over the test
        rows, as their correlation needs.
    """

    spectrum: Spectrum
    projected_test: Float[Array, "m r"]


class Targets(NamedTuple):
    """Target layers of one fold, in the precision of the products.

    Attributes:
      train: Z-scored training rows.
      scale: What `train` is to be multiplied by where the scale of units matters: 1 for z-scored targets.
      gram: Y Y^T / e of train times scale.
      test: Test rows, centred, of unit norm.
      constant: Units without variance in training or in test rows.
    """

    train: Float[Array, "T n e"]
    scale: Float[Array, "T e"]
    gram: Float[Array, "T n n"]
    test: Float[Array, "T m e"]
    constant: Bool[Array, "T e"]


@devices.in_float64
def all_pairs(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
) -> Table:
    """Predict every layer of `y` from every layer of `x`.

    Factorisations run in float64; the products after them run in the precision of the input.

    Args:
      x: Predictor activations, float32 or float64.
      y: Target activations of the same items, same precision.
      settings: See `RidgeSettings`.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i. All pairings
        share the folds and the factorisations.
      advance: Called with the number of (pair, fold) cells just finished.

    Raises:
      ValueError: Fewer items than the folds need.
    """
    n_items = x.shape[1]
    pairings = np.arange(n_items)[None] if pairings is None else pairings
    folds = outer_folds(n_items, settings.outer_folds, settings.seed, settings.groups)
    shape = (len(pairings), len(x), len(y), len(folds))
    units = (y.shape[2],) if settings.alpha_per_target else ()
    table = Table(np.full(shape, np.nan), np.full(shape + units, np.nan), np.zeros(shape, np.int64))
    own_statistics = settings.test_statistics == "test"
    layers, y_layers = [jnp.asarray(layer) for layer in x], jnp.asarray(y)
    for f, (train, test) in enumerate(folds):
        blocks = inner_blocks(len(train), settings.inner_cv)
        predictors = [prepare_predictor(layer, train, test, own_statistics) for layer in layers]
        for some in _portions(len(pairings) * len(y), y[0].nbytes + len(train) ** 2 * 8):
            p, t = np.unravel_index(some, (len(pairings), len(y)))
            rows = pairings[p]
            targets = prepare_targets(
                y_layers, t, rows[:, train], rows[:, test], standardize=settings.standardize_targets
            )
            for i, predictor in enumerate(predictors):
                score, alpha, undefined = compare(predictor, targets, settings, blocks)
                table.fold_score[p, i, t, f] = score
                table.alpha[p, i, t, f] = alpha
                table.undefined[p, i, t, f] = undefined
                advance(len(some))
    return table


def _portions(count: int, bytes_each: int) -> list[np.ndarray]:
    """0..count-1 in portions that stay within the memory allowed for targets."""
    return np.array_split(np.arange(count), -(-count * bytes_each // _TARGET_BYTES))


@jax.jit
def _standardised(
    layer: Float[Array, "N d"], train: Int[Array, " n"], test: Int[Array, " m"], own: Bool[Array, ""]
) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
    rows, test_rows = layer[train].astype(jnp.float64), layer[test].astype(jnp.float64)
    of_train, of_test = moments(rows), moments(test_rows)
    scaled = jnp.where(own, standardise(test_rows, of_test), standardise(test_rows, of_train))
    return standardise(rows, of_train), scaled


@jax.jit
def _project(a: Float[Array, "n d"], a_test: Float[Array, "m d"], s: Spectrum) -> Float[Array, "m r"]:
    k = a_test @ a.T
    return (k - jnp.mean(k, axis=0)) @ s.vectors


def prepare_predictor(
    layer: Float[Array, "N d"], train: np.ndarray, test: np.ndarray, own_statistics: bool
) -> Predictor:
    """Standardise and factorise one layer; every penalty and every target layer reuses the result.

    Args:
      layer: Activations of all items.
      train: Rows to fit on.
      test: Rows to predict.
      own_statistics: Standardise the test rows by their own mean and scale instead of the training rows'.
    """
    a, a_test = _standardised(layer, train, test, own_statistics)
    s = spectrum(a)
    return Predictor(s, _project(a, a_test, s))


@functools.partial(jax.jit, static_argnames="standardize")
def prepare_targets(
    layers: Float[Array, "Y N e"],
    which: Int[Array, " T"],
    train: Int[Array, "T n"],
    test: Int[Array, "T m"],
    *,
    standardize: bool,
) -> Targets:
    """Standardise target layers and take their Gram matrices.

    With `standardize` off, the Gram matrices, and with them the choice of the penalty, see the raw scale of every
    unit. Predictions need not: the correlation of a unit does not depend on its scale.

    Args:
      layers: Activations of all items at every layer.
      which: Layers to prepare.
      train: Rows to fit on, for each of them.
      test: Rows to predict, for each of them.
      standardize: Whether the Gram matrices are those of z-scored targets.
    """
    dtype = layers.dtype

    def one(task: tuple[Int[Array, ""], Int[Array, " n"], Int[Array, " m"]]) -> Targets:
        layer, train_rows, test_rows = task
        rows, unseen = (layers[layer][part].astype(jnp.float64) for part in (train_rows, test_rows))
        of_train, of_test = moments(rows), moments(unseen)
        z = standardise(rows, of_train).astype(dtype)
        scale = jnp.ones_like(of_train.scale) if standardize else of_train.scale
        factor = z * scale.astype(dtype)
        unit = standardise(unseen, of_test) / np.sqrt(unseen.shape[0])
        return Targets(
            train=z,
            scale=scale,
            gram=symmetric_product(factor, factor) / factor.shape[1],
            test=unit.astype(dtype),
            constant=of_train.constant | of_test.constant,
        )

    return jax.lax.map(one, (which, train, test))


def compare(
    predictor: Predictor, targets: Targets, settings: RidgeSettings, blocks: Blocks
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "T *e"], Int[np.ndarray, " T"]]:
    """Score one predictor layer against every target layer of a fold: (score, alpha, undefined)."""
    alphas = jnp.asarray(settings.alphas)
    if settings.alpha_per_target:
        chosen = np.stack(
            [np.argmin(unit_losses(predictor.spectrum, alphas, y, blocks), axis=0) for y in targets.train]
        )
        r = _correlate_per_unit(predictor, targets, alphas[jnp.asarray(chosen)])
    else:
        chosen = choose_shared(predictor.spectrum, alphas, targets.gram, targets.train, targets.scale, blocks)
        used, which = np.unique(chosen, return_inverse=True)
        # Padded to a power of two, so that few shapes are compiled.
        padded = np.resize(used, 1 << (len(used) - 1).bit_length())
        r = _correlate(predictor, targets, alphas[padded], jnp.asarray(which))
    r = np.asarray(r, np.float64)
    defined = ~np.isnan(r)
    count = defined.sum(axis=1)
    total = np.where(defined, r, 0).sum(axis=1)
    score = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return score, np.asarray(alphas)[chosen], (r.shape[1] - count).astype(np.int64)


@jax.jit
def _correlate(
    predictor: Predictor, targets: Targets, alphas: Float[Array, " a"], which: Int[Array, " T"]
) -> Float[Array, "T e"]:
    """Pearson r of every target unit, one penalty per target layer: prediction is (A_test A^T C_alpha) Y."""
    s = predictor.spectrum
    weights = solution_weights(s.values, alphas)
    maps = jnp.einsum("mr,ar,nr->amn", predictor.projected_test, weights, s.vectors).astype(targets.train.dtype)
    return _correlation(maps[which] @ targets.train, targets)


@jax.jit
def _correlate_per_unit(predictor: Predictor, targets: Targets, alphas: Float[Array, "T e"]) -> Float[Array, "T e"]:
    """Pearson r of every target unit, each with its own penalty: the weights act between A_test A^T U and U^T Y."""
    s = predictor.spectrum

    def one(target_and_alphas: tuple[Float[Array, "n e"], Float[Array, " e"]]) -> Float[Array, "m e"]:
        train, own = target_and_alphas
        coefficients = solution_weights(s.values, own).T * (s.vectors.T @ train)
        return (predictor.projected_test @ coefficients).astype(train.dtype)

    return _correlation(jax.lax.map(one, (targets.train, alphas)), targets)


def _correlation(predicted: Float[Array, "T m e"], targets: Targets) -> Float[Array, "T e"]:
    """Pearson r of predictions whose mean over the test rows is zero; NaN where either side is constant."""
    power = jnp.sum(predicted * predicted, axis=1)
    defined = (power > 0) & ~targets.constant
    r = jnp.sum(predicted * targets.test, axis=1) / jnp.sqrt(jnp.where(power > 0, power, 1.0))
    return jnp.where(defined, jnp.clip(r, -1.0, 1.0), jnp.nan)


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
    settings=RidgeSettings,
)
