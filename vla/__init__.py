"""Where, and how strongly, vision models and language models agree about the same things.

`load_model` reads a published checkpoint, `extract` gives every layer's activations for captions or images, `score`
compares all layers of one model with all layers of another, `metrics` lists the ways to compare.
"""

from vla.activations.extract import extract
from vla.alignment.score import score
from vla.metrics.metric import Metric
from vla.metrics.registry import METRICS as _METRICS
from vla.models import load_model


# Defined after the imports on purpose: as an attribute of the package, `vla.metrics` is this function; modules of the
# package of that name are imported as `from vla.metrics import ...`.
def metrics() -> dict[str, Metric]:
    """Names of all metrics and what is declared of each: direction, range, chance level, invariances, source."""
    return dict(_METRICS)


__all__ = ["Metric", "extract", "load_model", "metrics", "score"]
