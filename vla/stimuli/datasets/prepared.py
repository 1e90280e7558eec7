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
REMEDY = "Delete the folder and prepare the dataset anew"


def read_record(folder: Path, split: str, index: int, item: str) -> dict[str, Any]:
    """One record of a split of a prepared dataset, images as files; a ValueError if it cannot be read."""
    if _FORKED:
        raise ValueError(
            f"item {item!r} cannot be read from {folder} here: this process was forked from one that had read such "
            "files, and their readers' threads do not survive that. Start processes with "
            'multiprocessing.get_context("spawn")'
        )
    try:
        # One at a time: readers open their files at their first use, which two threads must not share.
        with _READING:
            return _source(folder, split)[index]
    # The readers raise RuntimeError and types of their own, with messages of their C++ code.
    except Exception as error:
        raise ValueError(f"item {item!r} cannot be read from {folder}: {error}. {REMEDY}") from error


@functools.lru_cache(maxsize=128)
def _source(folder: Path, split: str) -> Any:
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


@dataclasses.dataclass(frozen=True)
class RecordImage:
    """The image file of an item in the field "image" or "rejected" of a record, with its SHA-256."""

    item: str
    folder: Path
    index: int
    field: str
    sha256: str

    def open(self) -> bytes:
        """The bytes of the image file; a ValueError if the prepared dataset is missing or has changed."""
        data = read_record(self.folder, SPLIT, self.index, self.item)[self.field]
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.field} of item {self.item!r} in {self.folder} is not what was packed. {REMEDY}")
        return data

    def content(self) -> str:
        """SHA-256 of the image file, as for the same file in a folder."""
        return self.sha256


@dataclasses.dataclass(frozen=True)
class RecordMasks:
    """The masks of an item in a record; `digest` is the SHA-256 of what determines them."""

    item: str
    folder: Path
    index: int
    digest: str

    def things(self) -> np.ndarray:
        """bool [H, W], True where a thing is."""
        return self.decoded().things()

    def stuff(self) -> np.ndarray | None:
        """bool [H, W], True where stuff is; None where the annotations do not say."""
        return self.decoded().stuff()

    def content(self) -> str:
        """SHA-256 of what determines both masks."""
        return self.digest

    def decoded(self) -> PixelMap | InstanceMasks:
        """The masks as they were packed; a ValueError if the prepared dataset is missing or has changed."""
        record = read_record(self.folder, SPLIT, self.index, self.item)
        form, data = record["masks_form"].decode(), record["masks"]
        masks = decode_masks(form, data, self.item, int(record["height"]), int(record["width"]))
        if masks.content() != self.digest:
            raise ValueError(f"masks of item {self.item!r} in {self.folder} are not what was packed. {REMEDY}")
        return masks


def read_prepared(folder: str | os.PathLike[str]) -> Dataset:
    """The items of a prepared dataset, from its index; no image is read.

    A ValueError if the folder is not one that `prepare` returns, or is incomplete.
    """
    import tensorflow_datasets as tfds

    path = Path(os.path.abspath(Path(folder).expanduser()))
    if not is_prepared(path):
        raise ValueError(f"{path} is no prepared dataset: it has no {MARK}. Name the folder that holds it")
    info = tfds.builder_from_directory(str(path)).info
    index: Any = info.metadata or {}
    if not {"name", "dropped", "items"} <= set(index):
        raise ValueError(
            f"{path} was prepared by other software: it has no index of items. Read it with "
            'read_dataset("tfds", directory, image=..., text=...)'
        )
    count = sum(split.num_examples for split in info.splits.values())
    if count != len(index["items"]):
        raise ValueError(f"{path} has {count} records, but its index names {len(index['items'])} items. {REMEDY}")
    items = tuple(_item(path, number, entry) for number, entry in enumerate(index["items"]))
    return Dataset(index["name"], items, tuple(index["dropped"]))


def _item(folder: Path, index: int, entry: dict[str, Any]) -> Item:
    id, rejected, masks = entry["id"], entry.get("rejected"), entry.get("masks")
    return Item(
        id,
        RecordImage(id, folder, index, "image", entry["image"]),
        tuple(entry["captions"]),
        segmentation=None if masks is None else RecordMasks(id, folder, index, masks),
        rejected=None if rejected is None else RecordImage(id, folder, index, "rejected", rejected),
        group=entry.get("group"),
    )
