"""Reads a folder of photographs with a captions file as a dataset."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vla.records import Dataset, Item, listed
from vla.stimuli.datasets.captions_file import CaptionRow, read_captions
from vla.stimuli.images import has_image_suffix

CAPTION_FILES = ("captions.txt", "captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")
POLICIES = ("drop", "refuse")


def read_captioned_folder(
    folder: str | os.PathLike[str],
    captions: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    missing_images: str = "refuse",
    missing_captions: str = "refuse",
) -> Dataset:
    """Photographs of a folder with what people said of them.

    Kaggle's Flickr8k is read as published, from `flickr8k` (`captions.txt` beside `Images/`) and from
    `flickr8k/Images` alike. Items come in order of first appearance in the captions file, captions in
    published order; a file's forms are those of `vla.stimuli.datasets.captions_file`.

    Args:
      folder: The photographs, directly or in its `Images` (or `images`) folder, in subfolders if the
        captions file names them so.
      captions: The captions file, or its name in the folder; by default the first of CAPTION_FILES that
        is in the folder, else in its parent.
      name: The dataset's name; by default the folder's (of `flickr8k/Images`: `flickr8k`).
      missing_images: What to do with captions whose photograph is absent: "refuse", or "drop" to leave
        them out and record their ids in `Dataset.dropped`.
      missing_captions: The same for photographs in the folder that no caption describes.

    Returns:
      The dataset; an item's id is the one its lines give, else the file name without extension.

    Raises:
      ValueError: no such folder; no captions file; a line of it that cannot be used; an image or a caption
        missing under "refuse"; two images with one id, or one image with two; no item left. Each error
        names every offender (the first few, and how many more) and the remedy.
    """
    for setting, value in (("missing_images", missing_images), ("missing_captions", missing_captions)):
        if value not in POLICIES:
            raise ValueError(f"{setting}={value!r}; expected one of {', '.join(POLICIES)}")
    # Made absolute but not resolved: where Images is a link, its parent is the folder the user sees.
    base = Path(os.path.abspath(Path(folder).expanduser()))
    if not base.is_dir():
        raise ValueError(f"{folder} is not a folder; expected the folder that holds the photographs")
    file = _captions_file(base, captions)
    said, ids = _by_image(file, read_captions(file))
    root = _root(base, file, list(said))

    paths = {image: root / image for image in said}
    absent = [image for image in said if not _present(paths[image], base)]
    if absent and missing_images == "refuse":
        raise ValueError(
            f"{len(absent)} of the {len(said)} images named in {file} are not in {root}: {listed(absent)}. "
            'Put them there, or pass missing_images="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)" + _same_but_for_spelling(absent, root)
        )
    _refuse_one_file_twice(file, [paths[image] for image in said if image not in absent])
    known = {os.path.realpath(path) for path in paths.values()}
    wordless = sorted({image for image, told in said.items() if not told}.difference(absent))
    unnamed = [
        path
        for path in _photographs(root if root.is_relative_to(base) else base)
        if os.path.realpath(path) not in known
    ]
    if (wordless or unnamed) and missing_captions == "refuse":
        names = wordless + [str(path.relative_to(base)) for path in unnamed]
        raise ValueError(
            f"{len(names)} photographs in {base} have no caption in {file}: {listed(names)}. "
            'Caption them, or pass missing_captions="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)"
        )
    left_out = {*absent, *wordless}
    items = tuple(Item(ids[image], paths[image], said[image]) for image in said if image not in left_out)
    if not items:
        raise ValueError(
            f"no item is left: none of the {len(said)} images named in {file} is in {base} with a caption. "
            f"{listed(list(said))} were looked for in {root}"
        )
    dropped = {ids[image] for image in left_out}
    # A photograph that no line names has no id of its own: never record it under one that an item bears.
    borne = {item.id for item in items}
    dropped |= {path.name if path.stem in borne else path.stem for path in unnamed}
    return Dataset(name or _name(base), items, tuple(sorted(dropped)))


def _captions_file(base: Path, captions: str | os.PathLike[str] | None) -> Path:
    """The captions file asked for, or the first one with a usual name."""
    if captions is not None:
        given = Path(captions).expanduser()
        for path in (given, base / given):
            if path.is_file():
                return Path(os.path.abspath(path))
        raise ValueError(f"no captions file {captions}: looked for {given} and for {base / given}")
    for place in (base, base.parent):
        for usual in CAPTION_FILES:
            if (place / usual).is_file():
                return place / usual
    raise ValueError(
        f"no captions file in {base} or in {base.parent}: looked for {', '.join(CAPTION_FILES)}. "
        "Put one there, or name it with captions="
    )


def _by_image(file: Path, rows: Sequence[CaptionRow]) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Captions and id of each image, in order of first appearance; ids are one to one with images."""
    said: dict[str, tuple[str, ...]] = {}
    given: dict[str, dict[str, int]] = {}
    for row in rows:
        said[row.image] = said.get(row.image, ()) + row.captions
        if row.id is not None:
            given.setdefault(row.image, {}).setdefault(row.id, row.line)
    torn = [
        f"{image} ({', '.join(f'{id!r} on line {line}' for id, line in lines.items())})"
        for image, lines in given.items()
        if len(lines) > 1
    ]
    if torn:
        raise ValueError(f"{file} gives one image several ids: {listed(torn)}. Give each image one id")
    ids = {image: next(iter(given.get(image, [PurePosixPath(image).stem]))) for image in said}
    sharing: dict[str, list[str]] = {}
    for image, id in ids.items():
        sharing.setdefault(id, []).append(image)
    shared = [f"{id!r} ({listed(images)})" for id, images in sharing.items() if len(images) > 1]
    if shared:
        raise ValueError(
            f"{file} has several images with the same id: {listed(shared)}. An id is the file name without "
            "extension unless a column or key `id` gives another: give one"
        )
    return said, ids


