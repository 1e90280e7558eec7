"""Photographs to pixels as timm evaluates its models: the transform that a config.json of timm's describes.

Axes: C channels, H rows, W columns.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from vla.models.families.timm_layout import input_size, is_timm
from vla.models.fields import Fields, read_json

_FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}


@dataclasses.dataclass(frozen=True)
class TimmTransform:
    """Resize, cut out the centre, scale to [0, 1], subtract the mean, divide by the deviation.

    Equivalent to `timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg))` on RGB images.

    Attributes:
      side: H and W of the result.
      resized: Length of the shorter edge before cutting, floor(side / crop_pct); of both if `squash`.
      squash: Whether both edges are resized to it, whatever the shape of the image.
      resampling: PIL's filter.
      mean: Per channel, in [0, 1].
      std: The same.
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
            # torchvision's rounding: the longer edge is cut down to a whole number
            longer = int(self.resized * max(width, height) / min(width, height))
            size = (self.resized, longer) if width <= height else (longer, self.resized)
            image = image.resize(size, self.resampling)
        width, height = image.size
        # and half a pixel goes to the even side
        left, top = round((width - self.side) / 2), round((height - self.side) / 2)
        image = image.crop((left, top, left + self.side, top + self.side))
        pixels = np.asarray(image, np.float32) / np.float32(255)
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def timm_transform(directory: Path) -> TimmTransform | None:
    """The transform of the checkpoint in that directory; None where its config.json is not timm's.

    Raises:
      ValueError: A transform that is not supported.
    """
    path = directory / "config.json"
    if not path.is_file() or not is_timm(values := read_json(path)):
        return None
    fields = Fields(values, str(path))
    given = fields.part("pretrained_cfg") or fields
    model = fields.part("model_args")
    _, side = input_size(given)
    if model is not None and "img_size" in model and given.flag("fixed_input_size", False):
        side = model.side("img_size")
    share = given.number("crop_pct", 0.875)
    mode = given.choice("crop_mode", ("center", "squash"), "center")
    filter_name = given.choice("interpolation", tuple(_FILTERS), "bicubic")
    mean = given.numbers("mean", zero=True) if "mean" in given else (0.485, 0.456, 0.406)
    std = given.numbers("std") if "std" in given else (0.229, 0.224, 0.225)
    if share > 1 or len(mean) != 3 or len(std) != 3:
        raise ValueError(
            f"{given.where}: crop_pct {share}, mean {list(mean)}, std {list(std)}; expected a crop_pct of at most 1 "
            "and three numbers each. Name a directory or Hub id with another image processor as processor="
        )
    return TimmTransform(side, math.floor(side / share), mode == "squash", _FILTERS[filter_name], mean, std)


_NAMES = ("DINOv3ViTImageProcessor", "DINOv3ViTImageProcessorFast")


@dataclasses.dataclass(frozen=True)
class DinoV3Transform:
    """Scale, resize to a fixed size whatever the shape of the image, subtract the mean, divide by the deviation.

    Equivalent to transformers' DINOv3ViTImageProcessor on RGB images, which resizes as
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=True)` does.

    Attributes:
      size: H and W of the result.
      factor: What values of 0..255 are multiplied by.
      mean: Per channel, of scaled values.
      std: The same.
    """

    size: tuple[int, int]
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> Float[np.ndarray, "C H W"]:
        """Pixels of an RGB image, in float32."""
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) * np.float32(self.factor)
        down, across = map(_resize_matrix, pixels.shape[1:], self.size)
        pixels = down @ (pixels @ across.T)
        mean, std = (np.array(part, np.float32)[:, None, None] for part in (self.mean, self.std))
        return np.ascontiguousarray((pixels - mean) / std)


@functools.lru_cache(64)
def _resize_matrix(length: int, wanted: int) -> Float[np.ndarray, "wanted length"]:
    """The linear map that resizes one axis: a triangle as wide as a pixel of the coarser of both, cut at the edges."""
    # In float32 throughout, as torch has it: where a pixel falls is rounded at the far end of a wide image.
    ratio = np.float32(length / wanted)
    centres = ratio * (np.arange(wanted, dtype=np.float32) + np.float32(0.5))
    away = np.arange(length, dtype=np.float32) - centres[:, None] + np.float32(0.5)
    matrix = np.maximum(1 - np.abs(away) / max(ratio, np.float32(1)), 0)
    return matrix / matrix.sum(1, keepdims=True)


def dinov3_transform(directory: Path) -> DinoV3Transform | None:
    """The transform of the preprocessor_config.json in that directory; None where it is no DINOv3's.

    Raises:
      ValueError: A transform that is not supported.
    """
    path = directory / "preprocessor_config.json"
    if not path.is_file() or (values := read_json(path)).get("image_processor_type") not in _NAMES:
        return None
    fields = Fields(values, str(path))
    fields.ignore("image_processor_type", "processor_class", "default_to_square", "do_convert_rgb", "crop_size")
    fields.ignore("data_format", "input_data_format", "device", "disable_grouping", "return_tensors", "pad_size")
    for name in ("do_resize", "do_rescale", "do_normalize"):
        fields.only(name, True, "as DINOv3 was trained")
    for name in ("do_center_crop", "do_pad"):
        if fields.flag(name, None):
            raise ValueError(f"{path}: {name!r} is True; DINOv3's images are resized as a whole")
    fields.only("resample", 2, "DINOv3's images are resized bilinearly")
    size = fields.part("size") or Fields({"height": 224, "width": 224}, str(path))
    sides = size.whole("height"), size.whole("width")
    size.finish()
    mean = fields.numbers("image_mean", zero=True) if "image_mean" in fields else (0.485, 0.456, 0.406)
    std = fields.numbers("image_std") if "image_std" in fields else (0.229, 0.224, 0.225)
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(f"{path}: image_mean {list(mean)}, image_std {list(std)}; expected three numbers each")
    factor = fields.number("rescale_factor", 1 / 255)
    fields.finish()
    return DinoV3Transform(sides, factor, mean, std)
