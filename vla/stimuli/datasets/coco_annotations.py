"""Reads COCO's annotation files, checking all that the readers rely on."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vla.records import is_git_lfs_pointer, listed

THING_IDS = range(1, 91)


@dataclasses.dataclass(frozen=True)
class CocoImage:
    """One entry of `images`.

    Attributes:
      number: The image's number, by which annotations refer to it.
      file_name: Its file, relative to the folder of photographs.
      height: Pixels.
      width: Pixels.
    """

    number: int
    file_name: str
    height: int
    width: int

    @property
    def item(self) -> str:
        """The item's id: the file name without extension, such as "000000000139"."""
        return PurePosixPath(self.file_name).stem


@dataclasses.dataclass(frozen=True)
class CocoCategory:
    """A kind of thing: its id (1..90), its name and the group it belongs to, such as 18, "dog", "animal"."""

    id: int
    name: str
    supercategory: str


@dataclasses.dataclass(frozen=True)
class Instances:
    """An instances file.

    Attributes:
      images: Every image that was annotated, by number; one without instances shows no thing.
      segmentations: Polygons and run lengths of each image's instances, as published, by number.
      categories: The kinds of things in each image, without repetition, in order of their ids, by number.
    """

    images: dict[int, CocoImage]
    segmentations: dict[int, list[Any]]
    categories: dict[int, tuple[CocoCategory, ...]]


def read_coco_captions(path: str | os.PathLike[str]) -> tuple[dict[int, CocoImage], dict[int, tuple[str, ...]]]:
    """Images of a captions file and, by image number, what was said of each, in published order.

    White space around a caption is not part of it (3,541 of the published ones end in some).

    Raises:
      ValueError: the file is absent, truncated, not as published, or a caption is empty.
    """
    path = Path(path)
    data = _read(path)
    images = _images(path, data)
    annotations = _records(path, data, "annotations", {"id": int, "image_id": int, "caption": str})
    _check_references(path, annotations, images)
    empty = [f"{images[a['image_id']].item} (annotation {a['id']})" for a in annotations if not a["caption"].strip()]
    if empty:
        raise ValueError(f"{path} has captions that are empty: {listed(empty)}. Mend or delete these annotations")
    captions: dict[int, tuple[str, ...]] = {}
    for annotation in annotations:
        number = annotation["image_id"]
        captions[number] = captions.get(number, ()) + (annotation["caption"].strip(),)
    return images, captions


def read_coco_instances(path: str | os.PathLike[str]) -> Instances:
    """An instances file (`instances_val2017.json`), polygons and run lengths not yet looked into.

    Raises:
      ValueError: the file is absent, truncated, not as published, or names a category that is not in its
        table, or is no thing (COCO-Stuff's own JSON has the ids 92..183).
    """
    path = Path(path)
    data = _read(path)
    images = _images(path, data)
    table = {
        record["id"]: CocoCategory(record["id"], record["name"], record["supercategory"])
        for record in _records(path, data, "categories", {"id": int, "name": str, "supercategory": str})
    }
    annotations = _records(
        path, data, "annotations", {"id": int, "image_id": int, "category_id": int, "segmentation": (list, dict)}
    )
    _check_references(path, annotations, images)
    unknown = [
        f"{a['category_id']} (annotation {a['id']} of {images[a['image_id']].item})"
        for a in annotations
        if a["category_id"] not in table or a["category_id"] not in THING_IDS
    ]
    if unknown:
        raise ValueError(
            f"{path} has instances of categories that are no things: {listed(unknown)}. Expected ids of its own "
            "table `categories`, from 1 to 90; give COCO's instances_*.json, not the stuff or panoptic annotations"
        )
    segmentations: dict[int, list[Any]] = {number: [] for number in images}
    kinds: dict[int, set[int]] = {number: set() for number in images}
    for annotation in annotations:
        segmentations[annotation["image_id"]].append(annotation["segmentation"])
        kinds[annotation["image_id"]].add(annotation["category_id"])
    categories = {number: tuple(table[id] for id in sorted(ids)) for number, ids in kinds.items()}
    return Instances(images, segmentations, categories)


