"""Correlations of single units: each target unit with its best counterpart, or all units one to one.

N items, D and E units.

Sources: Li, Yosinski, Clune, Lipson & Hopcroft (2015), Convergent Learning, for both matchings; Williams et al.
(2021) for one-to-one matching as a distance between shapes.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from vla.metrics.gram import moments, standardise
from vla.metrics.metric import Invariance
from vla.metrics.pairs import PairMetric

UNITS: frozenset[Invariance] = frozenset(
    {"item_permutation", "isotropic_scaling", "translation", "unit_permutation", "unit_scaling"}
)
"""What every metric of correlations between units ignores."""


@dataclasses.dataclass(frozen=True)
class MatchingSettings:
    """What makes a good counterpart.

    Attributes:
      absolute: Whether a unit of opposite sign is as good: |r| in place of r.
    """

    absolute: bool = False


class Units(NamedTuple):
    """Z-scored units of one layer.

    Attributes:
      values: Columns of unit norm.
      constant: Units without variance, which have no correlation and are left out.
    """

    values: Float[Array, "N D"]
    constant: Bool[Array, " D"]


def prepare(x: Float[Array, "N D"], settings: object = None) -> Units:
    """Z-score the units, in float64."""
    x = x.astype(jnp.float64)
    m = moments(x)
    return Units(standardise(x, m) / np.sqrt(x.shape[0]), m.constant)


def correlations(a: Units, b: Units, settings: object = None) -> Float[Array, "D E"]:
    """Pearson r of every unit with every other; NaN for constant units."""
    r = jnp.clip(a.values.T @ b.values, -1.0, 1.0)
    r = jnp.abs(r) if getattr(settings, "absolute", False) else r
    return jnp.where(a.constant[:, None] | b.constant, jnp.nan, r)


def best_counterparts(a: Units, b: Units, settings: MatchingSettings) -> Float[Array, ""]:
    """Mean over the units of `b` of the best correlation with a unit of `a`."""
    return jnp.nanmean(jnp.nanmax(correlations(a, b, settings), axis=0))


def of_varying_units(r: Float[np.ndarray, "D E"]) -> Float[np.ndarray, "d e"]:
    """Without the rows and columns of constant units."""
    undefined = np.isnan(r)
    return r[~undefined.all(axis=1)][:, ~undefined.all(axis=0)] if undefined.any() else r


def assign(r: Float[np.ndarray, "D E"], settings: object = None) -> float:
    """Mean correlation under the one-to-one matching for which it is highest.

    Of layers of different widths, as many units are matched as the narrower one has.
    """
    r = of_varying_units(r)
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


def permute(state: Units, order: Int[Array, " N"]) -> Units:
    """The state of the reordered layer."""
    return state._replace(values=state.values[order])


PAIRWISE_MATCHING = PairMetric(
    name="pairwise_matching",
    directed=True,
    lowest=-1.0,
    highest=1.0,
    chance=None,
    invariances=UNITS,
    formula="mean over units j of Y of max_i r(x_i, y_j)",
    source="Li, Yosinski, Clune, Lipson & Hopcroft 2015",
    prepare=prepare,
    compare=best_counterparts,
    permute=permute,
    settings=MatchingSettings,
)

PERMUTATION_MATCHING = PairMetric(
    name="permutation_matching",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=None,
    invariances=UNITS,
    formula="max over one-to-one matchings M of mean over (i, j) in M of r(x_i, y_j)",
    source="Li, Yosinski, Clune, Lipson & Hopcroft 2015; Williams et al. 2021",
    prepare=prepare,
    compare=correlations,
    permute=permute,
    finish=assign,
    settings=MatchingSettings,
)


# More than any problem that fits in memory needs: the solver stops at the optimum.
_MOST_ITERATIONS = 10**12


def transport(r: Float[np.ndarray, "D E"], settings: object = None) -> float:
    """max_P sum_ij P_ij r_ij over plans P >= 0 with row sums 1 / D and column sums 1 / E, by network simplex.

    Of equal widths the best plan is a permutation, which is found faster as an assignment.
    """
    r = of_varying_units(r)
    if r.shape[0] == r.shape[1]:
        return assign(r)
    import ot  # here, since it imports every array library that it finds

    rows, columns = (np.full(width, 1 / width) for width in r.shape)
    cost, log = ot.emd2(rows, columns, 1 - r, numItermax=_MOST_ITERATIONS, log=True)
    assert log["warning"] is None, log["warning"]
    return 1 - float(cost)


def distance(r: Float[np.ndarray, "D E"], settings: object = None) -> float:
    """min_P sqrt(sum_ij P_ij |x_i - y_j|^2) = sqrt(2 - 2 transport) for units of unit norm."""
    return float(np.sqrt(max(0.0, 2 - 2 * transport(r))))


SOFT_MATCHING = PairMetric(
    name="soft_matching",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=None,
    invariances=UNITS,
    formula="max_P sum_ij P_ij r(x_i, y_j) over P >= 0 with row sums 1 / D and column sums 1 / E",
    source="Khosla & Williams 2024",
    prepare=prepare,
    compare=correlations,
    permute=permute,
    finish=transport,
)

SOFT_MATCHING_DISTANCE = PairMetric(
    name="soft_matching_distance",
    directed=False,
    lowest=0.0,
    highest=2.0,
    chance=None,
    invariances=UNITS,
    formula="min_P sqrt(sum_ij P_ij |x_i - y_j|^2) of units centred and of unit norm: sqrt(2 - 2 soft_matching); "
    "a distance",
    source="Khosla & Williams 2024",
    prepare=prepare,
    compare=correlations,
    permute=permute,
    finish=distance,
    perfect=0.0,
    higher_is_better=False,
)
