"""Reads MS-COCO as published: images, captions, and masks of things and stuff."""

import collections
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vla.checks import POLICIES, check_choice, listed, refuse_absent, refuse_listed
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item, Segmentation
from vla.stimuli.datasets.captioned_folder import existing_folder
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap, label_convention

THING_IDS = range(1, 91)


@dataclasses.dataclass(frozen=True)
class CocoImage:
    """One entry of `images`: COCO's id, its file relative to the folder of images, and its size in pixels."""

    number: int
    file_name: str
    height: int
    width: int

    @property
    def item(self) -> str:
        """The id of the item: the file name without suffix, such as "000000000139"."""
        return PurePosixPath(self.file_name).stem


@dataclasses.dataclass(frozen=True)
class CocoCategory:
    """A category of things: id (1..90), name and supercategory, such as 18, "dog", "animal"."""

    id: int
    name: str
    supercategory: str


@dataclasses.dataclass(frozen=True)
class Instances:
    """An instances file by image number: annotated images, their instances as published, and their categories.

    An image without instances shows no things. Categories are each once, in order of id.
    """

    images: dict[int, CocoImage]
    segmentations: dict[int, list[Any]]
    categories: dict[int, tuple[CocoCategory, ...]]


def read_coco_captions(path: str | os.PathLike[str]) -> tuple[dict[int, CocoImage], dict[int, tuple[str, ...]]]:
    """The images of a captions file, and the captions of each image in published order; both by image number.

    White space around captions is removed (3,541 of the published ones end in some). A ValueError names what is
    missing, truncated or not in COCO's format, and empty captions.
    """
    path = Path(path)
    data = _read(path)
    images = _images(path, data)
    annotations = _annotations(path, data, images, {"caption": str})
    empty = [f"{images[a['image_id']].item} (annotation {a['id']})" for a in annotations if not a["caption"].strip()]
    refuse_listed(empty, f"{path} has captions that are empty", "Correct or delete these annotations")
    captions: dict[int, tuple[str, ...]] = {}
    for annotation in annotations:
        number = annotation["image_id"]
        captions[number] = captions.get(number, ()) + (annotation["caption"].strip(),)
    return images, captions


def read_coco_instances(path: str | os.PathLike[str]) -> Instances:
    """An instances file (`instances_val2017.json`); polygons and run lengths are not checked yet.

    Raises:
      ValueError: The file is missing, truncated or not in COCO's format, or has a category that is not in its table or
      is
        not a thing (COCO-Stuff's JSON has the ids 92..183).
    """
    path = Path(path)
    data = _read(path)
    images = _images(path, data)
    records = _records(path, data, "categories", {"id": int, "name": str, "supercategory": str})
    table = {r["id"]: CocoCategory(r["id"], r["name"], r["supercategory"]) for r in records}
    annotations = _annotations(path, data, images, {"category_id": int, "segmentation": (list, dict)})
    refuse_listed(
        [
            f"{a['category_id']} (annotation {a['id']} of {images[a['image_id']].item})"
            for a in annotations
            if a["category_id"] not in table or a["category_id"] not in THING_IDS
        ],
        f"{path} has instances of categories that are no things",
        "Expected ids of its own table `categories`, from 1 to 90; give COCO's instances_*.json, not the stuff or "
        "panoptic annotations",
    )
    segmentations: dict[int, list[Any]] = {number: [] for number in images}
    ids: dict[int, set[int]] = {number: set() for number in images}
    for annotation in annotations:
        segmentations[annotation["image_id"]].append(annotation["segmentation"])
        ids[annotation["image_id"]].add(annotation["category_id"])
    categories = {number: tuple(table[id] for id in sorted(of_image)) for number, of_image in ids.items()}
    return Instances(images, segmentations, categories)


def coco_categories(instances: str | os.PathLike[str]) -> dict[str, tuple[CocoCategory, ...]]:
    """The categories of things in each annotated image, by item id; () for an image without instances.

    For analyses by supercategory: `{c.supercategory for c in coco_categories(path)["000000000139"]}`.
    """
    read = read_coco_instances(instances)
    return {image.item: read.categories[number] for number, image in read.images.items()}


