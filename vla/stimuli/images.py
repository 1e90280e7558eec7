"""Decodes an image from any source into an upright RGB image.

Axis letters: H height, W width.
"""

import io
import os
import re
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from vla.files import is_git_lfs_pointer
from vla.records import LazyImage

WHITE = (255, 255, 255, 255)
GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
# Formats whose 16-bit grey some versions of PIL return as 32-bit integers.
GREY_16_AS_I = ("PNG", "PPM")
# Suffixes of image files; .heic and .heif need a plugin of PIL.
IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
ORIENTATION = ExifTags.Base.Orientation
# Orientations 5 to 8 exchange height and width.
SWAPPING = range(5, 9)
# File types of HEIC and HEIF images, in bytes 8 to 11 of the file.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# How a JPEG, PNG, GIF or WebP file begins in base64.
BASE64 = re.compile(r"data:image/|(/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/=\s]{20}")
EIGHT_BITS = ("1", "CMYK", "HSV", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")


def decode_image(source: object, name: str | None = None) -> Image.Image:
    """The image in upright 8-bit RGB, as a viewer shows it.

    - EXIF orientation is applied.
    - Transparent pixels are laid on white.
    - Grey, palette and CMYK images become RGB; 16-bit grey is scaled from 0..65535 to 0..255.
    - Of an animation the first frame is taken; colour profiles are not applied.

    Args:
      source: A path; the bytes of an image file; a PIL image (it is not changed); a uint8 array of values
        0..255 and shape [H, W, 3], [H, W, 4] (red, green, blue, opacity) or [H, W] (grey); or an object with `open()`
        that returns one of these, see `vla.records.LazyImage`.
      name: The item's id, for messages.

    Raises:
      ValueError: The file is missing, empty, truncated, no image, or so large that PIL takes it for a
        decompression bomb; the array is not as above; the pixels have no fixed range; or PIL is set to accept
        truncated files. The message names the item, the file and the remedy.
    """
    label, image = _opened(source, name)
    try:
        # exif_transpose decodes the pixels and returns a copy; truncated files fail here.
        upright = ImageOps.exif_transpose(image)
    # Decoders raise errors of many types on a broken file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _unreadable(label, error) from error
    return _rgb(label, upright, image.format)


def image_orientation(source: object, name: str | None = None) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation of an image and its upright size, from the file's header alone.

    The orientation is from 1 (stored upright) to 8, the size is the (W, H) of what `decode_image` returns. Arguments
    and errors are as of `decode_image`, except that pixels are not decoded.
    """
    label, image = _opened(source, name)
    try:
        # Read before the pixels are: PIL's TIFF reader applies the orientation when it decodes, and forgets it.
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception as error:
        raise _unreadable(label, error) from error
    if orientation not in range(1, 9):
        orientation = 1
    # PIL's TIFF reader gives the upright size from the start.
    W, H = image.size
    swapped = orientation in SWAPPING and image.format != "TIFF"
    return orientation, (H, W) if swapped else (W, H)


def _opened(source: object, name: str | None) -> tuple[str, Image.Image]:
    """The label of the image in messages, and the image, its pixels not yet decoded."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ValueError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is switched on, so the missing part of a truncated image "
            "would be silently read as grey; set it to False"
        )
    item = "" if name is None else f" of item {name!r}"
    if isinstance(source, Image.Image):
        return f"image{item}", source
    if isinstance(source, LazyImage):
        try:
            content = source.open()
        except OSError as error:
            raise ValueError(
                f"image{item} cannot be opened: {error}. Restore the file that it is read from, or leave the item out"
            ) from error
        if isinstance(content, LazyImage):
            raise ValueError(f"image{item} opens to a {type(content).__name__}; expected a path, bytes or pixels")
        return _opened(content, name)
    if isinstance(source, str) and (reason := not_an_image(source)):
        raise ValueError(f"image{item} ({source[:80]}) {reason}")
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
            "image, a uint8 array [H, W, 3] or an object with open() and content()"
        )
    if not data:
        raise ValueError(f"{label} is empty. Fetch the file again, or leave the item out")
    try:
        return label, Image.open(io.BytesIO(data))
    except Exception as error:
        if reason := not_an_image(data):
            raise ValueError(f"{label} {reason}") from error
        raise _unreadable(label, error) from error


def _from_array(label: str, array: np.ndarray) -> tuple[str, Image.Image]:
    """Label and image of an array of pixels."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise ValueError(
            f"{label} is an array of {array.dtype} and shape {list(array.shape)}; expected uint8, values "
            "0..255, of shape [H, W, 3], [H, W, 4] or [H, W], the channels last"
        )
    return label, Image.fromarray(array)


def _rgb(label: str, image: Image.Image, format: str | None) -> Image.Image:
    """The image in 8-bit RGB; `format` is that of the file it was opened from."""
    if image.mode in GREY_16 or (image.mode == "I" and format in GREY_16_AS_I):
        image = _grey(image)
    if image.mode == "I":
        raise ValueError(
            f"{label} has pixels of PIL's mode 'I', whole numbers without a defined white; save it with 8 or 16 bits a "
            "channel"
        )
    if image.mode not in EIGHT_BITS:
        raise ValueError(
            f"{label} has pixels of PIL's mode {image.mode!r}; save it with 8 bits a channel, in a mode of "
            f"{', '.join(EIGHT_BITS)}"
        )
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """16-bit grey, 0..65535, in 8 bits, with transparent pixels white."""
    # PIL's own conversion clips at 255 and turns nearly everything white.
    grey_hw = np.asarray(image).astype(np.int64)
    if "transparency" in image.info:
        grey_hw[grey_hw == image.info["transparency"]] = 65535
    return Image.fromarray(((grey_hw + 128) // 257).astype(np.uint8))


def _unreadable(label: str, error: Exception) -> ValueError:
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(f"{label} is too large to decode safely: {error}. Shrink the image, or leave the item out")
    reason = "its format is not known" if isinstance(error, UnidentifiedImageError) else error or type(error).__name__
    return ValueError(
        f"{label} cannot be read: {reason}. The file is truncated or no image: fetch it again, or leave the item out"
    )


def has_image_suffix(name: str) -> bool:
    """Whether a file name ends as image files do."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def not_an_image(source: str | bytes) -> str:
    """Why a string or the content of a file is no image, with the remedy; "" if unknown.

    Recognised are URLs, images in base64, Git LFS pointers, and HEIC files where PIL has no plugin for them.
    """
    data = source if isinstance(source, bytes) else b""
    text = source if isinstance(source, str) else data[:200].decode("latin-1")
    if data and is_git_lfs_pointer(data):
        return "is a Git LFS pointer, not the image itself: run `git lfs pull` in its repository"
    if re.match(r"(https?|ftp|s3|gs)://", text):
        return "is a URL, and URLs are not fetched: download the images first, for example with img2dataset"
    if BASE64.match(text):
        return "is an image in base64: decode it with base64.b64decode and give the bytes, or write them to a file"
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return (
            "is a HEIC image, which PIL reads only with a plugin: `pip install pillow-heif` and call "
            "`pillow_heif.register_heif_opener()` first, or convert it to JPEG or PNG"
        )
    return ""
