"""Blurs an image."""

from PIL import Image, ImageFilter


def blur(image: Image.Image, sigma: float = 4.0, unit: str = "pixels") -> Image.Image:
    """The image smoothed by a Gaussian, its pixels at the edges repeated beyond them.

    Equivalent to `PIL.ImageFilter.GaussianBlur`, which approximates a Gaussian by repeated means: within 4 of 255
    levels even on noise, but for some 3 sigma at the edges, where they differ more.

    Args:
      image: RGB.
      sigma: Standard deviation of the Gaussian; 0 leaves the image unchanged.
      unit: "pixels" of the image as published, or "percent" of its shorter side: the same blur for images of
        several sizes once a model has resized them.
    """
    radius = sigma if unit == "pixels" else sigma / 100 * min(image.size)
    return image.filter(ImageFilter.GaussianBlur(radius))
