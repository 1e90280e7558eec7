"""Knows a picture of a single colour, which is what failed or censored generators leave."""

import os
from pathlib import Path
from typing import Any

from PIL import Image

# A picture of one colour takes less than this many bits a pixel in PNG, JPEG and WebP; photographs take more.
_FEW_BITS = 0.5


def is_blank(image: Image.Image) -> bool:
    """Whether all pixels are of one colour."""
    extrema: Any = image.convert("RGB").getextrema()
    return all(low == high for low, high in extrema)


def is_blank_file(path: str | os.PathLike[str]) -> bool:
    """Whether all pixels of a PNG, JPEG or WebP file are of one colour; decodes only files that are small for it.

    Raises:
      ValueError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            if Path(path).stat().st_size * 8 > _FEW_BITS * image.width * image.height + 8192:
                return False
            return is_blank(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}. Make it again, or delete it") from error
