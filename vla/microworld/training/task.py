"""What the loop needs to know of a training."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax import Array

Tree = Any


@runtime_checkable
class Task(Protocol):
    """One model and what it is trained on.

    Attributes:
      held_out: Batches on which losses are reported, each with its own draws.
      constant: The losses of a trivial guess, by name.
    """

    held_out: list[Tree]
    constant: dict[str, float]

    def fresh(self) -> Tree:
        """All parameters before training: "network", and "head" for what is thrown away."""

    def fresh_memory(self, parameters: Tree) -> Tree:
        """What is carried along without a gradient, such as a teacher; {} for nothing."""

    def batch(self, rng: np.random.Generator) -> Tree:
        """Arrays of one batch."""

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """The loss of a batch; its parts by name, and what the next memory is made of."""
        ...

    def remember(self, memory: Tree, parameters: Tree, seen: Tree, progress: Array) -> Tree:
        """The memory after a step, `progress` of the whole (0 to 1)."""

    def write(self, folder: Path, parameters: Tree) -> None:
        """A checkpoint in Hugging Face layout."""

    def findings(self, before: Tree, after: Tree) -> dict[str, Any]:
        """What the trained parameters are good for, beside the untrained ones and a trivial baseline."""
        ...
