"""Scores of drawn items, from the held-out predictions of ridge regression.

N items, n training items, m test items, d predictor units, e target units, X predictor layers, T target layers,
B draws, r directions.

What is drawn are the items of each test fold, with replacement, after they have been predicted: the maps and penalties
stay those that were fitted to the training items. So no item is on both sides of a fit however often it is drawn; the
spread is that of measuring on other items, not that of fitting on others.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.folds import outer_folds
from vla.metrics.ridge_measures import NEEDS_MEAN, Predicted, hits, likeness, rounding
from vla.metrics.ridge_predictor import Predictor, prepare_predictor
from vla.metrics.ridge_settings import RidgeSettings
from vla.metrics.ridge_spectrum import solution_weights
from vla.metrics.ridge_targets import Targets, prepare_targets

# Target layers of one fold held at a time.
_MOST_BYTES = 1 << 30


def draw(test: Int[np.ndarray, " m"], groups: Any, count: int, rng: np.random.Generator) -> Int[np.ndarray, "B m"]:
    """How often each test item is in each draw: as many items, or groups of items, as there are, with replacement."""
    of_group = np.arange(len(test)) if groups is None else np.unique(np.asarray(groups)[test], return_inverse=True)[1]
    many = int(of_group.max()) + 1
    drawn = rng.integers(many, size=(count, many))
    times = np.zeros((count, many), np.int64)
    np.add.at(times, (np.arange(count)[:, None], drawn), 1)
    return times[:, of_group]


@devices.in_float64
def all_pairs(
    x: Float[np.ndarray, "X N d"],
    y: Float[np.ndarray, "T N e"],
    settings: RidgeSettings,
    alpha: Float[np.ndarray, "X T folds *e"],
    count: int,
    seed: int,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    measure: str,
) -> Float[np.ndarray, "B X T"]:
    """The score of every pair of layers on every draw of items, one draw serving all pairs; NaN where nothing is
    defined.

    Args:
      x: Predictor activations.
      y: Target activations of the same items.
      settings: As for `linear_predictivity.all_pairs`.
      alpha: The penalties that it chose.
      count: Draws.
      seed: Of the draws, which follow from it, the number of items and the folds alone.
      advance: Called with the number of (pair, fold) cells just finished.
      measure: Of held-out prediction: a key of `ridge_measures.MEASURES`.
    """
    rng = np.random.default_rng([seed, 1])
    folds = outer_folds(x.shape[1], settings.outer_folds, settings.seed, settings.groups)
    total, defined = (np.zeros((count, len(x), len(y))) for _ in range(2))
    layers = jnp.asarray(y)
    for f, (train, test) in enumerate(folds):
        weights = jnp.asarray(draw(test, settings.groups, count, rng), x.dtype)
        each = len(train) * 2 * y[0, 0].nbytes
        for some in np.array_split(np.arange(len(y)), min(len(y), -(-len(y) * each // _MOST_BYTES))):
            rows = [np.broadcast_to(part, (len(some), len(part))) for part in (train, test)]
            targets = prepare_targets(layers, some, *rows, standardize=settings.standardize_targets)
            for i, layer in enumerate(x):
                predictor = prepare_predictor(jnp.asarray(layer), train, test, settings.test_statistics == "test")
                found = np.asarray(
                    _scores(predictor, targets, jnp.asarray(alpha[i, some, f]), weights, measure=measure)
                )
                known = np.isfinite(found)
                total[:, i, some] += np.where(known, found, 0).T
                defined[:, i, some] += known.T
                advance(len(some))
    return np.where(defined > 0, total / np.maximum(defined, 1), np.nan)


@functools.partial(jax.jit, static_argnames="measure")
def _scores(
    predictor: Predictor, targets: Targets, alphas: Float[Array, "T *e"], weights: Float[Array, "B m"], *, measure: str
) -> Float[Array, "T B"]:
    s = predictor.spectrum
    projected = jnp.concatenate([predictor.projected_test, predictor.projected_mean[None]])
    weights = weights / weights.sum(axis=1, keepdims=True)

    def one(target_and_alphas: tuple[Targets, Array]) -> Float[Array, " B"]:
        target, own = target_and_alphas
        if own.ndim:
            # Each unit with its own penalty: the weights act between A_test A^T U and U^T Y.
            out = projected @ (solution_weights(s.values, own).T * (s.vectors.T @ target.train))
        else:
            maps = (projected * solution_weights(s.values, own[None])[0]) @ s.vectors.T
            out = maps.astype(target.train.dtype) @ target.train
        out = out.astype(target.train.dtype)
        predicted = Predicted(out[:-1], out[-1] if measure in NEEDS_MEAN else None)
        if measure in ("retrieval", "matching"):
            return _of_items(predicted, target, weights, measure)
        values = _of_units(predicted, target, weights, measure)
        known = ~jnp.isnan(values)
        mean = jnp.where(known, values, 0).sum(axis=1) / jnp.maximum(known.sum(axis=1), 1)
        return jnp.where(known.any(axis=1), mean, jnp.nan)

    return jax.lax.map(one, (targets, alphas))


def _of_units(predicted: Predicted, target: Targets, weights: Float[Array, "B m"], measure: str) -> Float[Array, "B e"]:
    """What is measured of every unit, over weighted items; NaN where a unit or its prediction is constant in a draw."""
    p, y = predicted.rows, target.test
    eps = 4 * jnp.finfo(p.dtype).eps

    def moments(a: Float[AnyArray, "m e"], b: Float[AnyArray, "m e"]) -> Float[Array, "B e"]:
        return weights @ (a * b) - (weights @ a) * (weights @ b)

    of_y = moments(y, y)
    varies = (of_y > eps * (weights @ y**2)) & ~target.constant
    if measure == "pearson":
        of_p = moments(p, p)
        varies = varies & (of_p > eps * (weights @ p**2))
        size = jnp.sqrt(jnp.where(varies, of_p * of_y, 1.0))
        return jnp.where(varies, jnp.clip(moments(p, y) / size, -1.0, 1.0), jnp.nan)
    # In units of the norm of y, as `ridge_measures` has it.
    spread = jnp.where(target.constant, 1.0, target.spread).astype(p.dtype)
    rest = y - p / spread
    lost = moments(rest, rest)
    if measure == "r2":
        assert predicted.mean is not None
        bias = (target.offset.astype(p.dtype) - predicted.mean) / spread
        lost = lost + (weights @ rest + bias) ** 2
    return jnp.where(varies, 1 - lost / jnp.where(varies, of_y, 1.0), jnp.nan)


def _of_items(predicted: Predicted, target: Targets, weights: Float[Array, "B m"], measure: str) -> Float[Array, " B"]:
    """Weighted shares; a prediction is compared with the targets of all test items, and with no second copy of its
    own."""
    assert predicted.mean is not None
    alike = likeness(
        Predicted(predicted.rows[None], predicted.mean[None]), jax.tree.map(lambda part: part[None], target)
    )[0]
    own, itself, tie = jnp.diagonal(alike), jnp.eye(len(alike), dtype=bool), rounding(alike)
    if measure == "retrieval":
        found = weights @ hits(alike).astype(weights.dtype)
    else:
        ahead = own[:, None] - alike
        won = jnp.where(itself, 0.0, (ahead > tie) + 0.5 * (jnp.abs(ahead) <= tie))
        pairs = 1.0 - jnp.sum(weights**2, axis=1)
        found = jnp.einsum("bi,ij,bj->b", weights, won.astype(weights.dtype), weights) / pairs
    return jnp.where(jnp.isfinite(alike).all(), found, jnp.nan)
