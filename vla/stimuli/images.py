"""Turns whatever holds a picture into an upright RGB image.

Axis letters: H height, W width.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from vla.records import Picture

WHITE = (255, 255, 255, 255)
GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
# The formats whose 16-bit grey PIL hands out, or once handed out, as whole numbers of 32 bits.
GREY_16_AS_I = ("PNG", "PPM")
EIGHT_BITS = ("1", "CMYK", "HSV", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")


def decode_image(source: object, name: str | None = None) -> Image.Image:
    """The picture as an upright 8-bit RGB image, as a person sees it in a viewer.

    - EXIF orientation is applied.
    - Transparent pixels are laid on white, the ground on which a page shows them.
    - Grey, palette and CMYK pictures become RGB; 16-bit grey is scaled from 0..65535 to 0..255.
    - Of an animation the first frame is taken; colour profiles are not applied.

    Args:
      source: A path; the bytes of an image file; a PIL image (it is not changed); a uint8 array of values
        0..255 and shape [H, W, 3], [H, W, 4] (red, green, blue, opacity) or [H, W] (grey); or a `Picture`, which is
        opened.
      name: The item's id, for messages.

    Raises:
      ValueError: the file is missing, empty, truncated, no image, or so large that PIL takes it for a
        decompression bomb; the array is not as above; the pixels are of a kind with no fixed range; or PIL
        was told to pass truncated files. The message names the item, the file and the remedy.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ValueError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is switched on, so the missing part of a truncated image "
            "would be read as grey without a word; set it to False"
        )
    label, picture = _opened(source, name)
    try:
        # exif_transpose decodes the pixels and returns a copy: here a truncated file comes to light.
        upright = ImageOps.exif_transpose(picture)
    # Decoders raise whatever a broken file drives them into: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _unreadable(label, error) from error
    return _rgb(label, upright, picture.format)


def _opened(source: object, name: str | None) -> tuple[str, Image.Image]:
    """What to call the picture in messages, and the picture, its pixels not yet decoded."""
    item = "" if name is None else f" of item {name!r}"
    if isinstance(source, Image.Image):
        return f"image{item}", source
    if isinstance(source, Picture):
        return _opened(_from_picture(source, f"image{item}"), name)
    if isinstance(source, str | os.PathLike):
        label = f"image{item} ({os.fspath(source)})"
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise ValueError(
                f"{label} cannot be opened: {error.strerror}. Put the file there, or leave the item out"
            ) from error
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        label = f"image{item} ({len(data)} bytes)"
    elif hasattr(source, "__array__"):
        return _from_array(f"image{item}", np.asarray(source))
    else:
        raise ValueError(
            f"image{item} is a {type(source).__name__}; expected a path, the bytes of an image file, a PIL "
            "image, a uint8 array [H, W, 3] or a picture with open() and content()"
        )
    if not data:
        raise ValueError(f"{label} is empty. Fetch the file again, or leave the item out")
    try:
        return label, Image.open(io.BytesIO(data))
    except Exception as error:
        raise _unreadable(label, error) from error


def _from_picture(picture: Picture, label: str) -> object:
    """What a picture holds, read now."""
    try:
        held = picture.open()
    except OSError as error:
        raise ValueError(
            f"{label} cannot be opened: {error}. Put what it is read from in place, or leave the item out"
        ) from error
    if isinstance(held, Picture):
        raise ValueError(f"{label} opens to another picture, a {type(held).__name__}; expected a path, bytes or pixels")
    return held


def _from_array(label: str, array: np.ndarray) -> tuple[str, Image.Image]:
    """A picture of an array of pixels."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise ValueError(
            f"{label} is an array of {array.dtype} and shape {list(array.shape)}; expected uint8, values "
            "0..255, of shape [H, W, 3], [H, W, 4] or [H, W], the channels last"
        )
    return label, Image.fromarray(array)


def _rgb(label: str, image: Image.Image, format: str | None) -> Image.Image:
    """The same picture in 8-bit RGB; `format` is that of the file it was opened from."""
    if image.mode in GREY_16 or (image.mode == "I" and format in GREY_16_AS_I):
        image = _grey(image)
    if image.mode == "I":
        raise ValueError(
            f"{label} has pixels of PIL's mode 'I', whole numbers of which nothing says what is white; save it with 8 "
            "or 16 bits a channel"
        )
    if image.mode not in EIGHT_BITS:
        raise ValueError(
            f"{label} has pixels of PIL's mode {image.mode!r}; save it with 8 bits a channel, in a mode of "
            f"{', '.join(EIGHT_BITS)}"
        )
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, WHITE), seen)
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """16-bit grey, 0..65535, in 8 bits, with what is transparent on white."""
    # PIL's own conversion clips at 255 and turns nearly everything white.
    grey_hw = np.asarray(image).astype(np.int64)
    if "transparency" in image.info:
        grey_hw[grey_hw == image.info["transparency"]] = 65535
    return Image.fromarray(((grey_hw + 128) // 257).astype(np.uint8))


def _unreadable(label: str, error: Exception) -> ValueError:
    """What to tell of a picture that could not be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(f"{label} is too large to decode safely: {error}. Shrink the image, or leave the item out")
    why = "its format is not known" if isinstance(error, UnidentifiedImageError) else error or type(error).__name__
    return ValueError(
        f"{label} cannot be read: {why}. The file is truncated or no image: fetch it again, or leave the item out"
    )
