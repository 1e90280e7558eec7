"""Time, memory and disk that a study takes, from sizes of models and rates of machines.

n items, X predictor sides or layers, T target sides or layers, d and e units, a penalties, F folds, P pairings.
"""

import dataclasses
from collections.abc import Sequence

from vla.experiments.experiment import Layers
from vla.experiments.hardware import Hardware
from vla.experiments.sizes import Size
from vla.metrics.ridge_settings import PAPER_ALPHAS

_FOLDS = 5
# Flops of a symmetric eigendecomposition with vectors, by n cubed.
_EIGEN = 9
# Of images, as `vla.activations.extract_to_store` groups them: between blocks of a streamed model they are in memory.
STREAMED_ITEMS = 1024


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be computed and kept.

    Attributes:
      forward: Flops of forward passes.
      products: Flops of scoring in float32, eigendecompositions apart.
      eigen: Flops of eigendecompositions, in float64.
      disk: Bytes of activations.
      memory: Bytes held at once, at most.
      weights: Bytes of checkpoints to be read.
      each: Bytes of a model's weights that every device holds at once, at most.
    """

    forward: float = 0.0
    products: float = 0.0
    eigen: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    weights: float = 0.0
    each: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(
            self.forward + other.forward,
            self.products + other.products,
            self.eigen + other.eigen,
            self.disk + other.disk,
            max(self.memory, other.memory),
            self.weights + other.weights,
            max(self.each, other.each),
        )

    def seconds(self, machine: Hardware, dtype: str) -> tuple[float, float]:
        """Of extraction and of scoring on a machine."""
        forward = getattr(machine, dtype) * machine.share_extraction * 1e12
        products = machine.float32 * machine.share_scoring * 1e12
        eigen = machine.float64 * machine.share_eigen * 1e12
        return self.forward / forward, self.products / products + self.eigen / eigen


def extraction(model: Size, items: int, layers: Layers, dtype: str, stream: bool = False, shared: int = 1) -> Work:
    """One view through one model; the weights are counted once per model, not here.

    Args:
      model: Its size.
      items: How many are shown.
      layers: "all", "penultimate", or names.
      dtype: Of the weights.
      stream: Whether one block is in memory at a time, and with it what the block before made of the items.
      shared: Devices that share a copy of the weights.
    """
    # Of a streamed model's token embeddings only those that occur are read.
    weights = model.parameters / model.depth if stream else model.parameters + model.embedding
    held = weights * (2 if dtype == "bfloat16" else 4)
    between = 4.0 * min(items, STREAMED_ITEMS) * model.tokens * model.width if stream else 0.0
    kept = 4.0 * items * model.width * layer_count(model, layers)
    return Work(forward=items * model.flops, disk=kept, memory=held + between + kept, each=held / shared)


def layer_count(model: Size, layers: Layers) -> int:
    """How many layers are kept of a model."""
    return model.depth + 2 if layers == "all" else 1 if isinstance(layers, str) else len(layers)


def scoring(metric: str, sides: Sequence[tuple[int, int]], items: int, pairings: int) -> Work:
    """One table.

    Args:
      metric: Its name.
      sides: (number of layers, units) of the predictor and of the target.
      items: n.
      pairings: 1 and the shuffled ones.
    """
    (X, d), (T, e) = sides
    T = T * pairings
    n = items * (_FOLDS - 1) / _FOLDS
    held = 4.0 * items * (X * d + T / pairings * e)
    if metric in ("linear_predictivity", "retrieval", "matching_accuracy"):
        # The cheaper side is decomposed, as in `vla.metrics.ridge_spectrum`; with few units no n x n matrix is formed.
        few, a = 2 * d < n, len(PAPER_ALPHAS)
        gram = 2 * n * d * min(n, d) * X + 2 * n**2 * e * T
        search = 2 * X * T * n**2 * d if few else X * a * (2 * n**3) + 2 * X * T * a * n**2
        predict = 2 * X * T * (items / _FOLDS) * n * e
        eigen = float(X * _EIGEN * (d if few else n) ** 3)
        return Work(products=_FOLDS * (gram + search + predict), eigen=_FOLDS * eigen,
                    memory=held + 8 * n**2 * (X + T + a))  # fmt: skip
    gram = 2 * items**2 * (X * d + T / pairings * e)
    return Work(products=gram + 2.0 * X * T * items**2, memory=held + 8.0 * items**2 * (X + T / pairings))
