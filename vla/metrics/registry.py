"""The table of metrics."""

from vla.metrics.cka import CKA, CKA_DEBIASED
from vla.metrics.linear_predictivity import LINEAR_PREDICTIVITY
from vla.metrics.metric import Metric

METRICS: dict[str, Metric] = {metric.name: metric for metric in (LINEAR_PREDICTIVITY, CKA, CKA_DEBIASED)}


def find(name: str) -> Metric:
    """The metric of that name.

    Raises:
      ValueError: There is none; the message lists those there are.
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; expected one of {sorted(METRICS)}.")
    return METRICS[name]
