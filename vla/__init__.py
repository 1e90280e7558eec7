"""Where, and how strongly, vision models and language models agree about the same things.

`load_model` reads a published checkpoint, `extract` gives every layer's activations for captions or images, `score`
compares all layers of one model with all layers of another, `list_metrics` lists the ways to compare.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla.activations.extract import extract
    from vla.activations.labels import rdm
    from vla.alignment.score import score
    from vla.metrics.metric import Metric
    from vla.metrics.registry import list_metrics
    from vla.models.loading import load_model

__version__ = "0.2.0"

__all__ = ["Metric", "__version__", "extract", "list_metrics", "load_model", "rdm", "score"]

_MODULES = {
    "Metric": "vla.metrics.metric",
    "extract": "vla.activations.extract",
    "list_metrics": "vla.metrics.registry",
    "load_model": "vla.models.loading",
    "rdm": "vla.activations.labels",
    "score": "vla.alignment.score",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import vla` alone takes no time."""
    if name not in _MODULES:
        raise AttributeError(f"module 'vla' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
