"""Draws pictures from prompts with a Stable Diffusion checkpoint, by the diffusers library."""

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vla.stimuli.generators.blank import is_blank
from vla.stimuli.generators.client import needing
from vla.stimuli.generators.weights import identify

DTYPES = ("bfloat16", "float16", "float32")


@dataclasses.dataclass
class StableDiffusion:
    """A Stable Diffusion checkpoint (1.x or 2.x) in diffusers' layout; only safetensors are read, no code is run.

    Attributes:
      model: A directory or a Hub id.
      revision: Branch, tag or commit on the Hub.
      steps: Steps of denoising.
      guidance: Classifier-free guidance scale; 7.5 is the pipeline's own default.
      height: In pixels; None for the checkpoint's own.
      width: In pixels; None for the checkpoint's own.
      safety_checker: Whether to use the checkpoint's safety checker, which blackens pictures it takes for indecent.
      dtype: Of weights and computation.
      device: Such as "cuda"; "" takes the first GPU if there is one. Noise is drawn on the CPU on every device.
      truncate_prompts: Whether a prompt longer than the text encoder takes is cut off; else it is refused.
    """

    model: str = "CompVis/stable-diffusion-v1-4"
    revision: str | None = None
    steps: int = 50
    guidance: float = 7.5
    height: int | None = None
    width: int | None = None
    safety_checker: bool = True
    dtype: str = "float32"
    device: str = ""
    truncate_prompts: bool = False
    _pipeline: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a number type that is none, and no steps."""
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}; expected one of {', '.join(DTYPES)}")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}; expected at least 1")

    @property
    def name(self) -> str:
        """What the checkpoint is called."""
        return Path(self.model).name if os.path.isdir(self.model) else self.model

    @functools.cached_property
    def _identity(self) -> str:
        return identify(self.model, self.revision, "model_index.json")

    @property
    def settings(self) -> dict[str, Any]:
        """What determines a picture beside prompt and seed; the device does not enter, though it may show slightly."""
        fields = ("steps", "guidance", "height", "width", "safety_checker", "dtype")
        return {"painter": "stable_diffusion", "model": self._identity} | {name: getattr(self, name) for name in fields}

    @property
    def software(self) -> dict[str, str]:
        """Versions of the libraries that compute the pictures."""
        packages = ("diffusers", "torch", "transformers")
        return {package: importlib.metadata.version(package) for package in packages}

    def open(self) -> None:
        """Load the pipeline.

        Raises:
          ValueError: diffusers or torch are not installed; the checkpoint is not complete, not in safetensors, of
            another kind, or without the safety checker that is asked for.
        """
        with needing("torch", "diffusers", "accelerate"):
            import torch
            from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
        options: dict[str, Any] = {"dtype": getattr(torch, self.dtype)}
        if "@" in self._identity:
            # The commit that was identified, not whatever a branch has become since.
            options["revision"] = self._identity.rpartition("@")[2]
        if not self.safety_checker:
            options |= {"safety_checker": None, "requires_safety_checker": False}
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                self.model, use_safetensors=True, trust_remote_code=False, **options
            )
        except Exception as error:  # the library raises errors of many kinds
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{self.model} cannot be loaded as a Stable Diffusion pipeline: {why}. Expected a complete checkpoint "
                "in diffusers' layout, with weights in safetensors"
            ) from error
        if self.safety_checker and pipeline.safety_checker is None:
            raise ValueError(f"{self.model} comes without a safety checker: pass safety_checker=False")
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def too_long(self, prompts: Sequence[str]) -> list[int]:
        """Places of the prompts that the text encoder would not see to their end."""
        assert self._pipeline is not None, "open() comes first"
        if self.truncate_prompts:
            return []
        tokenizer = self._pipeline.tokenizer
        lengths = [len(ids) for ids in tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"]]
        return [place for place, length in enumerate(lengths) if length > tokenizer.model_max_length]

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image | str]:
        """A picture of each prompt, or why there is none.

        Every picture starts from noise of its own seed; pictures of one call are computed together, and may differ in
        the last bits from those computed in other company.
        """
        assert self._pipeline is not None, "open() comes first"
        import torch

        output = self._pipeline(
            prompt=list(prompts),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.height,
            width=self.width,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        )
        flags = output.nsfw_content_detected or [False] * len(seeds)
        return [_or_why(image, flag) for image, flag in zip(output.images, flags, strict=True)]


def _or_why(image: Image.Image, flagged: bool) -> Image.Image | str:
    if flagged:
        return "blackened by the safety checker"
    # Half precision that overflows ends in black, too.
    return "of one colour" if is_blank(image) else image
