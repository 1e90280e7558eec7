"""The cross-validated ridge map between two layers: fold by fold, and its predictions of items it has not seen.

N items, n training items, m test items, d predictor units, e target units, r directions of the predictor.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from vla import devices
from vla.metrics.folds import Fold, outer_folds
from vla.metrics.ridge_losses import unit_losses
from vla.metrics.ridge_predictor import prepare_predictor
from vla.metrics.ridge_search import choose_shared, inner_blocks
from vla.metrics.ridge_settings import RidgeSettings, find_protocol
from vla.metrics.ridge_spectrum import solution_weights
from vla.metrics.ridge_targets import prepare_targets, target_grams


class FoldMap(NamedTuple):
    """A ridge map fitted on one fold's training items; targets are in units of their training mean and scale.

    Attributes:
      train: Rows it was fitted on.
      test: Rows it predicts.
      image: Row for row of the predictor's directions, what the map makes of it: the training rows' fitted targets are
        an orthonormal basis times `image`, so both have the same right singular vectors and singular values.
      predicted: Of the test rows.
      actual: Of the test rows.
      varies: Units that vary over the training rows; the others are 0 in all of the above.
      alpha: The penalty chosen; one per unit where asked for.
    """

    train: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"]
    image: Float[np.ndarray, "r e"]
    predicted: Float[np.ndarray, "m e"]
    actual: Float[np.ndarray, "m e"]
    varies: Bool[np.ndarray, " e"]
    alpha: Any


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Every item's target and its prediction by the map of the fold that did not see it.

    Attributes:
      predicted: In units of the training mean and scale of that fold.
      actual: The same units.
      fold: Which fold predicted the item.
      varies: Units that vary over the training rows of every fold.
    """

    predicted: Float[np.ndarray, "N e"]
    actual: Float[np.ndarray, "N e"]
    fold: Int[np.ndarray, " N"]
    varies: Bool[np.ndarray, " e"]


def ridge_settings(protocol: str = "paper", seed: int = 42, **overrides: Any) -> RidgeSettings:
    """The settings under which `vla.score` fits linear predictivity.

    Raises:
      ValueError: An unknown protocol or setting, or a value without meaning.
    """
    known = sorted(field.name for field in dataclasses.fields(RidgeSettings) if field.name != "seed")
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no setting of the ridge map; expected one of {', '.join(known)}.")
    return RidgeSettings(**{**find_protocol(protocol), **overrides, "seed": seed})


def fold_maps(x: Any, y: Any, settings: RidgeSettings) -> Iterator[FoldMap]:
    """The maps of all outer folds, which are those of linear predictivity with the same settings.

    Args:
      x: One layer's activations [item, unit], the predictor.
      y: One layer's activations of the same items, the target.
      settings: See `ridge_settings`.

    Raises:
      ValueError: Activations that are no such matrices, or not finite; fewer items than the folds need.
    """
    x, y = _matrix(x, "x"), _matrix(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} items, y has {len(y)}: give activations of the same items.")
    for fold in outer_folds(len(x), settings.outer_folds, settings.seed, settings.groups):
        yield fit(x, y, fold, settings)


@devices.in_float64
def fit(x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N e"], fold: Fold, settings: RidgeSettings) -> FoldMap:
    """The map of one fold, in float64; its penalty is chosen by inner cross-validation on the training rows."""
    train, test = fold
    predictor = prepare_predictor(jnp.asarray(x), train, test, settings.test_statistics == "test")
    first = np.zeros(1, np.int64)
    targets = prepare_targets(
        jnp.asarray(y)[None], first, train[None], test[None], standardize=settings.standardize_targets
    )
    blocks, alphas = inner_blocks(len(train), settings.inner_cv), jnp.asarray(settings.alphas)
    s, z = predictor.spectrum, targets.train[0]
    if settings.alpha_per_target:
        alpha = np.asarray(alphas)[np.argmin(unit_losses(s, alphas, z, blocks), axis=0)]
        weights = solution_weights(s.values, jnp.asarray(alpha)).T
    else:
        chosen = choose_shared(s, alphas, target_grams(targets), targets.train, targets.scale, blocks)
        alpha = np.asarray(alphas)[chosen]
        weights = solution_weights(s.values, jnp.asarray(alpha)).T
    coefficients = weights * (s.vectors.T @ z)
    predicted = (predictor.projected_test + predictor.projected_mean) @ coefficients
    varies = np.asarray(jnp.any(z != 0, axis=0))
    actual = np.where(varies, np.asarray(targets.test[0] * targets.spread[0] + targets.offset[0]), 0.0)
    image = np.asarray(s.values[:, None] * coefficients)
    return FoldMap(train, test, image, np.asarray(predicted), actual, varies, alpha if len(alpha) > 1 else alpha[0])


def held_out(maps: list[FoldMap]) -> HeldOut:
    """The predictions of all folds together, every item by the map that did not see it."""
    n, e = sum(len(one.test) for one in maps), maps[0].predicted.shape[1]
    predicted, actual, fold = np.zeros((n, e)), np.zeros((n, e)), np.zeros(n, np.int64)
    for number, one in enumerate(maps):
        predicted[one.test], actual[one.test], fold[one.test] = one.predicted, one.actual, number
    return HeldOut(predicted, actual, fold, np.all([one.varies for one in maps], axis=0))


def _matrix(values: Any, role: str) -> np.ndarray:
    """Activations of one layer in float64, checked."""
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{role} has the shape {list(matrix.shape)}; expected one layer's activations [item, unit].")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{role} has NaN or infinite activations: extract them again, or leave these items out.")
    return matrix
