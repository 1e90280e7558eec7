"""Packs a dataset into array_record files once: whole or not at all, and not again when it is there."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from vla.records import Dataset, ImageSource, Item, canonical_hash
from vla.stimuli.datasets.prepared import is_prepared


def default_data_dir() -> Path:
    """Where datasets are kept unless another folder is named: `vla/datasets` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vla" / "datasets"


def prepare(name: str, config: str, read: Callable[[], Dataset], data_dir: Path) -> Path:
    """The folder `data_dir/name/config/version` with the packed items.

    It is filled under another name and renamed, so a killed run leaves nothing that looks finished. Processes
    that want the same wait for one of them.

    Args:
      name: Of the builder, such as "coco_val2017".
      config: What tells this content from others of the same name.
      read: Downloads and reads the items; called only if they are not packed yet.
      data_dir: Where all prepared datasets lie.

    Raises:
      ValueError: as `read`, or an image file cannot be opened.
    """
    from vla.stimuli.datasets.builders import BUILDERS, VERSION, SourceConfig

    place = data_dir / name / config / VERSION
    if is_prepared(place):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.parent / ".lock"):
        if not is_prepared(place):
            for stale in place.parent.glob("incomplete.*"):
                shutil.rmtree(stale, ignore_errors=True)
            builder = BUILDERS[name](
                config=SourceConfig(name=config, version=VERSION, read=read),
                data_dir=str(data_dir),
                file_format="array_record",
            )
            builder.download_and_prepare(download_dir=str(data_dir / "downloads"))
    return place


def folder_config(dataset: Dataset) -> str:
    """A config name that tells a folder's content: ids, captions, image bytes and masks, in order."""
    content = canonical_hash([dataset.name, list(dataset.dropped), [_fingerprint(item) for item in dataset.items]])
    return f"{re.sub('[^A-Za-z0-9_]+', '_', dataset.name).strip('_') or 'folder'}-{content[:16]}"


def _fingerprint(item: Item) -> list[Any]:
    """What determines an item's record."""
    images = [item.image, *([] if item.rejected is None else [item.rejected])]
    hashes = [hashlib.sha256(image_bytes(item, image)).hexdigest() for image in images]
    masks = None if item.segmentation is None else item.segmentation.content()
    return [item.id, list(item.captions), hashes, masks, item.group]


def image_bytes(item: Item, source: ImageSource) -> bytes:
    """The bytes of an item's image file.

    Raises:
      ValueError: it cannot be opened, or there is no file but pixels.
    """
    if isinstance(source, Path):
        try:
            return source.read_bytes()
        except OSError as error:
            raise ValueError(
                f"image of item {item.id!r} ({source}) cannot be opened: {error.strerror}. Put the file there, or "
                "leave the item out"
            ) from error
    data = source.open()
    if not isinstance(data, bytes):
        raise ValueError(f"image of item {item.id!r} is a {type(data).__name__}; only image files can be packed")
    return data
