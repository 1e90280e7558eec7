"""The few records that cross floors: an item of a dataset, a dataset, and a view of it."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

Modality = Literal["vision", "language"]


@runtime_checkable
class LazyImage(Protocol):
    """Where an image comes from, read only when it is needed; picklable, so that worker processes can read it."""

    def open(self) -> Any:
        """The image as a path, the bytes of an image file, a PIL image or a uint8 array [H, W, 3]."""
        ...

    def content(self) -> str:
        """SHA-256 of everything that determines the pixels, wherever they are kept."""
        ...


@runtime_checkable
class Segmentation(Protocol):
    """Which pixels of an image show things and which show stuff; read only when needed, picklable.

    Masks are of the image's stored pixels, as COCO's are: where the image file has an EXIF orientation, the mask is
    turned with the image. Only a mask whose size fits the upright image alone is taken as upright already.
    """

    def things(self) -> np.ndarray:
        """bool [H, W], True where a thing (something countable) is."""
        ...

    def stuff(self) -> np.ndarray | None:
        """bool [H, W], True where stuff (grass, sky, ...) is; None where the annotations do not say."""
        ...

    def content(self) -> str:
        """SHA-256 of everything that determines both masks."""
        ...


ImageSource = Path | LazyImage


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing the world shows: a photograph and what people said of it.

    Attributes:
      id: Unique within its dataset; every activation row and every score is traced back to it.
      image: The photograph; of a preference judgment, the preferred image.
      captions: Human captions in published order; at least one, none empty. Of a judgment, the prompt.
      paraphrases: Generated captions of the same image, in the order they were made.
      synthetic: Images generated from the captions, in a stated order.
      segmentation: Masks of things and stuff, where the dataset has them.
      rejected: Of a preference judgment, the image that was not preferred.
      group: Items of one group (such as one prompt) must not be split over cross-validation folds.
    """

    id: str
    image: ImageSource
    captions: tuple[str, ...]
    paraphrases: tuple[str, ...] = ()
    synthetic: tuple[ImageSource, ...] = ()
    segmentation: Segmentation | None = None
    rejected: ImageSource | None = None
    group: str | None = None


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
      stimuli: One stimulus per id: captions for language, images for vision.
      content: SHA-256 of everything that determines what a model will see, ids and order included.
      left_out: Ids of items that the view cannot show, such as a caption without nouns in a view of nouns.
    """

    name: str
    modality: Modality
    ids: tuple[str, ...]
    stimuli: tuple[str | ImageSource, ...]
    content: str
    left_out: tuple[str, ...] = ()


def canonical_hash(value: object) -> str:
    """SHA-256 hex digest of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
