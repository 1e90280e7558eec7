"""Settings of a training; the same settings give the same weights."""

import dataclasses
from typing import Any

# The training objective of each model. The first four are studied; the last computes CLIP Score of captions.
MODELS = {
    "micro-dinov2": "self-distillation",
    "micro-vit": "attributes",
    "micro-llama": "next token",
    "micro-bloom": "next token",
    "micro-clip": "image-caption pairs",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one training.

    Attributes:
      model: Key of `MODELS`.
      seed: Seed of initial weights, batches and augmentation.
      world_seed: Seed of the scenes.
      n_scenes: Number of training scenes.
      n_held_out: Number of further scenes, for held-out losses.
      steps: Number of batches.
      batch: Scenes per batch.
      learning_rate: Peak learning rate: linear warmup, then cosine decay to 0.
      warmup: Steps of warmup.
      weight_decay: Weight decay of the matrices in blocks.
      checkpoints: Steps after which a checkpoint is kept, besides the last.
    """

    model: str
    seed: int = 0
    world_seed: int = 7
    n_scenes: int = 20000
    n_held_out: int = 1000
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.05
    checkpoints: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: Unknown model, a number that is too small, or a checkpoint outside the training.
        """
        if self.model not in MODELS:
            raise ValueError(f"model={self.model!r} is not known; known are: {', '.join(sorted(MODELS))}")
        for name in ("n_scenes", "n_held_out", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; expected a whole number of at least 1")
        for name in ("seed", "world_seed", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected a whole number of 0 or more")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate}; expected a number above 0")
        if any(not 0 < step < self.steps for step in self.checkpoints):
            raise ValueError(
                f"checkpoints={self.checkpoints}; expected steps from 1 to {self.steps - 1} (steps={self.steps}); "
                "the last step is always kept"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**dataclasses.asdict(self), "checkpoints": list(self.checkpoints)}
