"""Turns or mirrors an image within its own frame."""

from PIL import Image, ImageOps

from vla.stimuli.draws import Key, uniform
from vla.stimuli.image_manipulations.fills import fill_colour


def rotation(image: Image.Image, angle: float = 15.0, corners: str = "black") -> Image.Image:
    """The image turned about its centre in a frame of the same size, interpolated bilinearly.

    What leaves the frame is lost; what comes into it is filled. Equivalent to `PIL.Image.rotate`.

    Args:
      image: RGB.
      angle: Degrees, anticlockwise where positive.
      corners: What fills the corners: "black", "gray", "mean" or "#rrggbb" (see `fills`).
    """
    return image.rotate(angle, Image.Resampling.BILINEAR, expand=False, fillcolor=fill_colour(corners))


def horizontal_flip(image: Image.Image, key: Key, probability: float = 1.0) -> Image.Image:
    """The image mirrored left to right, or as it is, with a probability.

    Args:
      image: RGB.
      key: What the draw is for, such as (seed, item id). What is mirrored at one probability is at higher ones too.
      probability: 0 (never) to 1 (always).
    """
    return ImageOps.mirror(image) if uniform((*key, "horizontal_flip"), 1)[0] < probability else image.copy()