def _read(path: Path) -> dict[str, Any]:
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
    records = _records(path, data, "images", {"id": int, "file_name": str, "height": int, "width": int})
    images = {r["id"]: CocoImage(r["id"], r["file_name"], r["height"], r["width"]) for r in records}
    names = [image.file_name for image in images.values()]
    outside = [name for name in names if not name or ".." in name.split("/") or name.startswith("/")]
    refuse_listed(outside, f"{path} names images outside their folder", "Expected relative file names")
    flat = [image.file_name for image in images.values() if image.height < 1 or image.width < 1]
    refuse_listed(flat, f"{path} gives images no positive height and width", "Correct these entries")
    files: dict[str, list[str]] = {}
    for image in images.values():
        files.setdefault(image.item, []).append(image.file_name)
    refuse_listed(
        [f"{item!r} ({listed(of_item)})" for item, of_item in files.items() if len(of_item) > 1],
        f"{path} has several images with the same id, the file name without extension",
        "Rename all but one",
    )
    return images


def _records(path: Path, data: Mapping[str, Any], section: str, types: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The records of a section, checked for fields, types and unique ids."""
    records = data.get(section)
    if not isinstance(records, list):
        raise ValueError(
            f"{path} has no list `{section}`; expected COCO's JSON, with {', '.join(f'`{t}`' for t in types)} in each "
            f"entry of it. It has {listed([repr(key) for key in sorted(data)]) or 'nothing'}"
        )
    bad = [
        f"number {number}" + (f" ({key})" if isinstance(record, dict) else "")
        for number, record in enumerate(records)
        for key, of_type in types.items()
        if not isinstance(record, dict) or not isinstance(record.get(key), of_type) or isinstance(record[key], bool)
    ]
    named = {key: of_type if isinstance(of_type, tuple) else (of_type,) for key, of_type in types.items()}
    fields = ", ".join(f"{key} ({' or '.join(each.__name__ for each in several)})" for key, several in named.items())
    refuse_listed(bad, f"{path} has entries of `{section}` that lack a field", f"Each needs {fields}")
    twice = [str(id) for id, times in collections.Counter(r["id"] for r in records).items() if times > 1]
    refuse_listed(twice, f"{path} has ids twice in `{section}`", "Keep one entry for each id")
    return records


def _annotations(
    path: Path, data: Mapping[str, Any], images: Mapping[int, CocoImage], types: Mapping[str, Any]
) -> Sequence[dict[str, Any]]:
    """The annotations, whose images the file must list."""
    annotations = _records(path, data, "annotations", {"id": int, "image_id": int, **types})
    refuse_listed(
        [f"{a['id']} (image {a['image_id']})" for a in annotations if a["image_id"] not in images],
        f"{path} has annotations of images that are not in its list `images`",
        "The file is incomplete: fetch it again, or delete these annotations",
    )
    return annotations


MASKS = ("auto", "instances", "none", "pixel_maps")
MASK_POLICIES = ("drop", "keep", "refuse")


@dataclasses.dataclass(frozen=True)
class CocoFiles:
    """The folder of images, captions file, instances file and folder of COCO-Stuff's pixel maps of one split."""

    images: Path
    captions: Path
    instances: Path | None
    stuffthingmaps: Path | None


def locate_coco(directory: str | os.PathLike[str], split: str = "val2017") -> CocoFiles:
    """Find the files of a split under the names that the published archives give them.

    Images: `val2017/`, `images/val2017/` or `images/`. Annotations, in `annotations/` or in the directory itself:
    `captions_val2017.json`, `instances_val2017.json` (else the only `instances_val2017*.json`). Pixel maps:
    `stuffthingmaps/val2017/`, or `annotations/val2017/`, as in COCO-Stuff's instructions.

    Raises:
      ValueError: No such directory, no images, no captions, or several instances files.
    """
    base = existing_folder(directory, f"that holds {split}/ and annotations/")
    images = _first(base, Path.is_dir, split, f"images/{split}", "images")
    captions = _first(base, Path.is_file, f"annotations/captions_{split}.json", f"captions_{split}.json")
    if images is None or captions is None:
        missing = [] if images else [f"images ({split}/, images/{split}/ or images/)"]
        missing += [] if captions else [f"captions (annotations/captions_{split}.json or captions_{split}.json)"]
        raise ValueError(
            f"{base} has no {' and no '.join(missing)}. Unpack {split}.zip and annotations_trainval{split[-4:]}.zip "
            "there, or name the parts to read_coco"
        )
    instances = _first(base, Path.is_file, f"annotations/instances_{split}.json", f"instances_{split}.json")
    if instances is None:
        folders = (base / "annotations", base)
        others = [path for folder in folders for path in folder.glob(f"instances_{split}*.json")]
        if len(others) > 1:
            names = listed(sorted(str(path.relative_to(base)) for path in others))
            raise ValueError(f"{base} has several files of instances: {names}. Name one to read_coco")
        instances = others[0] if others else None
    maps = _first(base, lambda path: any(path.glob("*.png")), f"stuffthingmaps/{split}", f"annotations/{split}")
    return CocoFiles(images, captions, instances, maps)


def read_coco_directory(
    directory: str | os.PathLike[str],
    split: str = "val2017",
    *,
    masks: str = "auto",
    name: str | None = None,
    missing_images: str = "refuse",
    missing_captions: str = "refuse",
    missing_masks: str = "refuse",
) -> Dataset:
    """A split of COCO from a directory with the published files (see `locate_coco`).

    Masks are "pixel_maps" (COCO-Stuff's: things and stuff), "instances" (things only), "none", or "auto" for the first
    of these that exists. The name is `coco_<split>` by default, the policies are as of `read_coco`.

    Raises:
      ValueError: The requested masks are missing; or as `locate_coco` and `read_coco`.
    """
    check_choice("masks", masks, MASKS)
    files = locate_coco(directory, split)
    if masks == "pixel_maps" and files.stuffthingmaps is None:
        raise ValueError(
            f"{directory} has no pixel maps (stuffthingmaps/{split}/*.png). Unpack stuffthingmaps_trainval2017.zip "
            'there, or pass masks="instances" for things alone'
        )
    if masks == "instances" and files.instances is None:
        raise ValueError(
            f"{directory} has no annotations/instances_{split}.json. Unpack annotations_trainval{split[-4:]}.zip "
            'there, or pass masks="none"'
        )
    return read_coco(
        files.images,
        files.captions,
        files.instances if masks in ("auto", "instances") else None,
        files.stuffthingmaps if masks in ("auto", "pixel_maps") else None,
        name=f"coco_{split}" if name is None else name,
        missing_images=missing_images,
        missing_captions=missing_captions,
        missing_masks=missing_masks,
    )


def read_coco(
    images: str | os.PathLike[str],
    captions: str | os.PathLike[str],
    instances: str | os.PathLike[str] | None = None,
    stuffthingmaps: str | os.PathLike[str] | None = None,
    *,
    name: str = "coco",
    missing_images: str = "refuse",
    missing_captions: str = "refuse",
    missing_masks: str = "refuse",
) -> Dataset:
    """COCO's images with their captions and masks.

    The captions file lists the images; other files in the folder are ignored. Items are in order of image number,
    captions in published order (most images have five, a few six or seven). An item's id is the file name without
    suffix, "000000000139". Masks are read when they are used; they cover the stored pixels, see
    `vla.records.Segmentation`.

    Args:
      images: Folder of the images.
      captions: A file such as `captions_val2017.json`.
      instances: A file such as `instances_val2017.json`: masks of things, from polygons and run lengths.
      stuffthingmaps: Folder of COCO-Stuff's pixel maps: masks of things and stuff; they take precedence over
        `instances`. Labels are those of `stuffthingmaps` or of `stuff_*_pixelmaps` (see `label_convention`).
      name: Name of the dataset.
      missing_images: For captions without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      missing_captions: The same for images without captions.
      missing_masks: The same for images without a pixel map, or not listed in the instances file; "keep" keeps them as
        items without masks, which views of things or stuff cannot show. An image that the instances file lists without
        instances is not missing: its mask of things is empty.

    Raises:
      ValueError: A folder or file is missing, truncated or not in COCO's format; a caption is empty; an image, caption
      or
        mask is missing; the annotations disagree on the size of an image; no item left.
    """
    check_choice("missing_images", missing_images, POLICIES)
    check_choice("missing_captions", missing_captions, POLICIES)
    check_choice("missing_masks", missing_masks, MASK_POLICIES)
    folder = existing_folder(images, "of COCO's images")
    listing, captions_of = read_coco_captions(captions)
    ordered = sorted(listing.values(), key=lambda image: image.number)

    absent = [image.item for image in ordered if not (folder / image.file_name).is_file()]
    fault = f"of the {len(ordered)} images in {captions} are not in {folder}"
    refuse_absent("missing_images", missing_images, absent, fault, "Put them there")
    uncaptioned = [image.item for image in ordered if image.number not in captions_of]
    fault = f"images in {captions} have no caption"
    refuse_absent("missing_captions", missing_captions, uncaptioned, fault, "Caption them")
    left_out = {*absent, *uncaptioned}
    complete = [image for image in ordered if image.item not in left_out]
    masks, source = _masks(complete, instances, stuffthingmaps)
    without_masks = [image.item for image in complete if source and image.number not in masks]
    fault = f"of the {len(complete)} images have no masks in {source}"
    remedy = 'Add them, pass missing_masks="keep" for items without masks'
    refuse_absent("missing_masks", missing_masks, without_masks, fault, remedy)
    if missing_masks == "drop":
        left_out |= {*without_masks}
    items = tuple(
        Item(image.item, folder / image.file_name, captions_of[image.number], segmentation=masks.get(image.number))
        for image in complete
        if image.item not in left_out
    )
    if not items:
        raise ValueError(
            f"no item is left: none of the {len(ordered)} images in {captions} is in {folder} with captions and the "
            f"requested masks. {listed([image.file_name for image in ordered])} were looked for"
        )
    return Dataset(name, items, tuple(sorted(left_out)))


def _first(base: Path, exists: Callable[[Path], bool], *names: str) -> Path | None:
    return next((base / name for name in names if exists(base / name)), None)


def _masks(
    images: list[CocoImage], instances: str | os.PathLike[str] | None, maps: str | os.PathLike[str] | None
) -> tuple[Mapping[int, Segmentation], str]:
    """The available masks by image number, and their source; both empty if none were requested."""
    if maps is not None:
        folder = existing_folder(maps, "of COCO-Stuff's pixel maps")
        files = {image: folder / f"{image.item}.png" for image in images}
        files = {image: file for image, file in files.items() if file.is_file()}
        labels = label_convention(list(files.values()))
        maps_by_number = {i.number: PixelMap(i.item, file, i.height, i.width, labels) for i, file in files.items()}
        return maps_by_number, str(folder)
    if instances is None:
        return {}, ""
    read = read_coco_instances(instances)
    pairs = [(image, read.images[image.number]) for image in images if image.number in read.images]
    refuse_listed(
        [
            f"{image.item} ({image.width} x {image.height} there, {other.width} x {other.height} here)"
            for image, other in pairs
            if (image.height, image.width) != (other.height, other.width)
        ],
        f"{instances} gives images another size than the captions file",
        "A mask must be of its image's size: give annotations of the same images",
    )
    outlines = {image: json.dumps(read.segmentations[image.number], separators=(",", ":")) for image, _ in pairs}
    masks = {i.number: InstanceMasks(i.item, i.height, i.width, outline) for i, outline in outlines.items()}
    return masks, str(instances)
