"""From images to pixels, by transformers' image processors and by the rules of timm and DINOv3.

Axes: C channels, H rows, W columns.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from vla.models.fields import Fields, is_timm, read_json, timm_input_size
from vla.models.network_config import VisionConfig
from vla.models.tokenizer import expect_files

IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")

_FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DINOV3_NAMES = ("DINOv3ViTImageProcessor", "DINOv3ViTImageProcessorFast")


class ImageProcessor:
    """Images to pixels as the model was trained to see them."""

    bos = None

    def __init__(self, directory: Path, config: VisionConfig) -> None:
        """Load the image processor in `directory`; a ValueError if there is none, or transformers cannot read it."""
        self._config = config
        self._transform: Callable[[Image.Image], np.ndarray] | None = dinov3_transform(directory)
        if not any((directory / name).is_file() for name in IMAGE_PROCESSOR_FILES):
            self._transform = timm_transform(directory)
        if self._transform is not None:
            return
        # Imported here because it takes seconds.
        from transformers import AutoImageProcessor

        for file in expect_files(directory, IMAGE_PROCESSOR_FILES, "image processor"):
            read_json(file)
        try:
            # Always by Pillow: torchvision, if installed, resizes to other numbers.
            self._processor: Any = AutoImageProcessor.from_pretrained(
                str(directory), trust_remote_code=False, local_files_only=True, backend="pil"
            )
        except Exception as error:  # its readers raise the errors of their libraries
            reason = (str(error).strip() or type(error).__name__).partition(". ")[0].splitlines()[0]
            raise ValueError(
                f"transformers cannot read the image processor in {directory}: {reason}. Download it again, or give "
                "another as processor="
            ) from error

    def __call__(self, stimuli: Sequence[object]) -> list[Float[np.ndarray, "C H W"]]:
        """Pixels of each image as float32, each in its own size.

        Raises:
          ValueError: A stimulus is not an RGB image of PIL, or has pixels that the model cannot take.
        """
        return [self._pixels(i, image) for i, image in enumerate(stimuli)]

    def _pixels(self, i: int, image: object) -> Float[np.ndarray, "C H W"]:
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            actual = f"a PIL image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
            raise ValueError(f"image {i} is {actual}; expected a PIL image of mode RGB")
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


@dataclasses.dataclass(frozen=True)
class TimmTransform:
    """Resize, crop the centre, scale to [0, 1], subtract the mean, divide by the standard deviation.

    Equivalent to `timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg))` on RGB images.

    Attributes:
      side: H and W of the result.
      resized: Length of the shorter edge before cropping, floor(side / crop_pct); of both edges if `squash`.
      squash: Whether both edges are resized to that length.
      resampling: PIL's filter.
      mean: Per channel, in [0, 1].
      std: Per channel, in [0, 1].
    """

    side: int
    resized: int
    squash: bool
    resampling: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> Float[np.ndarray, "C H W"]:
        """Pixels of an RGB image, in float32."""
        width, height = image.size
        if self.squash:
            image = image.resize((self.resized, self.resized), self.resampling)
        elif min(width, height) != self.resized:
            # As torchvision, the longer edge is rounded down.
            longer = int(self.resized * max(width, height) / min(width, height))
            size = (self.resized, longer) if width <= height else (longer, self.resized)
            image = image.resize(size, self.resampling)
        width, height = image.size
        # As torchvision, half a pixel is rounded to the even side.
        left, top = round((width - self.side) / 2), round((height - self.side) / 2)
        image = image.crop((left, top, left + self.side, top + self.side))
        pixels = np.asarray(image, np.float32) / np.float32(255)
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def timm_transform(directory: Path) -> TimmTransform | None:
    """The transform of the checkpoint in that directory; None if its config.json is not timm's."""
    path = directory / "config.json"
    if not path.is_file() or not is_timm(values := read_json(path)):
        return None
    fields = Fields(values, str(path))
    cfg, model = fields.part("pretrained_cfg") or fields, fields.part("model_args")
    _, side = timm_input_size(cfg)
    if model is not None and "img_size" in model and cfg.flag("fixed_input_size", False):
        side = model.side("img_size")
    share = cfg.number("crop_pct", 0.875)
    mode = cfg.choice("crop_mode", ("center", "squash"), "center")
    filter_name = cfg.choice("interpolation", tuple(_FILTERS), "bicubic")
    mean = cfg.numbers("mean", zero=True) if "mean" in cfg else _IMAGENET_MEAN
    std = cfg.numbers("std") if "std" in cfg else _IMAGENET_STD
    if share > 1 or len(mean) != 3 or len(std) != 3:
        raise ValueError(
            f"{cfg.where}: crop_pct {share}, mean {list(mean)}, std {list(std)}; expected a crop_pct of at most 1 "
            "and three numbers each. Name a directory or Hub id with another image processor as processor="
        )
    return TimmTransform(side, math.floor(side / share), mode == "squash", _FILTERS[filter_name], mean, std)


