"""The target layers of one fold, standardised once for every predictor layer.

N items, n training items, m test items, e target units, Y layers, T target layers (or layers under several pairings).
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from vla import devices
from vla.devices import AnyArray
from vla.metrics.standardise import moments, standardise
from vla.metrics.symmetric import symmetric_product


class Targets(NamedTuple):
    """Target layers of one fold, in the precision of the products.

    Attributes:
      train: Z-scored training rows.
      scale: What `train` is to be multiplied by where the scale of units matters: 1 for z-scored targets.
      test: Test rows, centred, of unit norm.
      spread: Norm of the centred test rows in units of the training scale.
      offset: Mean of the test rows less that of the training rows, in units of the training scale.
      constant: Units without variance in training or in test rows.
    """

    train: Float[AnyArray, "T n e"]
    scale: Float[AnyArray, "T e"]
    test: Float[AnyArray, "T m e"]
    spread: Float[AnyArray, "T e"]
    offset: Float[AnyArray, "T e"]
    constant: Bool[AnyArray, "T e"]


@functools.partial(devices.compiled, static_argnames="standardize")
def prepare_targets(
    layers: Float[AnyArray, "Y N e"],
    which: Int[AnyArray, " T"],
    train: Int[AnyArray, "T n"],
    test: Int[AnyArray, "T m"],
    *,
    standardize: bool,
) -> Targets:
    """Standardise target layers.

    With `standardize` off, the choice of the penalty sees the raw scale of every unit. Predictions need not: the
    correlation of a unit does not depend on its scale.

    Args:
      layers: Activations of all items at every layer.
      which: Layers to prepare.
      train: Rows to fit on, for each of them.
      test: Rows to predict, for each of them.
      standardize: Whether penalties are chosen by z-scored targets.
    """
    xp, dtype = layers.__array_namespace__(), layers.dtype

    def one(task: tuple[Any, Int[AnyArray, " n"], Int[AnyArray, " m"]]) -> Targets:
        layer, train_rows, test_rows = task
        rows, unseen = (layers[layer][part].astype(np.float64) for part in (train_rows, test_rows))
        of_train, of_test = moments(rows), moments(unseen)
        z = standardise(rows, of_train).astype(dtype)
        scale = xp.ones_like(of_train.scale) if standardize else of_train.scale
        unit = standardise(unseen, of_test) / np.sqrt(unseen.shape[0])
        return Targets(
            train=z,
            scale=scale,
            test=unit.astype(dtype),
            spread=xp.where(of_test.constant, 0.0, of_test.scale) / of_train.scale * np.sqrt(unseen.shape[0]),
            offset=(of_test.mean - of_train.mean) / of_train.scale,
            constant=of_train.constant | of_test.constant,
        )

    return devices.mapped(one, (which, train, test))


def target_grams(targets: Targets, spread: Callable[[Callable, Sequence], Iterable] = map) -> Float[AnyArray, "T n n"]:
    """Y Y^T / e of the training rows of every target layer, times `scale`: all that the search of a penalty needs.

    Args:
      targets: As prepared.
      spread: Applies a function to several target layers: `map`, or that of a pool of threads, for NumPy's arrays.
    """
    if not isinstance(targets.train, np.ndarray):
        return jax.lax.map(lambda one: _gram(*one), (targets.train, targets.scale))
    layers, n, _ = targets.train.shape
    grams = np.empty((layers, n, n), targets.train.dtype)

    def fill(t: int) -> None:
        grams[t] = _gram(targets.train[t], targets.scale[t])

    list(spread(fill, range(layers)))
    return grams


def _gram(train: Float[AnyArray, "n e"], scale: Float[AnyArray, " e"]) -> Float[AnyArray, "n n"]:
    return symmetric_product(train * scale.astype(train.dtype)) / train.shape[1]
