"""The few records that cross floors: an item of a dataset, a dataset, and a view of it."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Modality = Literal["vision", "language"]


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing the world shows: a photograph and what people said of it.

    Attributes:
      id: Unique within its dataset; every activation row and every score is traced back to it.
      image: The image file.
      captions: Human captions in published order; at least one, none empty.
    """

    id: str
    image: Path
    captions: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Named items in a fixed order, with ids that are unique.

    Attributes:
      name: Short name used in file names and tables.
      items: The items in order.
      dropped: Ids left out on explicit request when the dataset was read, in sorted order.
    """

    name: str
    items: tuple[Item, ...]
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids in order."""
        return tuple(item.id for item in self.items)


@dataclasses.dataclass(frozen=True)
class View:
    """How a set of items is shown to one modality, ready to be read by a model.

    Attributes:
      name: In words, for file names and tables, such as "flickr8k/original".
      modality: Who is to look at it.
      ids: Item ids, one per stimulus.
      stimuli: One stimulus per id: captions for language, image files for vision.
      content: SHA-256 of everything that determines what a model will see, ids and order included.
    """

    name: str
    modality: Modality
    ids: tuple[str, ...]
    stimuli: tuple[str | Path, ...]
    content: str


def canonical_hash(value: object) -> str:
    """SHA-256 hex digest of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names and how many more there are, for messages: `a, b, c (and 7 more)`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} (and {len(names) - most} more)"