@dataclasses.dataclass(frozen=True)
class DinoV3Transform:
    """Rescale, resize to a fixed size, subtract the mean, divide by the standard deviation.

    Equivalent to transformers' DINOv3ViTImageProcessor on RGB images, which resizes as
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=True)` does.

    Attributes:
      size: H and W of the result.
      factor: Factor of pixel values 0..255.
      mean: Per channel, of rescaled values.
      std: Per channel, of rescaled values.
    """

    size: tuple[int, int]
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> Float[np.ndarray, "C H W"]:
        """Pixels of an RGB image, in float32."""
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) * np.float32(self.factor)
        vertical, horizontal = map(_resize_matrix, pixels.shape[1:], self.size)
        pixels = vertical @ (pixels @ horizontal.T)
        mean, std = (np.array(part, np.float32)[:, None, None] for part in (self.mean, self.std))
        return np.ascontiguousarray((pixels - mean) / std)


@functools.lru_cache(64)
def _resize_matrix(length: int, target: int) -> Float[np.ndarray, "target length"]:
    """The linear map that resizes one axis: a triangle kernel as wide as the coarser pixel, normalised at the edges."""
    # In float32 throughout, as in torch: the rounding shows at the far end of a wide image.
    ratio = np.float32(length / target)
    centres = ratio * (np.arange(target, dtype=np.float32) + np.float32(0.5))
    distance = np.arange(length, dtype=np.float32) - centres[:, None] + np.float32(0.5)
    matrix = np.maximum(1 - np.abs(distance) / max(ratio, np.float32(1)), 0)
    return matrix / matrix.sum(1, keepdims=True)


def dinov3_transform(directory: Path) -> DinoV3Transform | None:
    """The transform of the preprocessor_config.json in that directory; None if it is not DINOv3's."""
    path = directory / "preprocessor_config.json"
    if not path.is_file() or (values := read_json(path)).get("image_processor_type") not in _DINOV3_NAMES:
        return None
    fields = Fields(values, str(path))
    fields.ignore("image_processor_type", "processor_class", "default_to_square", "do_convert_rgb", "crop_size")
    fields.ignore("data_format", "input_data_format", "device", "disable_grouping", "return_tensors", "pad_size")
    for name in ("do_resize", "do_rescale", "do_normalize"):
        fields.only(name, True, "as DINOv3 was trained")
    for name in ("do_center_crop", "do_pad"):
        if fields.flag(name, None):
            raise ValueError(f"{path}: {name!r} is True; DINOv3 resizes images without cropping or padding")
    fields.only("resample", 2, "DINOv3 resizes images bilinearly")
    size = fields.part("size") or Fields({"height": 224, "width": 224}, str(path))
    sides = size.integer("height"), size.integer("width")
    size.finish()
    mean = fields.numbers("image_mean", zero=True) if "image_mean" in fields else _IMAGENET_MEAN
    std = fields.numbers("image_std") if "image_std" in fields else _IMAGENET_STD
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(f"{path}: image_mean {list(mean)}, image_std {list(std)}; expected three numbers each")
    factor = fields.number("rescale_factor", 1 / 255)
    fields.finish()
    return DinoV3Transform(sides, factor, mean, std)
