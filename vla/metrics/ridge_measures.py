"""How well held-out targets are predicted: per target unit, or per item.

m test items, e target units, T target layers.

Predictions and targets are in units of the training scale of each target unit.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vla import devices
from vla.devices import AnyArray
from vla.metrics.ridge_predictor import Targets


class Predicted(NamedTuple):
    """Predictions of the test rows of every target layer.

    Attributes:
      rows: Less their mean over the test rows.
      mean: That mean; None where the measure does not ask for it.
    """

    rows: Float[AnyArray, "T m e"]
    mean: Float[AnyArray, "T e"] | None


Measure = Callable[[Predicted, Targets], Float[AnyArray, "T *e"]]


def pearson(predicted: Predicted, targets: Targets) -> Float[AnyArray, "T e"]:
    """Pearson r over test items of every unit, in [-1, 1]; NaN where either side is constant."""
    xp = predicted.rows.__array_namespace__()
    power = xp.sum(predicted.rows**2, axis=1)
    defined = (power > 0) & ~targets.constant
    r = xp.sum(predicted.rows * targets.test, axis=1) / xp.sqrt(xp.where(power > 0, power, 1.0))
    return xp.where(defined, xp.clip(r, -1.0, 1.0), xp.nan)


def explained_variance(predicted: Predicted, targets: Targets) -> Float[AnyArray, "T e"]:
    """1 - Var(y - prediction) / Var(y) of every unit, at most 1; NaN for constant targets.

    Equivalent to `sklearn.metrics.explained_variance_score`.
    """
    return _share_explained(predicted, targets, 0.0)


def r2(predicted: Predicted, targets: Targets) -> Float[AnyArray, "T e"]:
    """1 - sum (y - prediction)^2 / sum (y - mean of the test items)^2 of every unit, at most 1; NaN for constant
    targets.

    Equivalent to `sklearn.metrics.r2_score`.
    """
    assert predicted.mean is not None
    return _share_explained(predicted, targets, predicted.rows.shape[1] * (predicted.mean - targets.offset) ** 2)


def _share_explained(
    predicted: Predicted, targets: Targets, bias: Float[AnyArray, "T e"] | float
) -> Float[AnyArray, "T e"]:
    xp = predicted.rows.__array_namespace__()
    spread = xp.where(targets.constant, 1.0, targets.spread)
    # (y - prediction) in units of the norm of y, so that nothing is lost where y is much larger than its prediction.
    rest = targets.test - predicted.rows / spread[:, None].astype(predicted.rows.dtype)
    lost = xp.sum(rest**2, axis=1) + bias / spread**2
    return xp.where(targets.constant, xp.nan, 1 - lost)


def retrieval(predicted: Predicted, targets: Targets) -> Float[AnyArray, " T"]:
    """Share of test items whose own target is more like their prediction than the target of any other test item, in
    [0, 1]; by chance 1 / m. Of t targets that are equally like it, with the own among them, each is first in 1 / t of
    the orders. Likeness is Pearson r over the units that vary."""
    alike = likeness(predicted, targets)
    xp = alike.__array_namespace__()
    return _where_defined(alike, xp.mean(hits(alike), axis=1))


def hits(alike: Float[AnyArray, "*T m m"]) -> Float[AnyArray, "*T m"]:
    """In which share of the orders of tied targets an item's own target is the one most like its prediction."""
    xp = alike.__array_namespace__()
    ahead = xp.diagonal(alike, axis1=-2, axis2=-1)[..., None] - alike
    first = ~(ahead < -rounding(alike)).any(axis=-1)
    return xp.where(first, 1 / xp.maximum((abs(ahead) <= rounding(alike)).sum(axis=-1), 1), 0.0)


def matching(predicted: Predicted, targets: Targets) -> Float[AnyArray, " T"]:
    """Share of pairs of test items in which a prediction is more like its own target than like the other's, in [0, 1];
    by chance 1/2. Ties count half."""
    alike = likeness(predicted, targets)
    xp, m = alike.__array_namespace__(), alike.shape[1]
    own = xp.diagonal(alike, axis1=1, axis2=2)[:, :, None]
    ahead = own - alike
    won = (ahead > rounding(alike)) + 0.5 * (abs(ahead) <= rounding(alike))
    return _where_defined(alike, (won.sum(axis=(1, 2)) - 0.5 * m) / (m * (m - 1)))


def _where_defined(alike: Float[AnyArray, "T m m"], score: Float[AnyArray, " T"]) -> Float[AnyArray, " T"]:
    xp = alike.__array_namespace__()
    return xp.where(xp.isfinite(alike).all(axis=(1, 2)), score, xp.nan)


def rounding(alike: Float[AnyArray, "*T m m"]) -> float:
    """Likenesses that differ by no more are equal: of two targets that are the same, a product of matrices may sum in
    other orders."""
    return 32 * float(np.finfo(alike.dtype).eps)


def likeness(predicted: Predicted, targets: Targets) -> Float[AnyArray, "T m m"]:
    """Pearson r over units of the prediction of item i with the target of item j."""
    assert predicted.mean is not None
    xp = predicted.rows.__array_namespace__()
    varies = ~targets.constant[:, None]
    rows = predicted.rows + predicted.mean[:, None]
    there = targets.test * targets.spread[:, None] + targets.offset[:, None]

    def normal(values: Float[AnyArray, "T m e"]) -> Float[AnyArray, "T m e"]:
        values = xp.where(varies, values, 0.0)
        mean = values.sum(axis=2, keepdims=True) / xp.maximum(varies.sum(axis=2, keepdims=True), 1)
        values = xp.where(varies, values - mean, 0.0)
        size = xp.linalg.norm(values, axis=2, keepdims=True)
        return xp.where(size > 0, values / xp.where(size > 0, size, 1.0), xp.nan)

    return normal(rows) @ normal(there.astype(rows.dtype)).swapaxes(1, 2)


MEASURES: dict[str, Measure] = {
    measure.__name__: devices.compiled(measure) for measure in (pearson, r2, explained_variance, retrieval, matching)
}
NEEDS_MEAN = frozenset({"r2", "retrieval", "matching"})
