"""Reads TensorFlow Datasets by the names of their image and text features."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla.checks import WholeNumber
from vla.records import Dataset, canonical_hash
from vla.stimuli.datasets.columns import Table, read_table
from vla.stimuli.datasets.prepared import read_record
from vla.stimuli.datasets.register import is_prepared

# No namespaces (`kaggle:name`): those load code from elsewhere.
NAME = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9_.+-]+)?(:\d+\.(\d+|\*)\.(\d+|\*))?")


@dataclasses.dataclass(frozen=True)
class TfdsImage:
    """The image in a feature of a record that TensorFlow Datasets prepared, read when it is opened."""

    folder: Path
    split: str
    row: int
    feature: str

    def open(self) -> Any:
        """The image file as bytes; a uint8 array if the feature stores pixels."""
        return read_record(self.folder, self.split, self.row, str(self.row))[self.feature]

    def content(self) -> str:
        """SHA-256 of the image file, or of the pixels and their shape."""
        image = self.open()
        if isinstance(image, bytes):
            return hashlib.sha256(image).hexdigest()
        return canonical_hash([list(image.shape), hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()])


def read_tfds(
    source: str | os.PathLike[str],
    *,
    image: str = "image",
    text: str | Sequence[str] = "caption",
    id: str | None = None,
    split: str | None = None,
    name: str | None = None,
    n: WholeNumber | str | None = None,
    seed: int = 42,
    missing_images: str = "refuse",
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Records of a TensorFlow Datasets dataset as items.

    Args:
      source: A name such as "coco_captions/2014", which TensorFlow Datasets downloads and prepares if necessary (for
        some datasets it needs TensorFlow); or the directory of a prepared dataset.
      image: Feature of images.
      text: Feature of captions, a string or a sequence of strings per record; or several features. A field of a nested
        feature is named with a dot: `captions.text`.
      id: Feature of ids; None for record numbers from 0.
      split: Such as "validation"; required if there are several.
      name: Name of the dataset; by default that of TensorFlow Datasets.
      n: Number of records to draw; None or "all" for all.
      seed: Seed of the sample.
      missing_images: Has no effect: every record has an image.
      data_dir: Folder of TensorFlow Datasets; None for its default.

    Raises:
      ValueError: No such dataset, split or feature; a feature of another type; a file format other than array_record;
        repeated ids; an empty caption.
    """
    folder, own_name = _prepared(source, data_dir)
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(str(folder)).info
    if info.file_format is None or info.file_format.value != "array_record":
        raise ValueError(
            f"{folder} holds {info.file_format and info.file_format.value} files, which cannot be read record by "
            'record; prepare it with file_format="array_record"'
        )
    chosen: str = next(iter(info.splits)) if split is None and len(info.splits) == 1 else str(split)
    if chosen not in info.splits:
        raise ValueError(f"split={split!r}: {folder} has {', '.join(sorted(info.splits))}; name one of them")
    features: Any = info.features
    _check_image(features, image, folder)
    length = info.splits[chosen].num_examples

    def cells(column: str, rows: Sequence[int] | None) -> Sequence[Any]:
        return [read_record(folder, chosen, row, str(row))[column] for row in (range(length) if rows is None else rows)]

    images = [TfdsImage(folder, chosen, row, image) for row in range(length)]
    table = Table(f"{folder} ({chosen})", tuple(features.keys()), cells, images)
    return read_table(table, image, text, id, name or own_name, n, seed, missing_images)


def _check_image(features: Any, image: str, folder: Path) -> None:
    """Refuse a feature that is not an image; a missing one is reported later."""
    import tensorflow_datasets as tfds

    feature: Any = features[image] if image in features.keys() else None
    shape: Any = getattr(feature, "shape", ())
    pixels = isinstance(feature, tfds.features.Tensor) and feature.np_dtype == np.uint8 and len(shape) in (2, 3)
    if feature is not None and not pixels and not isinstance(feature, tfds.features.Image):
        raise ValueError(
            f"image={image!r}: the feature of {folder} is a {type(feature).__name__}; expected an Image, or uint8 "
            "pixels [H, W, 3]"
        )


def _prepared(source: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None) -> tuple[Path, str]:
    import tensorflow_datasets as tfds

    if is_prepared(source):
        path = Path(os.path.abspath(Path(source).expanduser()))
        return path, tfds.builder_from_directory(str(path)).name
    if not NAME.fullmatch(str(source)):
        raise ValueError(
            f"{source} is neither a prepared dataset (a folder with dataset_info.json) nor a name of TensorFlow "
            'Datasets such as "coco_captions/2014"'
        )
    try:
        folder = None if data_dir is None else str(Path(data_dir).expanduser())
        builder: Any = tfds.builder(str(source), data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
    # TensorFlow Datasets, network libraries and a missing TensorFlow raise errors of many types.
    except Exception as error:
        raise ValueError(f"TensorFlow Datasets cannot prepare {source}: {error}") from error
    return Path(builder.data_dir), builder.name
