"""Generated images on disk: PNG files with a record of their origin, folders of numbered images, blank images.

Two layouts of a folder are read: `<id>/<n>.png` and `<id>_<n>.png`, with n counted from 0 or from 1, with or without
leading zeros; JPEG and WebP files are read as well. Ids are percent-encoded where they contain characters that a file
name cannot contain (`a/b` is `a%2Fb`).
"""

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from vla.checks import listed
from vla.files import safe_name
from vla.records import Dataset

# Name of the text chunk of a PNG file that holds the record of its origin.
RECORD_CHUNK = "vla"
SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
LAYOUT = "<id>/<n>.png or <id>_<n>.png, n counted from 0 or from 1"
_NUMBER = re.compile(r"\d{1,6}")
# An image of one colour takes fewer bits per pixel than this in PNG, JPEG and WebP; photographs take more.
_FEW_BITS = 0.5


def png(image: Image.Image, record: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    """A PNG file with the record of its origin, a JSON object; options are PIL's."""
    text = PngImagePlugin.PngInfo()
    if record is not None:
        text.add_itxt(RECORD_CHUNK, json.dumps(record, ensure_ascii=False))
    data = io.BytesIO()
    image.save(data, "PNG", pnginfo=text, **options)
    return data.getvalue()


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of origin of an image file, None if it has none; a ValueError if the file is no image."""
    with _opened(path) as image:
        text = image.info.get(RECORD_CHUNK)
        record = json.loads(text) if isinstance(text, str) else None
    return record if isinstance(record, dict) else None


def find_images(dataset: Dataset, folder: str | os.PathLike[str]) -> dict[str, dict[int, Path]]:
    """The images of each item by number, counted from 0; {} for items without images. Other items are ignored.

    Raises:
      ValueError: No such folder, two files with the same number of an item, or no image of any item.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"{folder} is not a folder; expected a folder of images named {LAYOUT}")
    ids = {safe_name(item.id): item.id for item in dataset.items}
    images: dict[str, dict[int, Path]] = {item.id: {} for item in dataset.items}
    duplicates = []
    for name, number, path in _numbered(root):
        if name not in ids:
            continue
        of_item = images[ids[name]]
        if number in of_item:
            duplicates.append(f"{of_item[number].relative_to(root)} and {path.relative_to(root)}")
        of_item[number] = path
    if duplicates:
        raise ValueError(f"{root} has two files for one image: {listed(duplicates)}. Delete one of the two")
    numbers = {number for of_item in images.values() for number in of_item}
    if not numbers:
        raise ValueError(
            f"{root} holds no image of the {len(dataset)} items of {dataset.name}, such as {listed(dataset.ids, 2)}; "
            f"expected {LAYOUT}"
        )
    first = 0 if 0 in numbers else 1
    return {id: {number - first: path for number, path in sorted(of_item.items())} for id, of_item in images.items()}


def _numbered(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Encoded id, number and path of every file that is named as an image of an item."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir():
            for path in sorted(entry.iterdir()):
                if path.suffix.lower() in SUFFIXES and _NUMBER.fullmatch(path.stem):
                    yield entry.name, int(path.stem), path
        elif entry.suffix.lower() in SUFFIXES:
            name, underscore, number = entry.stem.rpartition("_")
            if underscore and _NUMBER.fullmatch(number):
                yield name, int(number), entry


def is_blank(image: Image.Image) -> bool:
    """Whether all pixels have the same colour, as failed or censored generators leave them."""
    extrema: Any = image.convert("RGB").getextrema()
    return all(low == high for low, high in extrema)


def is_blank_file(path: str | os.PathLike[str]) -> bool:
    """Whether all pixels of a PNG, JPEG or WebP file have the same colour; files too large for that are not decoded."""
    with _opened(path) as image:
        is_large = Path(path).stat().st_size * 8 > _FEW_BITS * image.width * image.height + 8192
        return not is_large and is_blank(image)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An image file; errors in the block are those of a file that is not an image."""
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}. Generate it again, or delete it") from error