def coco_categories(instances: str | os.PathLike[str]) -> dict[str, tuple[CocoCategory, ...]]:
    """Which kinds of things are in each annotated image, by item id.

    An image in which nothing was annotated has none. For analyses by supercategory:
    `{kind.supercategory for kind in coco_categories(path)["000000000139"]}`.

    Raises:
      ValueError: as `read_coco_instances`.
    """
    read = read_coco_instances(instances)
    return {image.item: read.categories[number] for number, image in read.images.items()}


def _read(path: Path) -> dict[str, Any]:
    """The file's JSON object."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}. Give COCO's annotation file") from error
    if is_git_lfs_pointer(content):
        raise ValueError(f"{path} is a Git LFS pointer, not the annotations: run `git lfs pull` in its repository")
    try:
        data = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is truncated or no JSON: {error}. Fetch or unpack the file again") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a {type(data).__name__}; expected COCO's object with `images`, `annotations`")
    return data


def _images(path: Path, data: Mapping[str, Any]) -> dict[int, CocoImage]:
    """Every image of the file by number, in published order."""
    records = _records(path, data, "images", {"id": int, "file_name": str, "height": int, "width": int})
    images = {r["id"]: CocoImage(r["id"], r["file_name"], r["height"], r["width"]) for r in records}
    outside = [
        image.file_name
        for image in images.values()
        if not image.file_name or ".." in image.file_name.split("/") or image.file_name.startswith("/")
    ]
    if outside:
        raise ValueError(f"{path} names images outside their folder: {listed(outside)}. Expected relative file names")
    flat = [image.file_name for image in images.values() if image.height < 1 or image.width < 1]
    if flat:
        raise ValueError(f"{path} gives images no positive height and width: {listed(flat)}")
    sharing: dict[str, list[str]] = {}
    for image in images.values():
        sharing.setdefault(image.item, []).append(image.file_name)
    shared = [f"{item!r} ({listed(files)})" for item, files in sharing.items() if len(files) > 1]
    if shared:
        raise ValueError(
            f"{path} has several images with the same id, the file name without extension: {listed(shared)}"
        )
    return images


def _records(path: Path, data: Mapping[str, Any], section: str, types: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The records of a section, each with the fields needed, their ids unique."""
    records = data.get(section)
    if not isinstance(records, list):
        raise ValueError(
            f"{path} has no list `{section}`; expected COCO's JSON, with {', '.join(f'`{t}`' for t in types)} in each "
            f"entry of it. It has {listed([repr(key) for key in sorted(data)]) or 'nothing'}"
        )
    bad = [
        f"number {place}" + (f" ({key})" if isinstance(record, dict) else "")
        for place, record in enumerate(records)
        for key, kind in types.items()
        if not isinstance(record, dict) or not isinstance(record.get(key), kind) or isinstance(record[key], bool)
    ]
    if bad:
        named = ", ".join(f"{key} ({_named(kind)})" for key, kind in types.items())
        raise ValueError(f"{path} has entries of `{section}` that lack a field: {listed(bad)}. Each needs {named}")
    seen, twice = set(), []
    for record in records:
        if record["id"] in seen:
            twice.append(str(record["id"]))
        seen.add(record["id"])
    if twice:
        raise ValueError(f"{path} has ids twice in `{section}`: {listed(twice)}. Keep one entry for each id")
    return records


def _named(kind: Any) -> str:
    """What to call a field's type in messages."""
    return " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))


def _check_references(path: Path, annotations: Sequence[dict[str, Any]], images: Mapping[int, CocoImage]) -> None:
    """Refuse annotations of images that the file itself does not list."""
    dangling = [f"{a['id']} (image {a['image_id']})" for a in annotations if a["image_id"] not in images]
    if dangling:
        raise ValueError(
            f"{path} has annotations of images that are not in its list `images`: {listed(dangling)}. "
            "The file is incomplete: fetch it again, or delete these annotations"
        )
