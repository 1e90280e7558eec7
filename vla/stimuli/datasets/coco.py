"""Reads MS-COCO as published: images, captions, and masks of things and stuff."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item, Segmentation
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap, label_convention

THING_IDS = range(1, 91)


@dataclasses.dataclass(frozen=True)
class CocoImage:
    """One entry of `images`.

    Attributes:
      number: COCO's id of the image, used by annotations.
      file_name: Its file, relative to the folder of images.
      height: Pixels.
      width: Pixels.
    """

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
    """An instances file.

    Attributes:
      images: Every annotated image by number; one without instances shows no things.
      segmentations: Polygons or run lengths of the instances of each image, as published, by number.
      categories: The categories in each image, each once, in order of id, by number.
    """

    images: dict[int, CocoImage]
    segmentations: dict[int, list[Any]]
    categories: dict[int, tuple[CocoCategory, ...]]


def read_coco_captions(path: str | os.PathLike[str]) -> tuple[dict[int, CocoImage], dict[int, tuple[str, ...]]]:
    """The images of a captions file, and the captions of each image in published order; both by image number.

    White space around captions is removed (3,541 of the published ones end in some).

    Raises:
      ValueError: The file is missing, truncated or not in COCO's format, or a caption is empty.
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
    """An instances file (`instances_val2017.json`); polygons and run lengths are not checked yet.

    Raises:
      ValueError: The file is missing, truncated or not in COCO's format, or has a category that is not in its table or
        is not a thing (COCO-Stuff's JSON has the ids 92..183).
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
    """The categories of things in each annotated image, by item id; () for an image without instances.

    For analyses by supercategory: `{c.supercategory for c in coco_categories(path)["000000000139"]}`.

    Raises:
      ValueError: As `read_coco_instances`.
    """
    read = read_coco_instances(instances)
    return {image.item: read.categories[number] for number, image in read.images.items()}


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in the file."""
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
    """The images of the file by number, in published order."""
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
    """The records of a section, checked for fields, types and unique ids."""
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
    """The type of a field, for messages."""
    return " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))


def _check_references(path: Path, annotations: Sequence[dict[str, Any]], images: Mapping[int, CocoImage]) -> None:
    """Refuse annotations of images that the file does not list."""
    dangling = [f"{a['id']} (image {a['image_id']})" for a in annotations if a["image_id"] not in images]
    if dangling:
        raise ValueError(
            f"{path} has annotations of images that are not in its list `images`: {listed(dangling)}. "
            "The file is incomplete: fetch it again, or delete these annotations"
        )


MASKS = ("auto", "instances", "none", "pixel_maps")
MASK_POLICIES = ("drop", "keep", "refuse")


