"""Where, and how strongly, vision models and language models agree about the same things.

`load_model` reads a published checkpoint, `extract` gives every layer's activations for captions or images, `score`
compares all layers of one model with all layers of another, `list_metrics` lists the ways to compare.
"""

__version__ = "0.2.0"

from vla.activations.extract import extract
from vla.alignment.score import score
from vla.metrics.metric import Metric
from vla.metrics.registry import list_metrics
from vla.models import load_model

__all__ = ["Metric", "__version__", "extract", "list_metrics", "load_model", "score"]
