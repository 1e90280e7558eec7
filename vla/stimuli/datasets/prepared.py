"""Reads prepared datasets: array_record files from which an image is read when it is opened."""

import dataclasses
import functools
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vla.records import Dataset, Item
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap, decode_masks
from vla.stimuli.datasets.register import MARK, SPLIT, is_prepared

_READING = threading.Lock()
_FORKED = False


def read_record(folder: Path, split: str, place: int, item: str) -> dict[str, Any]:
    """One record of a split of a prepared dataset; images as the bytes of image files.

    Raises:
      ValueError: The files are missing or damaged, or the process was forked after a file was read.
    """
    if _FORKED:
        raise ValueError(
            f"item {item!r} cannot be read from {folder} here: this process was forked from one that had read such "
            "files, and their readers' threads do not survive that. Start processes with "
            'multiprocessing.get_context("spawn")'
        )
    try:
        # One at a time: readers open their files at their first use, which two threads must not share.
        with _READING:
            return _source(folder, split)[place]
    # The readers raise RuntimeError and kinds of their own, in C++ words.
    except Exception as error:
        raise ValueError(
            f"item {item!r} cannot be read from {folder}: {error}. Delete the folder and prepare the dataset anew"
        ) from error


@functools.lru_cache(maxsize=128)
def _source(folder: Path, split: str) -> Any:
    """All records of a split."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    features: Any = builder.info.features
    raw = {name: tfds.decode.SkipDecoding() for name, f in features.items() if isinstance(f, tfds.features.Image)}
    return builder.as_data_source(split=split, decoders=raw or None)


def _after_fork() -> None:
    """Remember that readers inherited by this process would block for ever."""
    global _FORKED
    _FORKED = _FORKED or _source.cache_info().currsize > 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


REMEDY = "Delete the folder and prepare the dataset anew"


@dataclasses.dataclass(frozen=True)
class RecordImage:
    """An encoded image in one record of a prepared dataset.

    Attributes:
      item: The item's id, for messages.
      folder: The prepared dataset.
      place: Index of the record.
      field: "image" or "rejected".
      sha256: SHA-256 of the image file.
    """

    item: str
    folder: Path
    place: int
    field: str
    sha256: str

    def open(self) -> bytes:
        """The bytes of the image file.

        Raises:
          ValueError: The prepared dataset is missing or has changed.
        """
        data = read_record(self.folder, SPLIT, self.place, self.item)[self.field]
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.field} of item {self.item!r} in {self.folder} is not what was packed. {REMEDY}")
        return data

    def content(self) -> str:
        """SHA-256 of the image file, as for the same file in a folder."""
        return self.sha256


@dataclasses.dataclass(frozen=True)
class RecordMasks:
    """Masks in one record of a prepared dataset.

    Attributes:
      item: The item's id, for messages.
      folder: The prepared dataset.
      place: Index of the record.
      digest: SHA-256 of what determines the masks.
    """

    item: str
    folder: Path
    place: int
    digest: str

    def things(self) -> np.ndarray:
        """bool [H, W], True where a thing is."""
        return self._decoded().things()

    def stuff(self) -> np.ndarray | None:
        """bool [H, W], True where stuff is; None where the annotations do not say."""
        return self._decoded().stuff()

    def content(self) -> str:
        """SHA-256 of what determines both masks."""
        return self.digest

    def encoded(self) -> tuple[str, bytes]:
        """The name of the format, and the annotation as published."""
        return self._decoded().encoded()

    @property
    def height(self) -> int:
        """Pixels."""
        return self._decoded().height

    @property
    def width(self) -> int:
        """Pixels."""
        return self._decoded().width

    def _decoded(self) -> PixelMap | InstanceMasks:
        record = read_record(self.folder, SPLIT, self.place, self.item)
        form, data = record["masks_form"].decode(), record["masks"]
        masks = decode_masks(form, data, self.item, int(record["height"]), int(record["width"]))
        if masks.content() != self.digest:
            raise ValueError(f"masks of item {self.item!r} in {self.folder} are not what was packed. {REMEDY}")
        return masks


def read_prepared(folder: str | os.PathLike[str]) -> Dataset:
    """The items of a prepared dataset, from its index; no image is read.

    Args:
      folder: The folder with `dataset_info.json`, as `prepare` returns it.

    Raises:
      ValueError: The folder is not a dataset that `prepare` made, or is incomplete.
    """
    import tensorflow_datasets as tfds

    place = Path(os.path.abspath(Path(folder).expanduser()))
    if not is_prepared(place):
        raise ValueError(f"{place} is no prepared dataset: it has no {MARK}. Name the folder that holds it")
    info = tfds.builder_from_directory(str(place)).info
    index: Any = info.metadata or {}
    if not {"name", "dropped", "items"} <= set(index):
        raise ValueError(
            f"{place} was prepared by other software: it has no index of items. Read it with "
            'read_dataset("tfds", directory, image=..., text=...)'
        )
    count = sum(split.num_examples for split in info.splits.values())
    if count != len(index["items"]):
        raise ValueError(f"{place} has {count} records, but its index names {len(index['items'])} items. {REMEDY}")
    items = tuple(_item(place, number, entry) for number, entry in enumerate(index["items"]))
    return Dataset(index["name"], items, tuple(index["dropped"]))


def _item(folder: Path, place: int, entry: dict[str, Any]) -> Item:
    """One item from its entry in the index."""
    rejected, masks = entry.get("rejected"), entry.get("masks")
    return Item(
        entry["id"],
        RecordImage(entry["id"], folder, place, "image", entry["image"]),
        tuple(entry["captions"]),
        segmentation=None if masks is None else RecordMasks(entry["id"], folder, place, masks),
        rejected=None if rejected is None else RecordImage(entry["id"], folder, place, "rejected", rejected),
        group=entry.get("group"),
    )
