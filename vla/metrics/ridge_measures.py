"""How well held-out targets are predicted: per target unit, or per item.

m test items, e target units, T target layers.

Predictions and targets are in units of the training scale of each target unit.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vla.metrics.ridge_targets import Targets


class Predicted(NamedTuple):
    """Predictions of the test rows of every target layer.

    Attributes:
      rows: Less their mean over the test rows.
      mean: That mean; None where the measure does not ask for it.
    """

    rows: Float[Array, "T m e"]
    mean: Float[Array, "T e"] | None


Measure = Callable[[Predicted, Targets], Float[Array, "T *e"]]


def pearson(predicted: Predicted, targets: Targets) -> Float[Array, "T e"]:
    """Pearson r over test items of every unit, in [-1, 1]; NaN where either side is constant."""
    power = jnp.sum(predicted.rows**2, axis=1)
    defined = (power > 0) & ~targets.constant
    r = jnp.sum(predicted.rows * targets.test, axis=1) / jnp.sqrt(jnp.where(power > 0, power, 1.0))
    return jnp.where(defined, jnp.clip(r, -1.0, 1.0), jnp.nan)


def explained_variance(predicted: Predicted, targets: Targets) -> Float[Array, "T e"]:
    """1 - Var(y - prediction) / Var(y) of every unit, at most 1; NaN for constant targets.

    Equivalent to `sklearn.metrics.explained_variance_score`.
    """
    return _share_explained(predicted, targets, 0.0)


def r2(predicted: Predicted, targets: Targets) -> Float[Array, "T e"]:
    """1 - sum (y - prediction)^2 / sum (y - mean of the test items)^2 of every unit, at most 1; NaN for constant
    targets.

    Equivalent to `sklearn.metrics.r2_score`.
    """
    assert predicted.mean is not None
    return _share_explained(predicted, targets, predicted.rows.shape[1] * (predicted.mean - targets.offset) ** 2)


def _share_explained(predicted: Predicted, targets: Targets, bias: Float[Array, "T e"] | float) -> Float[Array, "T e"]:
    spread = jnp.where(targets.constant, 1.0, targets.spread)
    # (y - prediction) in units of the norm of y, so that nothing is lost where y is much larger than its prediction.
    rest = targets.test - predicted.rows / spread[:, None].astype(predicted.rows.dtype)
    lost = jnp.sum(rest**2, axis=1) + bias / spread**2
    return jnp.where(targets.constant, jnp.nan, 1 - lost)


def retrieval(predicted: Predicted, targets: Targets) -> Float[Array, " T"]:
    """Share of test items whose own target is more like their prediction than the target of any other test item, in
    [0, 1]; by chance 1 / m. Likeness is Pearson r over the units that vary."""
    alike = likeness(predicted, targets)
    own = jnp.diagonal(alike, axis1=1, axis2=2)
    others = jnp.where(jnp.eye(alike.shape[1], dtype=bool), -jnp.inf, alike).max(axis=2)
    return _where_defined(alike, jnp.mean(own > others, axis=1))


def matching(predicted: Predicted, targets: Targets) -> Float[Array, " T"]:
    """Share of pairs of test items in which a prediction is more like its own target than like the other's, in [0, 1];
    by chance 1/2. Ties count half."""
    alike = likeness(predicted, targets)
    m = alike.shape[1]
    own = jnp.diagonal(alike, axis1=1, axis2=2)[:, :, None]
    won = (own > alike) + 0.5 * (own == alike)
    return _where_defined(alike, (won.sum(axis=(1, 2)) - 0.5 * m) / (m * (m - 1)))


def _where_defined(alike: Float[Array, "T m m"], score: Float[Array, " T"]) -> Float[Array, " T"]:
    return jnp.where(jnp.isfinite(alike).all(axis=(1, 2)), score, jnp.nan)


def likeness(predicted: Predicted, targets: Targets) -> Float[Array, "T m m"]:
    """Pearson r over units of the prediction of item i with the target of item j."""
    assert predicted.mean is not None
    varies = ~targets.constant[:, None]
    rows = predicted.rows + predicted.mean[:, None]
    there = targets.test * targets.spread[:, None] + targets.offset[:, None]

    def normal(values: Float[Array, "T m e"]) -> Float[Array, "T m e"]:
        values = jnp.where(varies, values, 0.0)
        mean = values.sum(axis=2, keepdims=True) / jnp.maximum(varies.sum(axis=2, keepdims=True), 1)
        values = jnp.where(varies, values - mean, 0.0)
        size = jnp.linalg.norm(values, axis=2, keepdims=True)
        return jnp.where(size > 0, values / jnp.where(size > 0, size, 1.0), jnp.nan)

    return jnp.einsum("tie,tje->tij", normal(rows), normal(there.astype(rows.dtype)))


MEASURES: dict[str, Measure] = {
    measure.__name__: jax.jit(measure) for measure in (pearson, r2, explained_variance, retrieval, matching)
}
NEEDS_MEAN = frozenset({"r2", "retrieval", "matching"})
