"""How well held-out targets are predicted: per target unit, or per item.

m test items, e target units.

Predictions and targets are in units of the training scale of each target unit.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Target(NamedTuple):
    """One target layer in one fold, in the precision of the products.

    Attributes:
      train: Z-scored training rows.
      scale: What `train` is to be multiplied by where the scale of units matters: 1 for z-scored targets.
      test: Test rows, centred, of unit norm.
      spread: Norm of the centred test rows in units of the training scale.
      offset: Mean of the test rows less that of the training rows, in units of the training scale.
      constant: Units without variance in training or in test rows.
    """

    train: Float[Array, "n e"]
    scale: Float[Array, " e"]
    test: Float[Array, "m e"]
    spread: Float[Array, " e"]
    offset: Float[Array, " e"]
    constant: Bool[Array, " e"]


class Predicted(NamedTuple):
    """Predictions of the test rows of one target layer.

    Attributes:
      rows: Less their mean over the test rows.
      mean: That mean; None where the measure does not ask for it.
    """

    rows: Float[Array, "m e"]
    mean: Float[Array, " e"] | None


Measure = Callable[[Predicted, Target], Float[Array, "*e"]]


def pearson(predicted: Predicted, target: Target) -> Float[Array, " e"]:
    """Pearson r over test items of every unit, in [-1, 1]; NaN where either side is constant."""
    power = jnp.sum(predicted.rows**2, axis=0)
    defined = (power > 0) & ~target.constant
    r = jnp.sum(predicted.rows * target.test, axis=0) / jnp.sqrt(jnp.where(power > 0, power, 1.0))
    return jnp.where(defined, jnp.clip(r, -1.0, 1.0), jnp.nan)


def explained_variance(predicted: Predicted, target: Target) -> Float[Array, " e"]:
    """1 - Var(y - prediction) / Var(y) of every unit, at most 1; NaN for constant targets.

    Equivalent to `sklearn.metrics.explained_variance_score`.
    """
    return _share_explained(predicted, target, 0.0)


def r2(predicted: Predicted, target: Target) -> Float[Array, " e"]:
    """1 - sum (y - prediction)^2 / sum (y - mean of the test items)^2 of every unit, at most 1; NaN for constant
    targets.

    Equivalent to `sklearn.metrics.r2_score`.
    """
    assert predicted.mean is not None
    return _share_explained(predicted, target, len(predicted.rows) * (predicted.mean - target.offset) ** 2)


def _share_explained(predicted: Predicted, target: Target, bias: Float[Array, " e"] | float) -> Float[Array, " e"]:
    spread = jnp.where(target.constant, 1.0, target.spread)
    # (y - prediction) in units of the norm of y, so that nothing is lost where y is much larger than its prediction.
    rest = target.test - predicted.rows / spread.astype(predicted.rows.dtype)
    lost = jnp.sum(rest**2, axis=0) + bias / spread**2
    return jnp.where(target.constant, jnp.nan, 1 - lost)


def retrieval(predicted: Predicted, target: Target) -> Float[Array, ""]:
    """Share of test items whose own target is more like their prediction than the target of any other test item, in
    [0, 1]; by chance 1 / m. Of t targets that are equally like it, with the own among them, each is first in 1 / t of
    the orders. Likeness is Pearson r over the units that vary."""
    return _mean_over_items(hits, predicted, target)


def hits(likeness: Float[Array, "m i"], paired: Float[Array, " i"]) -> Float[Array, " i"]:
    """In which share of the orders of tied targets an item's own target is the one most like its prediction.

    Args:
      likeness: Of the predictions of some items (columns) with all targets.
      paired: Of the predictions with their own target.
    """
    ahead = paired - likeness
    first = ~jnp.any(ahead < -rounding(likeness), axis=0)
    ties = jnp.sum(jnp.abs(ahead) <= rounding(likeness), axis=0)
    return jnp.where(first, 1 / jnp.maximum(ties, 1), 0.0)


def matching(predicted: Predicted, target: Target) -> Float[Array, ""]:
    """Share of pairs of test items in which a prediction is more like its own target than like the other's, in [0, 1];
    by chance 1/2. Ties count half."""
    return _mean_over_items(_won, predicted, target)


def _won(likeness: Float[Array, "m i"], paired: Float[Array, " i"]) -> Float[Array, " i"]:
    ahead, tie = paired - likeness, rounding(likeness)
    # Twice what is won; an item ties with itself.
    won = jnp.sum((ahead > tie).astype(jnp.int32) + (ahead >= -tie), axis=0) - 1
    return won / (2 * (len(likeness) - 1))


# Predictions that are compared with all targets at a time.
_ITEMS = 512


def _mean_over_items(
    measure: Callable[[Float[Array, "m i"], Float[Array, " i"]], Float[Array, " i"]],
    predicted: Predicted,
    target: Target,
) -> Float[Array, ""]:
    """The mean of a measure of the test items, from Pearson r over units of their predictions with all targets; NaN
    where a prediction or a target has no r."""
    rows, targets = _unit_rows(predicted, target)
    m, size = len(rows), min(_ITEMS, len(rows))
    starts = np.arange(0, m, size)

    def of_items(start: Int[Array, ""]) -> Float[Array, ""]:
        items = start + jnp.arange(size)  # beyond the last item they repeat it, and do not count
        places = jnp.minimum(items, m - 1)
        likeness = targets @ rows[places].T
        scores = measure(likeness, likeness[places, jnp.arange(size)])
        return jnp.sum(jnp.where(items < m, scores, 0.0), dtype=jnp.float64)

    defined = jnp.all(jnp.isfinite(rows)) & jnp.all(jnp.isfinite(targets))
    return jnp.where(defined, jnp.sum(jax.lax.map(of_items, starts)) / m, jnp.nan)


def rounding(likeness: Float[Array, "m i"] | np.ndarray) -> float:
    """Likenesses that differ by no more are equal: of two targets that are the same, a product of matrices may sum in
    other orders."""
    return 32 * float(np.finfo(likeness.dtype).eps)


def _unit_rows(predicted: Predicted, target: Target) -> tuple[Float[Array, "m e"], Float[Array, "m e"]]:
    """Predictions and targets, centred over the units that vary and of unit norm: their products are Pearson r."""
    assert predicted.mean is not None
    varies = ~target.constant

    def normal(values: Float[Array, "m e"]) -> Float[Array, "m e"]:
        values = jnp.where(varies, values, 0.0)
        mean = jnp.sum(values, axis=1, keepdims=True) / jnp.maximum(jnp.sum(varies), 1)
        values = jnp.where(varies, values - mean, 0.0)
        size = jnp.linalg.norm(values, axis=1, keepdims=True)
        return jnp.where(size > 0, values / jnp.where(size > 0, size, 1.0), jnp.nan)

    rows = predicted.rows + predicted.mean
    return normal(rows), normal((target.test * target.spread + target.offset).astype(rows.dtype))


MEASURES: dict[str, Measure] = {
    measure.__name__: measure for measure in (pearson, r2, explained_variance, retrieval, matching)
}
NEEDS_MEAN = frozenset({"r2", "retrieval", "matching"})
OF_UNITS = frozenset({"pearson", "r2", "explained_variance"})
