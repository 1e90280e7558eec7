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
from vla.stimuli.datasets.prepared import RecordMasks
from vla.stimuli.datasets.register import SPLIT, is_prepared, published

# The base class takes skip_registration by a metaclass, which the checker does not see.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

# Version of the records; if it changes, every dataset is prepared again.
VERSION = "1.0.0"


def prepare(name: str, config: str, read: Callable[[], Dataset], data_dir: Path) -> Path:
    """Pack items into the folder `data_dir/name/config/version`, unless they are there; returns the folder.

    An interrupted run leaves nothing that looks finished. Only one of several processes packs; the others wait. The
    name is that of a builder, the config distinguishes contents of the same name, and `read` is called if they are not
    packed.
    """
    path = data_dir / name / config / VERSION
    if is_prepared(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        if not is_prepared(path):
            for stale in path.parent.glob("incomplete.*"):
                shutil.rmtree(stale, ignore_errors=True)
            builder = BUILDERS[name](
                config=SourceConfig(name=config, version=VERSION, read=read),
                data_dir=str(data_dir),
                file_format="array_record",
            )
            builder.download_and_prepare(download_dir=str(data_dir / "downloads"))
    return path


def folder_config(dataset: Dataset) -> str:
    """A config name with a hash of the content: ids, captions, images and masks, in order."""
    content = canonical_hash([dataset.name, list(dataset.dropped), [_fingerprint(item) for item in dataset.items]])
    return f"{re.sub('[^A-Za-z0-9_]+', '_', dataset.name).strip('_') or 'folder'}-{content[:16]}"


def _fingerprint(item: Item) -> list[Any]:
    images = [image for image in (item.image, item.rejected) if image is not None]
    hashes = [hashlib.sha256(image_bytes(item, image)).hexdigest() for image in images]
    masks = None if item.segmentation is None else item.segmentation.content()
    return [item.id, list(item.captions), hashes, masks, item.group]


def image_bytes(item: Item, source: ImageSource) -> bytes:
    """The bytes of an item's image file; a ValueError if it cannot be opened, or the source is not a file."""
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


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class SourceConfig(tfds.core.BuilderConfig):
    """Which items to pack: `read` downloads and reads them."""

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
        origin = {"description": "Images with captions."}
        if self.name != "captioned_folder":
            entry = published(self.name)
            origin = {"description": entry.name, "homepage": entry.origin}
            origin |= {"citation": entry.citation, "license": entry.licence}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
            **origin,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        """One split of all items; the downloader of TFDS is not used."""
        assert isinstance(self.builder_config, SourceConfig)
        return {SPLIT: self._generate_examples(self.builder_config.read())}

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number and record of each item; the index grows with them."""
        entries: list[dict[str, Any]] = []
        assert self.info.metadata is not None
        self.info.metadata.update(name=dataset.name, dropped=list(dataset.dropped), items=entries)
        for index, item in enumerate(dataset.items):
            record, entry = self._packed(item)
            entries.append(entry)
            yield index, record

    def _packed(self, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
        image = image_bytes(item, item.image)
        record: dict[str, Any] = {"id": item.id, "image": io.BytesIO(image), "captions": list(item.captions)}
        entry: dict[str, Any] = {
            "id": item.id,
            "captions": list(item.captions),
            "image": hashlib.sha256(image).hexdigest(),
        }
        if self.HAS_REJECTED:
            assert item.rejected is not None
            rejected = image_bytes(item, item.rejected)
            record |= {"rejected": io.BytesIO(rejected), "group": item.group or ""}
            entry |= {"rejected": hashlib.sha256(rejected).hexdigest(), "group": item.group}
        if self.HAS_MASKS:
            record |= {"masks_form": "", "masks": b"", "height": 0, "width": 0}
            masks: Any = item.segmentation
            masks = masks.decoded() if isinstance(masks, RecordMasks) else masks
            if masks is not None:
                form, data = masks.encoded()
                record |= {"masks_form": form, "masks": data, "height": masks.height, "width": masks.width}
                entry["masks"] = masks.content()
        return record, entry


class CocoVal2017(ItemsBuilder, skip_registration=True):
    """MS-COCO val2017: images, captions, masks of things and stuff."""

    HAS_MASKS = True


class Flickr8k(ItemsBuilder, skip_registration=True):
    """Flickr8k: images with five captions each."""


class PickAPic(ItemsBuilder, skip_registration=True):
    """Pick-a-Pic: a prompt, the image preferred, the image not preferred."""

    HAS_REJECTED = True


class CaptionedFolder(ItemsBuilder, skip_registration=True):
    """A user's images and captions."""


BUILDERS: dict[str, type[ItemsBuilder]] = {
    builder.name: builder for builder in (CaptionedFolder, CocoVal2017, Flickr8k, PickAPic)
}
