"""What determines a training: the same settings give the same weights."""

import dataclasses
from typing import Any

# What each is trained by; the first four are studied, the last judges captions for CLIP Score.
MODELS = {
    "micro-dinov2": "self-distillation",
    "micro-vit": "attributes",
    "micro-llama": "next token",
    "micro-bloom": "next token",
    "micro-clip": "image-caption pairs",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training.

    Attributes:
      model: Key of `MODELS`.
      seed: Of initial weights, batches and augmentation.
      world_seed: Of the scenes.
      n_scenes: Scenes to learn from.
      n_held_out: Further scenes, on which losses are reported.
      steps: Batches.
      batch: Scenes in a batch.
      learning_rate: The highest; it rises linearly and falls with a cosine.
      warmup: Steps of the rise.
      weight_decay: Of the matrices of blocks.
      checkpoints: After how many steps the model is kept besides.
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
        """Refuse what cannot be trained.

        Raises:
          ValueError: An unknown model, numbers that are too small, checkpoints beyond the end.
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
                f"checkpoints={self.checkpoints}; expected numbers of steps between 1 and {self.steps - 1}, as "
                f"steps={self.steps}; the last step is always kept"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**dataclasses.asdict(self), "checkpoints": list(self.checkpoints)}
