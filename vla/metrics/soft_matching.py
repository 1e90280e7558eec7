"""Soft matching: units matched in shares by exact optimal transport, whatever the widths.

N items, D and E units.

Source: Khosla & Williams (2024), Soft Matching Distance: A metric on neural representations that captures
single-neuron tuning. Every unit, centred and of unit norm, has the same weight on its side.
"""

import functools

import numpy as np
from jaxtyping import Float

from vla.metrics import states
from vla.metrics.matching import UNITS, assign, correlations, of_varying_units, permute, prepare
from vla.metrics.metric import Metric

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


SOFT_MATCHING = Metric(
    name="soft_matching",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=None,
    invariances=UNITS,
    formula="max_P sum_ij P_ij r(x_i, y_j) over P >= 0 with row sums 1 / D and column sums 1 / E",
    source="Khosla & Williams 2024",
    all_pairs=functools.partial(
        states.all_pairs, prepare=prepare, compare=correlations, permute=permute, finish=transport
    ),
)

SOFT_MATCHING_DISTANCE = Metric(
    name="soft_matching_distance",
    directed=False,
    lowest=0.0,
    highest=2.0,
    chance=None,
    invariances=UNITS,
    formula="min_P sqrt(sum_ij P_ij |x_i - y_j|^2) of units centred and of unit norm: sqrt(2 - 2 soft_matching); "
    "a distance",
    source="Khosla & Williams 2024",
    all_pairs=functools.partial(
        states.all_pairs, prepare=prepare, compare=correlations, permute=permute, finish=distance
    ),
    perfect=0.0,
    higher_is_better=False,
)
