"""Canonical correlations: how far the directions of two layers are the same up to any linear map.

N items, D units, R directions.

Sources: Raghu et al. (2017) for SVCCA; Morcos, Raghu & Bengio (2018) for the projection weighting; Kornblith et al.
(2019) for the means and for the trap of many units.

With U_x and U_y orthonormal bases of the centred layers, the canonical correlations are the singular values of
U_x^T U_y. A layer with as many independent directions as items less one spans everything: it correlates perfectly
with anything, which is refused. Below that, unrelated layers of R and S >= R directions still have a mean squared
correlation of S / (N - 1).
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vla import devices
from vla.checks import check_choice, check_number, check_whole_number
from vla.metrics.gram import Principal, centre, moments, principal
from vla.metrics.metric import ROTATIONS
from vla.metrics.pairs import PairMetric


@dataclasses.dataclass(frozen=True)
class CcaSettings:
    """Which directions take part, and what is averaged.

    Attributes:
      components: Keep this many principal components of each layer; None for all directions.
      regularisation: Ridge added to the variance of every direction, as a multiple of their mean variance; None for
        none. A layer's score with itself is then below 1.
      squared: Average the squares of the correlations: R^2_CCA of Kornblith et al., which between layers of as many
        directions is Yanai's coefficient of determination.
    """

    components: Any = None
    regularisation: Any = None
    squared: bool = False

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_whole_number("components", self.components, other=[None])
        check_number("regularisation", self.regularisation, above=0, other=[None])


@dataclasses.dataclass(frozen=True)
class SvccaSettings:
    """Which directions take part, and what is averaged.

    Attributes:
      variance: Keep the fewest principal components that have this share of a layer's variance.
      squared: Average the squares of the correlations.
    """

    variance: Any = 0.99
    squared: bool = False

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_number("variance", self.variance, above=0, most=1)


@dataclasses.dataclass(frozen=True)
class PwccaSettings:
    """Which directions take part, and which side weighs them.

    Attributes:
      components: Keep this many principal components of each layer; None for all directions.
      weights: The side whose units decide how much a canonical direction counts: "x" or "y".
    """

    components: Any = None
    weights: str = "x"

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_whole_number("components", self.components, other=[None])
        check_choice("weights", self.weights, ("x", "y"))


class Basis(NamedTuple):
    """The directions of one layer.

    Attributes:
      vectors: Orthonormal, or shrunk by the ridge; what is beyond `rank` is zero.
      loadings: Of the units on the vectors, where they weigh; else empty.
      rank: How many directions there are.
    """

    vectors: Float[Array, "N R"]
    loadings: Float[Array, "R D"]
    rank: Int[Array, ""]


def prepare_cca(x: Float[Array, "N D"], settings: CcaSettings) -> Basis:
    """All directions, or the components, of a layer."""
    # Correlations with all directions do not see the scale of units, and equal scales cost no digits.
    p = _components(x, settings.components, standardised=settings.regularisation is None)
    if settings.regularisation is None:
        return _basis(p)
    variance = p.values**2
    ridge = settings.regularisation * jnp.sum(variance) / p.rank
    return _basis(p)._replace(vectors=p.vectors * jnp.sqrt(variance / (variance + ridge)))


def prepare_svcca(x: Float[Array, "N D"], settings: SvccaSettings) -> Basis:
    """The principal components that have most of a layer's variance."""
    p = principal(x)
    share = jnp.cumsum(p.values**2)
    return _basis(p.first(jnp.searchsorted(share, settings.variance * share[-1] * (1 - 1e-12)) + 1))


def prepare_pwcca(x: Float[Array, "N D"], settings: PwccaSettings) -> Basis:
    """All directions, or the components, of a layer, with the loadings of its units as they are."""
    p = _components(x, settings.components, standardised=True)
    wide = x.astype(jnp.float64)
    return _basis(p)._replace(loadings=p.vectors.T @ centre(wide, moments(wide)))


def _components(x: Float[Array, "N D"], components: int | None, standardised: bool) -> Principal:
    p = principal(x, standardised=standardised and components is None)
    return p if components is None else p.first(components)


