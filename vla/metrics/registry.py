"""The table of metrics."""

from typing import Any

import numpy as np

from vla.checks import check_choice
from vla.metrics.cca import CCA, PWCCA, SVCCA
from vla.metrics.cka import CKA, CKA_DEBIASED, CKA_RBF, CKA_RBF_DEBIASED
from vla.metrics.cknna import CKNNA
from vla.metrics.linear_predictivity import LINEAR_PREDICTIVITY, MATCHING_ACCURACY, RETRIEVAL
from vla.metrics.matching import PAIRWISE_MATCHING, PERMUTATION_MATCHING, SOFT_MATCHING, SOFT_MATCHING_DISTANCE
from vla.metrics.metric import Metric
from vla.metrics.neighbours import MUTUAL_KNN
from vla.metrics.rsa import RSA
from vla.metrics.shape import PROCRUSTES, SHAPE_DISTANCE, SHAPE_DISTANCE_CV

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        LINEAR_PREDICTIVITY,
        RETRIEVAL,
        MATCHING_ACCURACY,
        CKA,
        CKA_DEBIASED,
        CKA_RBF,
        CKA_RBF_DEBIASED,
        MUTUAL_KNN,
        CKNNA,
        RSA,
        CCA,
        SVCCA,
        PWCCA,
        PROCRUSTES,
        SHAPE_DISTANCE,
        SHAPE_DISTANCE_CV,
        PAIRWISE_MATCHING,
        PERMUTATION_MATCHING,
        SOFT_MATCHING,
        SOFT_MATCHING_DISTANCE,
    )
}


def list_metrics() -> dict[str, Metric]:
    """All metrics by name, with what each declares: direction, range, chance level, invariances, settings, source."""
    return dict(METRICS)


def find(name: str) -> Metric:
    """The metric of that name.

    Raises:
      ValueError: There is none; the message lists those there are.
    """
    check_choice("metric", name, METRICS)
    return METRICS[name]


def sign(name: str) -> int:
    """1 where a higher score means more alike, -1 for a distance: the largest score times this is the best one.

    All that picks, orders or compares scores goes by this. Tables may hold scores of metrics that are not registered,
    of which higher is taken as better.
    """
    return 1 if name not in METRICS or METRICS[name].higher_is_better else -1


def best(scores: Any, name: str) -> Any:
    """The best of some scores: a number of an array or a Series, a Series of a grouped one; NaN is passed over."""
    if isinstance(scores, np.ndarray):
        return np.nanmax(scores) if sign(name) > 0 else np.nanmin(scores)
    return scores.max() if sign(name) > 0 else scores.min()


def best_index(scores: Any, name: str) -> Any:
    """Where the best score is, the first of equal ones: the position in the flattened array, or the label of a Series.

    Raises:
      ValueError: There is no score.
    """
    if isinstance(scores, np.ndarray):
        return int(np.nanargmax(scores) if sign(name) > 0 else np.nanargmin(scores))
    return scores.idxmax() if sign(name) > 0 else scores.idxmin()
