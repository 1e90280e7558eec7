"""Shape distances: the angle that is left between two layers after the best rotation.

N items, n training and m test items, D units, R directions, F folds.

Source: Williams, Kunz, Kornblith & Linderman (2021), Generalized Shape Metrics on Neural Representations: angular
distance, partial whitening, and alignment fitted to some items with the distance taken on others.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla.checks import check_number
from vla.metrics import procrustes, states
from vla.metrics.folds import outer_folds
from vla.metrics.gram import decomposed, principal
from vla.metrics.metric import ROTATIONS, Metric


@dataclasses.dataclass(frozen=True)
class ShapeSettings:
    """What the distance ignores.

    Attributes:
      alpha: From 1, only rotations are ignored (Procrustes), to 0, every linear map is (canonical correlations).
        Singular values s, first scaled to a mean square of 1, become alpha s + (1 - alpha).
    """

    alpha: Any = 1.0

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_number("alpha", self.alpha, least=0, most=1)
        object.__setattr__(self, "alpha", float(self.alpha))


@dataclasses.dataclass(frozen=True)
class CrossValidatedShapeSettings(ShapeSettings):
    """What the distance ignores, and on which items the alignment is fitted.

    Attributes:
      outer_folds: Number of shuffled folds.
      groups: One label per item; items that share a label stay on one side of every split.
      seed: Seed of the folds.
    """

    outer_folds: int = 5
    groups: Any = None
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        super().__post_init__()
        if self.groups is not None and not isinstance(self.groups, str):
            object.__setattr__(self, "groups", tuple(np.asarray(self.groups).tolist()))


def blended(values: Float[Array, " R"], alpha: float | Float[Array, ""]) -> Float[Array, " R"]:
    """Singular values after partial whitening, of unit norm; what is zero stays zero."""
    count = jnp.sum(values > 0)
    values = jnp.where(values > 0, alpha * values * jnp.sqrt(count) / jnp.linalg.norm(values) + (1 - alpha), 0.0)
    return values / jnp.linalg.norm(values)


def prepare(x: Float[Array, "N D"], settings: ShapeSettings) -> Float[Array, "N R"]:
    """The partially whitened layer of unit Frobenius norm.

    Raises:
      ValueError: Nothing but linear maps counts, and there are as many directions as items less one.
    """
    if settings.alpha == 1:
        return procrustes.prepare(x)
    p = principal(x)
    n, count = p.vectors.shape
    if settings.alpha == 0 and count >= n - 1:
        raise ValueError(
            f"shape_distance with alpha=0: a layer of {x.shape[1]} units has {count} independent directions over {n} "
            f"items, and a linear map brings such a layer onto any other; expected at most {n - 2} directions. Give "
            "a larger alpha=, more items, or use shape_distance_cv."
        )
    return p.vectors * blended(p.values, settings.alpha)


def compare(a: Float[Array, "N R"], b: Float[Array, "N S"], settings: ShapeSettings) -> Float[Array, ""]:
    """Angle in radians between the layers after the best rotation."""
    return jnp.arccos(procrustes.compare(a, b))


class Split(NamedTuple):
    """One layer in one fold, whitened by its training items; of all folds, filled with zeros to one size.

    Attributes:
      train: Training items in coordinates of their principal directions.
      test: Test items in the same coordinates. What training items do not span cannot be aligned: it is left out.
    """

    train: Float[Array, "*F n R"]
    test: Float[Array, "*F m R"]


def prepare_folds(x: Float[Array, "N D"], settings: CrossValidatedShapeSettings) -> Split:
    """Whiten by the training items of each fold.

    Raises:
      ValueError: Fewer items than the folds need.
    """
    folds = outer_folds(x.shape[0], settings.outer_folds, settings.seed, settings.groups)
    splits = [_whitened(x, train, test, settings.alpha) for train, test in folds]
    return jax.tree.map(lambda *parts: jnp.stack(parts), *states.padded(splits))


@jax.jit
def _whitened(
    x: Float[Array, "N D"], train: Int[Array, " n"], test: Int[Array, " m"], alpha: float | Float[Array, ""]
) -> Split:
    p, kept = decomposed(x[train])
    values = jnp.where(kept, p.values, 0.0)
    weights = blended(values, alpha)
    unseen = x[test].astype(jnp.float64) - jnp.mean(x[train].astype(jnp.float64), axis=0)
    return Split(p.vectors * weights, unseen @ p.loadings.T * (weights / jnp.where(kept, values, 1.0)))


def compare_folds(a: Split, b: Split, settings: CrossValidatedShapeSettings) -> Float[Array, ""]:
    """Mean over folds of the angle in radians between test items, after the rotation that is best for the training
    items."""

    def angle(fold: tuple[Split, Split]) -> Float[Array, ""]:
        x, y = fold
        u, s, v = jnp.linalg.svd(x.train.T @ y.train, full_matrices=False)
        # Directions of one side that have no counterpart, padding among them, are not rotated at random.
        rotation = (u * (s > s[0] * 1e-12)) @ v
        inner = jnp.sum((x.test @ rotation) * y.test)
        return jnp.arccos(jnp.clip(inner / (jnp.linalg.norm(x.test) * jnp.linalg.norm(y.test)), -1.0, 1.0))

    return jnp.mean(jax.lax.map(angle, (a, b)))


def permute(state: Float[Array, "N R"], order: Int[Array, " N"]) -> Float[Array, "N R"]:
    """The state of the reordered layer."""
    return state[order]


SHAPE_DISTANCE = Metric(
    name="shape_distance",
    directed=False,
    lowest=0.0,
    highest=np.pi / 2,
    chance=None,
    invariances=ROTATIONS,
    formula="arccos of |X^T Y|_* / (|X| |Y|), X and Y centred and whitened as far as alpha says; a distance",
    source="Williams, Kunz, Kornblith & Linderman 2021",
    all_pairs=functools.partial(states.all_pairs, prepare=prepare, compare=compare, permute=permute),
    settings=ShapeSettings,
    perfect=0.0,
    higher_is_better=False,
    needs="with alpha=0, fewer units than items less one",
)

SHAPE_DISTANCE_CV = Metric(
    name="shape_distance_cv",
    directed=False,
    lowest=0.0,
    highest=np.pi,
    chance=np.pi / 2,
    invariances=ROTATIONS - {"item_permutation"},
    formula="mean over folds of the angle between X_test Q and Y_test, whitening and rotation Q fitted to the "
    "training items; a distance",
    source="Williams, Kunz, Kornblith & Linderman 2021",
    all_pairs=functools.partial(states.all_pairs, prepare=prepare_folds, compare=compare_folds),
    settings=CrossValidatedShapeSettings,
    perfect=0.0,
    higher_is_better=False,
)
