"""Ridge regression from every layer of one model to every layer of another, as one program of all devices.

N items, n training items, m test items, d predictor units, e target units, r directions, X predictor layers,
T target layers, P pairings of items, a penalties.

In every outer fold each layer is factorised once, for every penalty, target layer and pairing. Then each predictor
layer chooses its penalties for all target layers by one product of Gram matrices, and predicts each target layer by one
product. With many items of few units (`ridge_search.is_primal`) no array has a size of items by items. Layers of both
sides are spread over the devices. Factorisations run in float64, the products after them in
the precision of the activations. TPUs, which have no float64, leave factorisations to the CPU of their host.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.metrics.folds import Block, Blocks, Fold, inner_blocks
from vla.metrics.gram import centre, moments, standardise, symmetric_product
from vla.metrics.ridge_measures import MEASURES, NEEDS_MEAN, Predicted, Target
from vla.metrics.ridge_search import (
    Spectrum,
    choose_shared,
    is_primal,
    solution_weights,
    unit_losses,
)
from vla.metrics.ridge_settings import RidgeSettings


@jax.jit
def spectrum(a: Float[Array, "n d"]) -> Spectrum:
    """Decompose K = a a^T for column-centred rows `a`, in float64.

    The cheaper side is decomposed: the n x n matrix, or the d x d one when d is less than half of n.
    In the first case K is reflected by a Householder matrix that maps 1/sqrt(n) to the first axis, so the
    constant direction drops out exactly, also when K has other null directions to confuse it with.
    """
    n, d = a.shape
    if 2 * d < n:
        values, right = jnp.linalg.eigh(a.T @ a)
        values = _clip(values, max(n, d))
        left = a @ right / jnp.sqrt(jnp.where(values > 0, values, 1.0))
        return Spectrum(jnp.where(values > 0, left, 0.0), values)
    unit = np.full(n, 1 / np.sqrt(n))
    unit[0] += 1.0
    unit = jnp.asarray(unit / np.linalg.norm(unit))
    # (I - 2 u u^T) K (I - 2 u u^T) as one symmetric update of rank two.
    k = symmetric_product(a)
    ku = k @ unit
    half = 2 * ku - 2 * (unit @ ku) * unit
    k = k - jnp.outer(unit, half) - jnp.outer(half, unit)
    values, inner = jnp.linalg.eigh(k[1:, 1:])
    vectors = jnp.concatenate([jnp.zeros((1, n - 1)), inner])
    return Spectrum(vectors - 2 * jnp.outer(unit, unit @ vectors), _clip(values, n))


def _clip(values: Float[Array, " r"], size: int) -> Float[Array, " r"]:
    # Rounding leaves null directions at +-eps * largest; with alpha = 1e-8 that would be a random weight each.
    floor = size * np.finfo(np.float64).eps * jnp.max(values)
    return jnp.where(values > floor, values, 0.0)


class Predictor(NamedTuple):
    """One predictor layer of one fold.

    Attributes:
      spectrum: Of the training rows.
      projected_test: A_test A^T U, each column centred: predictions made from it have a mean of zero over the test
        rows, as their correlation needs.
      projected_mean: What was taken off: the mean over the test rows of A_test A^T, times U.
    """

    spectrum: Spectrum
    projected_test: Float[Array, "m r"]
    projected_mean: Float[Array, " r"]


@jax.jit(static_argnames="use_test_statistics")
def prepare_predictor(
    layer: Float[Array, "N d"], train: Int[Array, " n"], test: Int[Array, " m"], use_test_statistics: bool
) -> Predictor:
    """Standardise and factorise one layer; every penalty and every target layer reuses the result.

    Args:
      layer: Activations of all items.
      train: Rows to fit on.
      test: Rows to predict.
      use_test_statistics: Standardise the test rows by their own mean and scale instead of the training rows'.
    """
    rows, test_rows = layer[train].astype(jnp.float64), layer[test].astype(jnp.float64)
    of_train = moments(rows)
    a = standardise(rows, of_train)
    a_test = standardise(test_rows, moments(test_rows) if use_test_statistics else of_train)
    s = spectrum(a)
    # A unit that is constant over the test rows becomes exactly zero there: a constant prediction is seen as one.
    m = moments(a_test)
    centred = centre(a_test, m)
    if s.complete:
        return Predictor(s, (centred @ a.T) @ s.vectors, (m.mean @ a.T) @ s.vectors)
    directions = a.T @ s.vectors
    return Predictor(s, centred @ directions, m.mean @ directions)


def prepare_target(
    layer: Float[Array, "N e"], train: Int[Array, " n"], test: Int[Array, " m"], standardize: bool
) -> Target:
    """Standardise one target layer.

    With `standardize` off, the choice of the penalty sees the raw scale of every unit. Predictions need not: the
    correlation of a unit does not depend on its scale.

    Args:
      layer: Activations of all items.
      train: Rows to fit on.
      test: Rows to predict.
      standardize: Whether penalties are chosen by z-scored targets.
    """
    rows, unseen = (layer[part].astype(jnp.float64) for part in (train, test))
    of_train, of_test, size = moments(rows), moments(unseen), np.sqrt(len(test))
    return Target(
        train=standardise(rows, of_train).astype(layer.dtype),
        scale=jnp.ones_like(of_train.scale) if standardize else of_train.scale,
        test=(standardise(unseen, of_test) / size).astype(layer.dtype),
        spread=jnp.where(of_test.constant, 0.0, of_test.scale) / of_train.scale * size,
        offset=(of_test.mean - of_train.mean) / of_train.scale,
        constant=jnp.logical_or(of_train.constant, of_test.constant),
    )


def target_gram(target: Target) -> Float[Array, "n n"]:
    """Y Y^T / e of the training rows of one target layer, times `scale`: all that the search of a penalty needs."""
    train = target.train * target.scale.astype(target.train.dtype)
    return symmetric_product(train) / train.shape[1]


def _prepare_predictors(
    x: Float[Array, "X N d"], train: Int[Array, " n"], test: Int[Array, " m"], *, use_test_statistics: bool
) -> Predictor:
    return jax.lax.map(lambda layer: prepare_predictor(layer, train, test, use_test_statistics), x)


def _prepare_targets(
    y: Float[Array, "T N e"], train: Int[Array, "T n"], test: Int[Array, "T m"], *, standardize: bool, grams: bool
) -> tuple[Target, Float[Array, "T n n"] | None]:
    """The targets and, for one penalty per target layer, their Gram matrices."""
    targets = jax.lax.map(lambda of: prepare_target(of[0], of[1], of[2], standardize), (y, train, test))
    return targets, jax.lax.map(target_gram, targets) if grams else None


def _compare(
    predictors: Predictor,
    targets: Target,
    grams: Float[Array, "T n n"] | None,
    alphas: Float[Array, " a"],
    *,
    blocks: Blocks,
    measures: tuple[str, ...],
    units: bool,
    per_unit: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array, tuple[Array | None, ...]]:
    """Score every predictor layer against every target layer.

    Args:
      predictors: Some layers.
      targets: Layers of the same fold.
      grams: Of the targets; None for the primal form, and for one penalty per target unit.
      alphas: Penalties to choose from, ascending.
      blocks: Inner folds.
      measures: Keys of `MEASURES`.
      units: Whether the scores of units are returned.
      per_unit: Choose one penalty per target unit instead of one per target layer.

    Returns:
      Scores and numbers of undefined units [X, T] of each measure, the index of the penalty [X, T] or [X, T, e], and
      the scores of units [X, T, e] of each measure that has them.
    """
    mean = not NEEDS_MEAN.isdisjoint(measures)

    def one(predictor: Predictor) -> tuple:
        s, projected = predictor.spectrum, predictor.projected_test
        if mean:
            projected = jnp.concatenate([projected, predictor.projected_mean[None]])

        def measured(rows: Float[Array, "m e"], target: Target) -> list[tuple[Array, Array, Array | None]]:
            predicted = Predicted(rows[:-1], rows[-1]) if mean else Predicted(rows, None)
            values = [MEASURES[measure](predicted, target) for measure in measures]
            return [(*_summed(of, target), of if units and of.ndim else None) for of in values]

        def by_directions(of: tuple[Array, Target]) -> list[tuple[Array, Array, Array | None]]:
            chosen, target = of
            weights = solution_weights(s.values, alphas[chosen].reshape(-1)).T
            return measured((projected @ (weights * (s.vectors.T @ target.train))).astype(target.train.dtype), target)

        if per_unit:
            chosen = jax.lax.map(lambda y: jnp.argmin(unit_losses(s, alphas, y, blocks), axis=0), targets.train)
        else:
            chosen = choose_shared(s, alphas, grams, targets.train, targets.scale, blocks)
        if grams is None:
            return chosen, jax.lax.map(by_directions, (chosen, targets))
        used = jnp.any(chosen[:, None] == jnp.arange(len(alphas)), axis=0)

        dtype, nothing = grams.dtype, jnp.zeros((len(projected), len(s.vectors)), grams.dtype)

        def prediction(penalty: tuple[Array, Array]) -> Float[Array, "m n"]:
            """What makes predictions of training targets: A_test A^T C_alpha, in their precision."""
            weight, needed = penalty
            return jax.lax.cond(needed, lambda: ((projected * weight) @ s.vectors.T).astype(dtype), lambda: nothing)

        maps = jax.lax.map(prediction, (solution_weights(s.values, alphas), used))
        return chosen, jax.lax.map(lambda of: measured(maps[of[0]] @ of[1].train, of[1]), (chosen, targets))

    chosen, found = jax.lax.map(one, predictors)
    scores, undefined, by_unit = zip(*found, strict=True)
    return scores, undefined, chosen, by_unit


def _summed(values: Float[Array, "*u"], target: Target) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Score and number of undefined units from what is measured of a target layer, or of its every unit."""
    values = values.astype(jnp.float64)
    if values.ndim == 0:
        return values, jnp.sum(target.constant)
    defined = ~jnp.isnan(values)
    count = jnp.sum(defined)
    total = jnp.sum(jnp.where(defined, values, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan), len(values) - count


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
    """Score every predictor layer against every target layer under every pairing, some at a time.

    Args:
      x: Predictor activations, float32 or float64.
      y: Target activations of the same items, same precision.
      settings: See `RidgeSettings`.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`.
      folds: Of the items.
      measures: Keys of `MEASURES`.
      units: Whether blocks have the scores of units.
      most_bytes: Memory on each device for what is prepared of layers: half for predictors, half for targets, which are
        prepared once for each portion of predictors. Beside it come the activations, and the residual makers and the
        predictions of one layer pair.
    """
    alphas, per_unit = np.asarray(settings.alphas), settings.alpha_per_target
    mesh = devices.layer_mesh(len(x), len(pairings) * len(y))
    factorising = devices.factorising(mesh)
    prepare_x = devices.over_layers(
        _prepare_predictors,
        factorising,
        ("x_layer", None, None),
        use_test_statistics=settings.test_statistics == "test",
    )
    for f, (train, test) in enumerate(folds):
        n, inner = len(train), inner_blocks(len(train), settings.inner_cv)
        primal = is_primal(n, x.shape[2], y.shape[2], len(pairings) * len(y), len(alphas), inner, most_bytes)
        grams = not (primal or per_unit)
        prepare_y = devices.over_layers(
            _prepare_targets,
            factorising,
            ("y_layer",) * 3,
            standardize=settings.standardize_targets,
            grams=grams,
        )
        compare = devices.over_layers(
            _compare,
            mesh,
            ("x_layer", "y_layer", "y_layer", None),
            ("x_layer", "y_layer"),
            blocks=inner,
            measures=measures,
            units=units,
            per_unit=per_unit,
        )
        of_predictor = 8 * min(n, x.shape[2]) * (n + len(test))
        of_target = y.itemsize * (grams * n * n + y[0].size)
        for left in devices.portions(len(x), of_predictor, most_bytes // 2, mesh.shape["x_layer"]):
            predictors = prepare_x(x[left.filled], train, test)
            for right in devices.portions(len(pairings) * len(y), of_target, most_bytes // 2, mesh.shape["y_layer"]):
                p, t = np.divmod(right.filled, len(y))
                targets, gram_matrices = prepare_y(y[t], pairings[p][:, train], pairings[p][:, test])
                compared = compare(predictors, targets, gram_matrices, alphas)
                scores, undefined, chosen, by_unit = devices.fetched(compared)
                inside = slice(len(left.layers)), slice(len(right.layers))
                yield Block(
                    f,
                    left.layers,
                    right.layers,
                    [values[inside] for values in scores],
                    [values[inside] for values in undefined],
                    chosen[inside],
                    [None if values is None else values[inside] for values in by_unit],
                )
