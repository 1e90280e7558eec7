"""Finds numbered pictures of items in a folder, whoever made them.

Two layouts: `<id>/<n>.png` and `<id>_<n>.png`, n counted from 0 or from 1, with or without leading zeros; JPEG and
WebP files serve as well. Ids stand percent-encoded where they hold what a file name cannot (`a/b` is `a%2Fb`).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vla.records import Dataset, listed
from vla.stimuli.generators.files import safe_name

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
LAYOUT = "<id>/<n>.png or <id>_<n>.png, n counted from 0 or from 1"
_NUMBER = re.compile(r"\d{1,6}")


def find_images(dataset: Dataset, folder: str | os.PathLike[str]) -> dict[str, dict[int, Path]]:
    """The pictures of each item by number, counted from 0; items without any have an empty dictionary.

    Pictures of other items are passed over.

    Raises:
      ValueError: no such folder; two files for one number of an item; no picture of any item.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"{folder} is not a folder; expected one that holds pictures as {LAYOUT}")
    owner = {safe_name(item.id): item.id for item in dataset.items}
    found: dict[str, dict[int, Path]] = {item.id: {} for item in dataset.items}
    doubles = []
    for name, number, path in _numbered(root):
        if name not in owner:
            continue
        own = found[owner[name]]
        if number in own:
            doubles.append(f"{own[number].relative_to(root)} and {path.relative_to(root)}")
        own[number] = path
    if doubles:
        raise ValueError(f"{root} has two files for one picture: {listed(doubles)}. Delete one of the two")
    numbers = {number for own in found.values() for number in own}
    if not numbers:
        raise ValueError(
            f"{root} holds no picture of the {len(dataset)} items of {dataset.name}, such as {listed(dataset.ids, 2)}; "
            f"expected {LAYOUT}"
        )
    first = 0 if 0 in numbers else 1
    return {name: {number - first: path for number, path in sorted(own.items())} for name, own in found.items()}


def _numbered(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Encoded id, number and path of everything that is named as a picture of an item."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir():
            for path in sorted(entry.iterdir()):
                if path.suffix.lower() in SUFFIXES and _NUMBER.fullmatch(path.stem):
                    yield entry.name, int(path.stem), path
        elif entry.suffix.lower() in SUFFIXES:
            name, underscore, number = entry.stem.rpartition("_")
            if underscore and _NUMBER.fullmatch(number):
                yield name, int(number), entry
