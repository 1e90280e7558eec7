"""Scores of some predictor layers of one fold with all its target layers.

n training items, m test items, e target units, X predictor layers, T target layers, a penalties (alphas).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.ridge_bounds import Blocks
from vla.metrics.ridge_losses import unit_losses
from vla.metrics.ridge_measures import MEASURES, NEEDS_MEAN, Predicted
from vla.metrics.ridge_predictor import Predictor
from vla.metrics.ridge_search import choose_shared
from vla.metrics.ridge_spectrum import solution_weights
from vla.metrics.ridge_targets import Targets

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
