"""TensorFlow Datasets builders that pack items, bytes unchanged, into array_record files.

No TensorFlow is needed. The features are plain, so TensorFlow Datasets reads the result without this library:
`tfds.builder_from_directory(folder).as_data_source("items")`.
"""

# The base class takes skip_registration by a metaclass, which the checker does not see.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vla.records import Dataset, Item
from vla.stimuli.datasets.prepare import image_bytes
from vla.stimuli.datasets.prepared import SPLIT
from vla.stimuli.datasets.register import Published, published

# Of the form of the records; a change makes every dataset be prepared anew.
VERSION = "1.0.0"


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class SourceConfig(tfds.core.BuilderConfig):
    """Which items to pack.

    Attributes:
      read: Downloads what is missing, or looks where the user said, and returns the items.
    """

    read: Callable[[], Dataset]

    def __repr__(self) -> str:
        return self.name


class ItemsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Packs the items of one dataset in their order, and a light index of them as metadata.

    The index has ids, captions and checksums, so that a dataset can be looked at, sampled and named without
    reading an image.
    """

    VERSION = tfds.core.Version(VERSION)
    HAS_MASKS = False
    HAS_REJECTED = False

    def _info(self) -> tfds.core.DatasetInfo:
        """Features, and where the dataset comes from."""
        image = tfds.features.Image(shape=(None, None, 3))
        features: dict[str, Any] = {
            "id": tfds.features.Text(),
            "image": image,
            "captions": tfds.features.Sequence(tfds.features.Text()),
        }
        if self.HAS_REJECTED:
            features |= {"rejected": image, "group": tfds.features.Text()}
        if self.HAS_MASKS:
            # As published: a pixel map's PNG, or polygons and run lengths as JSON.
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
        """What the register says of the dataset."""
        return published(self.name)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        """One split, of all items; TFDS's own downloader is not used."""
        assert isinstance(self.builder_config, SourceConfig)
        return {SPLIT: self._generate_examples(self.builder_config.read())}

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each item's place and its record; the index grows as they are made."""
        entries: list[dict[str, Any]] = []
        assert self.info.metadata is not None
        self.info.metadata.update(name=dataset.name, dropped=list(dataset.dropped), items=entries)
        for place, item in enumerate(dataset.items):
            record, entry = self._packed(item)
            entries.append(entry)
            yield place, record

    def _packed(self, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
        """An item's record and its entry in the index."""
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
    """A user's own photographs and captions."""

    def _published(self) -> None:
        """Nothing: they are the user's."""
        return None


BUILDERS: dict[str, type[ItemsBuilder]] = {
    "captioned_folder": CaptionedFolder,
    "coco_val2017": CocoVal2017,
    "flickr8k": Flickr8k,
    "pick_a_pic": PickAPic,
}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