def _spelling(name: str) -> str:
    """The same for names that some file systems take for one: case and Unicode normalisation (macOS, Windows)."""
    return unicodedata.normalize("NFC", name).casefold()


def _same_but_for_spelling(absent: Sequence[str], root: Path) -> str:
    """A sentence on files whose names differ from absent ones by case or Unicode normalisation alone; else ""."""
    files = {_spelling(str(path.relative_to(root))): str(path.relative_to(root)) for path in _photographs(root)}
    pairs = [f"{image!r} and {files[_spelling(image)]!r}" for image in absent if _spelling(image) in files]
    if not pairs:
        return ""
    return f". Some names differ from files there in case or Unicode normalisation alone: {listed(pairs)}; rename them"


def _refuse_one_file_twice(file: Path, paths: Sequence[Path]) -> None:
    """Refuse two names of one file, as a file system that ignores case or Unicode normalisation allows."""
    by_spelling: dict[str, list[Path]] = {}
    for path in paths:
        by_spelling.setdefault(_spelling(str(path)), []).append(path)
    twice = [
        " and ".join(repr(path.name) for path in same)
        for same in by_spelling.values()
        if len(same) > 1 and any(os.path.samefile(same[0], path) for path in same[1:])
    ]
    if twice:
        raise ValueError(
            f"{file} names one image file in several ways, so its captions would belong to several items: "
            f"{listed(twice)}. Write each name as the file is called"
        )


def _root(base: Path, file: Path, images: Sequence[str]) -> Path:
    """The folder that the captions file's paths start from: where most images are, the first of equals."""
    places = [base, base / "Images", base / "images", file.parent]
    return max(places, key=lambda place: sum(_present(place / image, base) for image in images))


def _present(path: Path, base: Path) -> bool:
    """Whether there is a file at `path`, and it is in the folder asked for."""
    return path.is_relative_to(base) and path.is_file()


def _photographs(root: Path) -> list[Path]:
    """All photographs at or below `root` in sorted order, links followed, hidden files left out."""
    found, visited = [], set()
    for place, folders, files in os.walk(root, followlinks=True):
        visited.add(os.path.realpath(place))
        folders[:] = [
            folder
            for folder in folders
            if not folder.startswith((".", "__MACOSX")) and os.path.realpath(os.path.join(place, folder)) not in visited
        ]
        found += [Path(place, file) for file in files if not file.startswith(".") and has_image_suffix(file)]
    return sorted(found)


def _name(base: Path) -> str:
    """What people call the dataset in this folder."""
    return base.parent.name if base.name.lower() == "images" and base.parent.name else base.name
