"""Changes an image's colours and leaves its shapes."""

import numpy as np
from PIL import Image, ImageEnhance

from vla.stimuli.draws import Key, uniform


def grayscale(image: Image.Image, amount: float = 1.0) -> Image.Image:
    """The image in greys: three equal channels of luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Equivalent to `torchvision.transforms.Grayscale(3)` on a PIL image at an amount of 1; in between, that much of the
    way from the image to it.

    Args:
      image: RGB.
      amount: 0 (unchanged) to 1.
    """
    return Image.blend(image, image.convert("L").convert("RGB"), amount)


def color_jitter(image: Image.Image, key: Key, strength: float = 0.5) -> Image.Image:
    """The image in other brightness, contrast, saturation and hue, changed in this order.

    The first three are multiplied by factors drawn from 1 - 0.8 s to 1 + 0.8 s, hue is turned by up to 0.2 s of the
    circle, s the strength: the ranges of SimCLR (Chen et al. 2020, appendix A). For a key the draws are the same at
    every strength, so a stronger jitter goes further in the same direction.

    Args:
      image: RGB.
      key: What the draws are for, such as (seed, item id).
      strength: 0 (unchanged) to 1.
    """
    drawn = [2 * u - 1 for u in uniform((*key, "color_jitter"), 4)]
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhancer, draw in zip(enhancers, drawn, strict=False):
        image = enhancer(image).enhance(1 + 0.8 * strength * draw)
    turn = round(256 * 0.2 * strength * drawn[3])
    if turn == 0:
        return image
    hsv_hwc = np.array(image.convert("HSV"))
    hsv_hwc[..., 0] += np.uint8(turn % 256)  # hue is a circle of 256 steps, and so is uint8
    return Image.fromarray(hsv_hwc, "HSV").convert("RGB")
