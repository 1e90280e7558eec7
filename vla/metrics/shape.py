"""Orthogonal Procrustes similarity and shape distances: how well a rotation brings one layer onto another.

N items, n training and m test items, D units, R directions, F folds.

Sources: Schönemann (1966) and Ding, Denain & Steinhardt (2021) for Procrustes; their distance
|X|^2 + |Y|^2 - 2 |X^T Y|_* is, for layers of unit norm, 2 - 2 times this similarity. Williams, Kunz, Kornblith &
Linderman (2021), Generalized Shape Metrics on Neural Representations: angular distance, partial whitening, and
alignment fitted to some items with the distance taken on others.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.checks import check_number
from vla.metrics.folds import outer_folds
from vla.metrics.gram import centre, moments, principal
from vla.metrics.metric import ROTATIONS
from vla.metrics.pairs import PairMetric


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


def rotatable(x: Float[Array, "N D"], settings: object = None) -> Float[Array, "N R"]:
    """The centred layer of unit Frobenius norm, rotated to at most as many units as items.

    |X^T Y|_* is the same for X Q with orthonormal Q; the triangular factor of X^T is such a layer.
    """
    x = x.astype(jnp.float64)
    x = centre(x, moments(x))
    if x.shape[1] > x.shape[0]:
        x = jnp.linalg.qr(x.T, mode="r").T
    return x / jnp.linalg.norm(x)


def nuclear_norm(a: Float[Array, "N R"], b: Float[Array, "N S"], settings: object = None) -> Float[Array, ""]:
    """|A^T B|_*: the largest inner product that a rotation of one side reaches."""
    return jnp.minimum(jnp.sum(jnp.linalg.svd(a.T @ b, compute_uv=False)), 1.0)


def rows_in_order(state: Float[Array, "N R"], order: Int[Array, " N"]) -> Float[Array, "N R"]:
    """The state of the reordered layer."""
    return state[order]


class Whitened(NamedTuple):
    """A layer of unit norm after partial whitening.

    Attributes:
      rows: In coordinates of its principal directions.
      rank: How many directions there are.
    """

    rows: Float[Array, "N R"]
    rank: Int[Array, ""]


def blended(values: Float[Array, " R"], alpha: float) -> Float[Array, " R"]:
    """Singular values after partial whitening, of unit norm; what is zero stays zero."""
    count = jnp.sum(values > 0)
    values = jnp.where(values > 0, alpha * values * jnp.sqrt(count) / jnp.linalg.norm(values) + (1 - alpha), 0.0)
    return values / jnp.linalg.norm(values)


def whitened(x: Float[Array, "N D"], settings: ShapeSettings) -> Whitened:
    """The partially whitened layer of unit Frobenius norm."""
    if settings.alpha == 1:
        return Whitened(rotatable(x), jnp.asarray(0))
    p = principal(x)
    return Whitened(p.vectors * blended(p.values, settings.alpha), p.rank)


def check_directions(states: Whitened, settings: ShapeSettings, shape: tuple[int, int]) -> Whitened:
    """Refuse layers that a linear map brings onto any other.

    Raises:
      ValueError: With alpha = 0, there are as many directions as items less one.
    """
    count = int(devices.fetched(states.rank).max())
    if settings.alpha == 0 and count >= shape[0] - 1:
        raise ValueError(
            f"shape_distance with alpha=0: a layer of {shape[1]} units has {count} independent directions over "
            f"{shape[0]} items, and a linear map brings such a layer onto any other; expected at most {shape[0] - 2} "
            "directions. Give a larger alpha=, more items, or use shape_distance_cv."
        )
    return states


def angle(a: Whitened, b: Whitened, settings: ShapeSettings) -> Float[Array, ""]:
    """Angle in radians between the layers after the best rotation."""
    return jnp.arccos(nuclear_norm(a.rows, b.rows))


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
    splits = []
    for train, test in outer_folds(x.shape[0], settings.outer_folds, settings.seed, settings.groups):
        p = principal(x[train])
        weights = blended(p.values, settings.alpha)
        unseen = x[test].astype(jnp.float64) - jnp.mean(x[train].astype(jnp.float64), axis=0)
        to_coordinates = p.loadings.T * (weights / jnp.where(p.values > 0, p.values, 1.0))
        splits.append(Split(p.vectors * weights, unseen @ to_coordinates))
    return jax.tree.map(_stacked, *splits)


def _stacked(*parts: Array) -> Array:
    """Matrices of different size as one array, filled with zeros."""
    height, width = (max(part.shape[axis] for part in parts) for axis in (0, 1))
    return jnp.stack([jnp.pad(part, ((0, height - len(part)), (0, width - part.shape[1]))) for part in parts])


def mean_angle(a: Split, b: Split, settings: CrossValidatedShapeSettings) -> Float[Array, ""]:
    """Mean over folds of the angle in radians between test items, after the rotation that is best for the training
    items."""

    def of_fold(fold: tuple[Split, Split]) -> Float[Array, ""]:
        x, y = fold
        u, s, v = jnp.linalg.svd(x.train.T @ y.train, full_matrices=False)
        # Directions of one side that have no counterpart, padding among them, are not rotated at random.
        rotation = (u * (s > s[0] * 1e-12)) @ v
        inner = jnp.sum((x.test @ rotation) * y.test)
        return jnp.arccos(jnp.clip(inner / (jnp.linalg.norm(x.test) * jnp.linalg.norm(y.test)), -1.0, 1.0))

    return jnp.mean(jax.lax.map(of_fold, (a, b)))


PROCRUSTES = PairMetric(
    name="procrustes",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=ROTATIONS,
    formula="|X^T Y|_* / (|X| |Y|), X and Y centred",
    source="Ding, Denain & Steinhardt 2021; Schönemann 1966",
    prepare=rotatable,
    compare=nuclear_norm,
    permute=rows_in_order,
    factorises=True,
)

SHAPE_DISTANCE = PairMetric(
    name="shape_distance",
    directed=False,
    lowest=0.0,
    highest=np.pi / 2,
    chance=None,
    invariances=ROTATIONS,
    formula="arccos of |X^T Y|_* / (|X| |Y|), X and Y centred and whitened as far as alpha says; a distance",
    source="Williams, Kunz, Kornblith & Linderman 2021",
    settings=ShapeSettings,
    perfect=0.0,
    higher_is_better=False,
    needs="with alpha=0, fewer units than items less one",
    prepare=whitened,
    settle=check_directions,
    compare=angle,
    permute=lambda state, order: state._replace(rows=state.rows[order]),
    factorises=True,
)

SHAPE_DISTANCE_CV = PairMetric(
    name="shape_distance_cv",
    directed=False,
    lowest=0.0,
    highest=np.pi,
    chance=np.pi / 2,
    invariances=ROTATIONS - {"item_permutation"},
    formula="mean over folds of the angle between X_test Q and Y_test, whitening and rotation Q fitted to the "
    "training items; a distance",
    source="Williams, Kunz, Kornblith & Linderman 2021",
    settings=CrossValidatedShapeSettings,
    perfect=0.0,
    higher_is_better=False,
    prepare=prepare_folds,
    compare=mean_angle,
    factorises=True,
)
