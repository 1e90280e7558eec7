"""Keeps the part of an image that a mask shows, the mask turned as the image is.

Axis letters: H height, W width.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool
from PIL import Image

from vla.stimuli.image_manipulations.fills import fill_colour

# What a viewer does with the stored pixels, by EXIF orientation (Exif 3.0, tag 0x0112).
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


def upright_mask(
    mask: Bool[np.ndarray, "h w"], orientation: int, size: tuple[int, int], item: str
) -> Bool[np.ndarray, "H W"]:
    """The mask of an image, turned as its EXIF orientation turns the image.

    Masks are of the stored pixels, as COCO's are. One whose size fits the upright image alone is upright already.

    Args:
      mask: Of the stored pixels or of the upright image.
      orientation: The image's EXIF orientation, 1 (stored upright) to 8.
      size: (W, H) of the upright image.
      item: The item's id, for messages.

    Raises:
      ValueError: The mask has the size of neither.
    """
    W, H = size
    turned = _TURNS[orientation](mask)
    if turned.shape == (H, W):
        return np.ascontiguousarray(turned)
    if mask.shape == (H, W):
        return mask
    raise ValueError(
        f"the mask of item {item!r} is {mask.shape[1]} x {mask.shape[0]} pixels, but its image is {W} x {H}"
        + (f" (EXIF orientation {orientation} applied)" if orientation > 1 else "")
        + "; a mask must be of its image's size. Give the annotations of this very image, or leave the item out"
    )


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
        raise ValueError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, but the image is {W} x {H}; a mask must be "
            "of its image's size. Give the annotations of this very image, or leave the item out"
        )
    filled = Image.blend(image, Image.new("RGB", image.size, fill_colour(fill)), amount)
    return Image.composite(image, filled, Image.fromarray(mask))
