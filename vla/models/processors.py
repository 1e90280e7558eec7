"""From images to pixels, by transformers' own image processors and timm's rules.

Axes: C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from vla.models.fields import read_json
from vla.models.timm_images import dinov3_transform, timm_transform
from vla.models.tokenizer import expect_files
from vla.models.vision_encoder import VisionConfig

IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class ImageProcessor:
    """Photographs to pixels as the model was trained to see them."""

    def __init__(self, directory: Path, config: VisionConfig) -> None:
        """Load the image processor that lies in `directory`.

        Raises:
          ValueError: There is none, or transformers cannot read it.
        """
        self._config = config
        self._transform: Callable[[Image.Image], np.ndarray] | None = dinov3_transform(directory)
        if not any((directory / name).is_file() for name in IMAGE_PROCESSOR_FILES):
            self._transform = timm_transform(directory)
        if self._transform is not None:
            return
        # Takes seconds to import, which only those who load a vision model need to pay.
        from transformers import AutoImageProcessor

        for file in expect_files(directory, IMAGE_PROCESSOR_FILES, "image processor"):
            read_json(file)
        try:
            # Always by Pillow: torchvision, where it is installed, resizes to other numbers.
            self._processor: Any = AutoImageProcessor.from_pretrained(
                str(directory), trust_remote_code=False, local_files_only=True, backend="pil"
            )
        except Exception as error:  # the readers behind it raise whatever their libraries raise
            said = (str(error).strip() or type(error).__name__).partition(". ")[0].splitlines()[0]
            raise ValueError(
                f"transformers cannot read the image processor in {directory}: {said}. Download it again, or give "
                "another as processor="
            ) from error

    def __call__(self, images: Sequence[Any]) -> list[Float[np.ndarray, "C H W"]]:
        """Pixels of each image as float32, each in its own size.

        Raises:
          ValueError: Something is no RGB image, or comes out in a form that the model cannot take.
        """
        return [self._pixels(i, image) for i, image in enumerate(images)]

    def _pixels(self, i: int, image: Any) -> Float[np.ndarray, "C H W"]:
        """The pixels of one image."""
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            given = f"a PIL image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
            raise ValueError(f"image {i} is {given}; expected a PIL image of mode RGB")
        try:
            if self._transform is None:
                pixels = np.asarray(self._processor(image, return_tensors="np")["pixel_values"][0], np.float32)
            else:
                pixels = self._transform(image)
        except Exception as error:  # as above
            raise ValueError(f"the image processor cannot take image {i}, {image.size} pixels: {error}") from error
        C, P = self._config.channels, self._config.patch
        if pixels.ndim != 3 or pixels.shape[0] != C or min(pixels.shape[1:]) < P:
            raise ValueError(
                f"the image processor makes {list(pixels.shape)} of image {i}, but the model takes [{C}, H, W] with "
                f"H and W of at least {P}: the processor is not this model's; give the right one as processor="
            )
        return pixels
