"""Keeps the part of an image that a mask shows.

Axis letters: H height, W width.
"""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from vla.stimuli.image_manipulations.fills import fill_colour


def keep_masked(
    image: Image.Image, mask: Bool[np.ndarray, "H W"], fill: str = "black", amount: float = 1.0
) -> Image.Image:
    """The image where the mask is True, a fill everywhere else.

    Args:
      image: RGB, W x H.
      mask: True where the image is kept.
      fill: What replaces the rest: "black", "gray", "mean" or "#rrggbb" (see `fills`).
      amount: How opaque the fill is, 0 (unchanged) to 1.

    Raises:
      ValueError: the mask is of another size than the image.
    """
    W, H = image.size
    if mask.shape != (H, W):
        turned = ", the image turned as its EXIF orientation says" if mask.shape == (W, H) else ""
        raise ValueError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, but the image is {W} x {H}{turned}; a mask must be "
            "of its image's size. Give the annotations of this very image, or leave the item out"
        )
    filled = Image.blend(image, Image.new("RGB", image.size, fill_colour(fill)), amount)
    return Image.composite(image, filled, Image.fromarray(mask))