@dataclasses.dataclass(frozen=True)
class CocoFiles:
    """The files of one split.

    Attributes:
      images: Folder of the images.
      captions: The captions file.
      instances: The instances file, or None.
      stuffthingmaps: Folder of COCO-Stuff's pixel maps, or None.
    """

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
    base = Path(os.path.abspath(Path(directory).expanduser()))
    if not base.is_dir():
        raise ValueError(f"{directory} is not a folder; expected the folder that holds {split}/ and annotations/")
    images = _first(base, Path.is_dir, split, f"images/{split}", "images")
    captions = _first(base, Path.is_file, f"annotations/captions_{split}.json", f"captions_{split}.json")
    lost = [
        what
        for what, found in (
            (f"photographs ({split}/, images/{split}/ or images/)", images),
            (f"captions (annotations/captions_{split}.json or captions_{split}.json)", captions),
        )
        if found is None
    ]
    if images is None or captions is None:
        raise ValueError(
            f"{base} has no {' and no '.join(lost)}. Unpack {split}.zip and annotations_trainval{split[-4:]}.zip "
            "there, or name the parts to read_coco"
        )
    instances = _first(base, Path.is_file, f"annotations/instances_{split}.json", f"instances_{split}.json")
    if instances is None:
        others = [path for place in (base / "annotations", base) for path in place.glob(f"instances_{split}*.json")]
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

    Args:
      directory: The directory.
      split: Such as "val2017".
      masks: "pixel_maps" (COCO-Stuff's: things and stuff), "instances" (things only), "none", or "auto" for the first
        of these that is there.
      name: Name of the dataset; by default `coco_<split>`.
      missing_images: As of `read_coco`.
      missing_captions: As of `read_coco`.
      missing_masks: As of `read_coco`.

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
    suffix, "000000000139".

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

    Returns:
      The dataset; masks are read when they are used. They cover the stored pixels: if an image has an EXIF
      orientation, its masks are turned with it. A mask is taken as upright only if its size fits the upright image
      alone.

    Raises:
      ValueError: A folder or file is missing, truncated or not in COCO's format; a caption is empty; an image, caption
        or mask is missing; the annotations disagree on the size of an image; no item left. The message lists what is
        wrong and the remedy.
    """
    check_choice("missing_images", missing_images, POLICIES)
    check_choice("missing_captions", missing_captions, POLICIES)
    check_choice("missing_masks", missing_masks, MASK_POLICIES)
    folder = Path(os.path.abspath(Path(images).expanduser()))
    if not folder.is_dir():
        raise ValueError(f"{images} is not a folder; expected the folder of COCO's photographs")
    listing, captions_of = read_coco_captions(captions)
    ordered = sorted(listing.values(), key=lambda image: image.number)

    absent = [image.item for image in ordered if not (folder / image.file_name).is_file()]
    refuse_absent(
        "missing_images",
        missing_images,
        absent,
        f"of the {len(ordered)} images in {captions} are not in {folder}",
        "Put them there",
    )
    uncaptioned = [image.item for image in ordered if image.number not in captions_of]
    refuse_absent(
        "missing_captions", missing_captions, uncaptioned, f"images in {captions} have no caption", "Caption them"
    )
    left_out = {*absent, *uncaptioned}
    here = [image for image in ordered if image.item not in left_out]
    masks, source = _masks(here, instances, stuffthingmaps)
    without_masks = [image.item for image in here if source and image.number not in masks]
    refuse_absent(
        "missing_masks",
        missing_masks,
        without_masks,
        f"of the {len(here)} photographs have no masks in {source}",
        'Add them, pass missing_masks="keep" to have these items without masks',
    )
    left_out |= {*(without_masks if missing_masks == "drop" else ())}
    items = tuple(
        Item(image.item, folder / image.file_name, captions_of[image.number], segmentation=masks.get(image.number))
        for image in here
        if image.item not in left_out
    )
    if not items:
        raise ValueError(
            f"no item is left: none of the {len(ordered)} images in {captions} is in {folder} with all that was asked "
            f"for. {listed([image.file_name for image in ordered])} were looked for"
        )
    return Dataset(name, items, tuple(sorted(left_out)))


def _first(base: Path, there: Callable[[Path], bool], *names: str) -> Path | None:
    """The first of several paths in a folder that exists."""
    return next((base / name for name in names if there(base / name)), None)


def _masks(
    images: list[CocoImage], instances: str | os.PathLike[str] | None, maps: str | os.PathLike[str] | None
) -> tuple[Mapping[int, Segmentation], str]:
    """The available masks by image number, and their source; both empty if none were requested."""
    if maps is not None:
        folder = Path(os.path.abspath(Path(maps).expanduser()))
        if not folder.is_dir():
            raise ValueError(f"{maps} is not a folder; expected the folder of COCO-Stuff's pixel maps")
        files = {image: folder / f"{image.item}.png" for image in images}
        files = {image: file for image, file in files.items() if file.is_file()}
        labels = label_convention(list(files.values()))
        maps_by_number = {i.number: PixelMap(i.item, file, i.height, i.width, labels) for i, file in files.items()}
        return maps_by_number, str(folder)
    if instances is None:
        return {}, ""
    read = read_coco_instances(instances)
    both = [(image, read.images[image.number]) for image in images if image.number in read.images]
    different = [
        f"{image.item} ({image.width} x {image.height} there, {other.width} x {other.height} here)"
        for image, other in both
        if (image.height, image.width) != (other.height, other.width)
    ]
    if different:
        raise ValueError(
            f"{instances} gives images another size than the captions file: {listed(different)}; a mask must be of its "
            "image's size. Give annotations of the same images"
        )
    return {
        image.number: InstanceMasks(
            image.item, image.height, image.width, json.dumps(read.segmentations[image.number], separators=(",", ":"))
        )
        for image, _ in both
    }, str(instances)
