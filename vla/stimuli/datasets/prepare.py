"""Packs a dataset into array_record files, once.

Importing this module imports TensorFlow Datasets, which takes a second: import it where it is used.
"""

import dataclasses
import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from filelock import FileLock

from vla.records import Dataset, ImageSource, Item, canonical_hash
from vla.stimuli.datasets.register import SPLIT, Published, is_prepared, published


def prepare(name: str, config: str, read: Callable[[], Dataset], data_dir: Path) -> Path:
    """Pack items into the folder `data_dir/name/config/version`, unless they are there; returns the folder.

    An interrupted run leaves nothing that looks finished. Only one of several processes packs; the others wait.

    Args:
      name: Name of the builder, such as "coco_val2017".
      config: Distinguishes contents of the same name.
      read: Downloads and reads the items; called only if they are not packed yet.
      data_dir: The folder of all prepared datasets.

    Raises:
      ValueError: As `read`, or an image file cannot be opened.
    """
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
    """A config name with a hash of the content: ids, captions, images and masks, in order."""
    content = canonical_hash([dataset.name, list(dataset.dropped), [_fingerprint(item) for item in dataset.items]])
    return f"{re.sub('[^A-Za-z0-9_]+', '_', dataset.name).strip('_') or 'folder'}-{content[:16]}"


def _fingerprint(item: Item) -> list[Any]:
    """All that determines the record of an item."""
    images = [item.image, *([] if item.rejected is None else [item.rejected])]
    hashes = [hashlib.sha256(image_bytes(item, image)).hexdigest() for image in images]
    masks = None if item.segmentation is None else item.segmentation.content()
    return [item.id, list(item.captions), hashes, masks, item.group]


def image_bytes(item: Item, source: ImageSource) -> bytes:
    """The bytes of an item's image file.

    Raises:
      ValueError: It cannot be opened, or the source is not a file.
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


# The base class takes skip_registration by a metaclass, which the checker does not see.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false


# Version of the records; if it changes, every dataset is prepared again.
VERSION = "1.0.0"


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class SourceConfig(tfds.core.BuilderConfig):
    """Which items to pack.

    Attributes:
      read: Downloads and reads the items.
    """

    read: Callable[[], Dataset]

    def __repr__(self) -> str:
        return self.name


class ItemsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Packs the items of a dataset in order, with an index as metadata.

    The index has ids, captions and checksums, so a dataset can be sampled without reading images.
    """

    VERSION = tfds.core.Version(VERSION)
    HAS_MASKS = False
    HAS_REJECTED = False

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and origin of the dataset."""
        image = tfds.features.Image(shape=(None, None, 3))
        features: dict[str, Any] = {
            "id": tfds.features.Text(),
            "image": image,
            "captions": tfds.features.Sequence(tfds.features.Text()),
        }
        if self.HAS_REJECTED:
            features |= {"rejected": image, "group": tfds.features.Text()}
        if self.HAS_MASKS:
            # The PNG of a pixel map, or polygons and run lengths as JSON.
            features |= {"masks_form": tfds.features.Text(), "masks": tfds.features.Text()}
            features |= {side: tfds.features.Scalar(np.int32) for side in ("height", "width")}
        known = self._published()
        return tfds.core.DatasetInfo(
            builder=self,
            description=known.name if known else "Photographs with captions.",
            features=tfds.features.FeaturesDict(features),
            homepage=known.origin if known else None,
            citation=known.citation if known else None,
            license=known.licence if known else None,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _published(self) -> Published | None:
        """The entry of the dataset in the register."""
        return published(self.name)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        """One split of all items; the downloader of TFDS is not used."""
        assert isinstance(self.builder_config, SourceConfig)
        return {SPLIT: self._generate_examples(self.builder_config.read())}

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number and record of each item; the index grows with them."""
        entries: list[dict[str, Any]] = []
        assert self.info.metadata is not None
        self.info.metadata.update(name=dataset.name, dropped=list(dataset.dropped), items=entries)
        for place, item in enumerate(dataset.items):
            record, entry = self._packed(item)
            entries.append(entry)
            yield place, record

    def _packed(self, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
        """The record of an item and its entry in the index."""
        image = image_bytes(item, item.image)
        record: dict[str, Any] = {"id": item.id, "image": io.BytesIO(image), "captions": list(item.captions)}
        entry: dict[str, Any] = {"id": item.id, "captions": list(item.captions), "image": _sha256(image)}
        if self.HAS_REJECTED:
            assert item.rejected is not None
            rejected = image_bytes(item, item.rejected)
            record |= {"rejected": io.BytesIO(rejected), "group": item.group or ""}
            entry |= {"rejected": _sha256(rejected), "group": item.group}
        if self.HAS_MASKS:
            record |= {"masks_form": "", "masks": b"", "height": 0, "width": 0}
            masks: Any = item.segmentation
            if masks is not None:
                form, data = masks.encoded()
                record |= {"masks_form": form, "masks": data, "height": masks.height, "width": masks.width}
                entry["masks"] = masks.content()
        return record, entry


class CocoVal2017(ItemsBuilder, skip_registration=True):
    """MS-COCO val2017: photographs, captions, masks of things and stuff."""

    HAS_MASKS = True


class Flickr8k(ItemsBuilder, skip_registration=True):
    """Flickr8k: photographs with five captions each."""


class PickAPic(ItemsBuilder, skip_registration=True):
    """Pick-a-Pic: a prompt, the image preferred, the image not preferred."""

    HAS_REJECTED = True


class CaptionedFolder(ItemsBuilder, skip_registration=True):
    """A user's photographs and captions."""

    def _published(self) -> None:
        """None: the user owns them."""
        return None


BUILDERS: dict[str, type[ItemsBuilder]] = {
    "captioned_folder": CaptionedFolder,
    "coco_val2017": CocoVal2017,
    "flickr8k": Flickr8k,
    "pick_a_pic": PickAPic,
}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