def _basis(p: Principal) -> Basis:
    return Basis(p.vectors, jnp.zeros((0, 0)), p.rank)


def settled(
    states: Basis,
    settings: CcaSettings | SvccaSettings | PwccaSettings,
    shape: tuple[int, int],
    *,
    name: str,
    cure: str,
) -> Basis:
    """The bases of some layers without the columns that none of them needs.

    Raises:
      ValueError: A layer has as many directions as items less one, and there is no ridge.
    """
    n, count = shape[0], int(devices.fetched(states.rank).max())
    if count >= n - 1 and getattr(settings, "regularisation", None) is None:
        raise ValueError(
            f"{name}: a layer of {shape[1]} units has {count} independent directions over {n} items, and such a "
            f"layer correlates perfectly with any other; expected at most {n - 2} directions. Give {cure}."
        )
    width = min(-(-count // 8) * 8, states.vectors.shape[2])  # few different shapes to compile
    return _cut(states, width)


@jax.jit(static_argnames="width")
def _cut(states: Basis, width: int) -> Basis:
    return states._replace(vectors=states.vectors[:, :, :width], loadings=states.loadings[:, :width])


def compare(a: Basis, b: Basis, settings: CcaSettings | SvccaSettings) -> Float[Array, ""]:
    """Mean canonical correlation, or mean square, over the directions of the layer that has fewer."""
    product = a.vectors.T @ b.vectors
    if settings.squared:
        total = jnp.sum(product**2)
    else:
        total = jnp.sum(jnp.linalg.svd(product, compute_uv=False))
    return jnp.minimum(total / jnp.minimum(a.rank, b.rank), 1.0)


def compare_weighted(a: Basis, b: Basis, settings: PwccaSettings) -> Float[Array, ""]:
    """Canonical correlations, weighed by how much of the units of one side each canonical direction carries."""
    if settings.weights == "y":
        a, b = b, a
    u, r, _ = jnp.linalg.svd(a.vectors.T @ b.vectors, full_matrices=False)
    weights = jnp.sum(jnp.abs(u.T @ a.loadings), axis=1)
    weights = jnp.where(jnp.arange(len(r)) < jnp.minimum(a.rank, b.rank), weights, 0.0)
    return jnp.minimum(jnp.sum(weights * r) / jnp.sum(weights), 1.0)


def permute(state: Basis, order: Int[Array, " N"]) -> Basis:
    """The basis of the reordered layer."""
    return state._replace(vectors=state.vectors[order])


CCA = PairMetric(
    name="cca",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({*ROTATIONS, "unit_scaling"}),
    formula="mean over directions of the singular values of U_x^T U_y, U orthonormal bases of the centred layers",
    source="Raghu et al. 2017; Kornblith et al. 2019",
    prepare=prepare_cca,
    settle=functools.partial(settled, name="cca", cure="components=, regularisation= or more items"),
    compare=compare,
    permute=permute,
    factorises=True,
    settings=CcaSettings,
    needs="fewer units than items less one, or components=, or regularisation=",
)

SVCCA = PairMetric(
    name="svcca",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=ROTATIONS,
    formula="cca of the principal components that have 99 % of the variance",
    source="Raghu et al. 2017; Kornblith et al. 2019",
    prepare=prepare_svcca,
    settle=functools.partial(settled, name="svcca", cure="a smaller variance= or more items"),
    compare=compare,
    permute=permute,
    factorises=True,
    settings=SvccaSettings,
    needs="fewer principal components than items less one",
)

PWCCA = PairMetric(
    name="pwcca",
    directed=True,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "translation", "unit_permutation"}),
    formula="sum_i a_i r_i / sum_i a_i, r_i canonical correlations, a_i = sum_j |<h_i, x_j>| of the canonical "
    "variable h_i with the units x_j",
    source="Morcos, Raghu & Bengio 2018",
    prepare=prepare_pwcca,
    settle=functools.partial(settled, name="pwcca", cure="components= or more items"),
    compare=compare_weighted,
    permute=permute,
    factorises=True,
    settings=PwccaSettings,
    needs="fewer units than items less one, or components=",
)
