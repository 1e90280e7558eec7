"""The table of metrics."""

from vla.metrics.cca import CCA, PWCCA, SVCCA
from vla.metrics.cka import CKA, CKA_DEBIASED
from vla.metrics.cka_rbf import CKA_RBF, CKA_RBF_DEBIASED
from vla.metrics.cknna import CKNNA
from vla.metrics.linear_predictivity import LINEAR_PREDICTIVITY, MATCHING_ACCURACY, RETRIEVAL
from vla.metrics.matching import PAIRWISE_MATCHING, PERMUTATION_MATCHING
from vla.metrics.metric import Metric
from vla.metrics.mutual_knn import MUTUAL_KNN
from vla.metrics.procrustes import PROCRUSTES
from vla.metrics.rsa import RSA
from vla.metrics.shape import SHAPE_DISTANCE, SHAPE_DISTANCE_CV
from vla.metrics.soft_matching import SOFT_MATCHING, SOFT_MATCHING_DISTANCE

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
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; expected one of {sorted(METRICS)}.")
    return METRICS[name]
