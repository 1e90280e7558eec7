"""Reads Flickr8k in its two published formats: the original token file, and Kaggle's CSV."""

import os
import re
from pathlib import Path

from vla.checks import check_choice, refuse_listed
from vla.records import Dataset
from vla.stimuli.datasets.captioned_folder import (
    existing_folder,
    find_captions_file,
    join_captions,
    read_captions,
    read_text,
    refuse_lines,
    refuse_shared_ids,
)

CAPTION_FILES = tuple(
    folder + file
    for folder in ("", "Flickr8k_text/", "Flickr_TextData/")
    for file in ("captions.txt", "captions.csv", "Flickr8k.token.txt")
)
# The original archive unpacks into a folder whose name is misspelt.
IMAGE_FOLDERS = ("", "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset")
SPLITS = ("dev", "test", "train")
# The token file has captions of one file that was never published; Kaggle's format leaves it out.
NEVER_PUBLISHED = frozenset({"2258277193_586949ec62.jpg.1"})
TOKEN = re.compile(r"([^\t\n]*)#(\d+)\t(.*)")


def read_flickr8k(
    directory: str | os.PathLike[str],
    captions: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    name: str = "flickr8k",
    missing_images: str = "refuse",
    missing_captions: str = "refuse",
) -> Dataset:
    """Flickr8k's images with five captions each; both published formats give the same items.

    The first line of the captions file decides its format: `name.jpg#0<TAB>caption` is the original's, `image,caption`
    is Kaggle's. Items are in order of file name, captions in published order; an item's id is the file name without
    suffix. The captions of `2258277193_586949ec62.jpg.1`, a file that was never published, are left out and its id is
    in `Dataset.dropped`, unless the file exists.

    Args:
      directory: Kaggle's folder (`captions.txt` beside `Images/`), the unpacked original (`Flicker8k_Dataset/`, with
        `Flickr8k.token.txt` beside it or in `Flickr8k_text/`), or the folder of images beside either file.
      captions: The captions file, if it is elsewhere or there are several; also `Flickr8k.lemma.token.txt`.
      split: "train", "dev" or "test": a published split, from `Flickr_8k.trainImages.txt` etc. beside the captions
        file. By default all images, of which 91 are in no split.
      name: Name of the dataset.
      missing_images: For captions without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      missing_captions: The same for images without a caption.

    Raises:
      ValueError: No such folder or captions file; a line that cannot be used; a missing image or caption; the list of a
        split is missing or names images without captions; no item left.
    """
    if split is not None:
        check_choice("split", split, SPLITS)
    base = existing_folder(directory, "that holds the images")
    file = find_captions_file(base, captions, CAPTION_FILES)
    captions_of = _captions(file)
    folder, present = _image_files(base, captions_of)
    images = sorted(captions_of) if split is None else _split(file, split, captions_of)
    ids = {image: Path(image).stem for image in images}
    refuse_shared_ids(file, {image: id for image, id in ids.items() if image in present})
    return join_captions(
        name,
        file,
        folder,
        folder,
        {image: captions_of[image] for image in images},
        ids,
        sorted(present.difference(captions_of)),
        missing_images,
        missing_captions,
        NEVER_PUBLISHED,
    )


def _captions(file: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each image in published order, from either format."""
    text = read_text(file).replace("\r\n", "\n")
    captions_of: dict[str, tuple[str, ...]] = {}
    if not TOKEN.match(text.lstrip()):
        for row in read_captions(file):
            captions_of[row.image] = captions_of.get(row.image, ()) + row.captions
        return captions_of
    numbered: dict[str, dict[int, str]] = {}
    bad: dict[str, list[str]] = {}
    for line, source in enumerate(text.split("\n"), start=1):
        if not source.strip():
            continue
        parts = TOKEN.fullmatch(source)
        if parts is None:
            bad.setdefault("not `name.jpg#number<TAB>caption`", []).append(f"line {line}")
            continue
        image, number, caption = parts[1], int(parts[2]), parts[3].strip()
        location = f"line {line} ({image}#{number})"
        if not image or "/" in image or "\\" in image:
            bad.setdefault("no plain file name", []).append(location)
        elif not caption:
            bad.setdefault("empty caption", []).append(location)
        elif number in numbered.setdefault(image, {}):
            bad.setdefault("second caption of this number", []).append(location)
        else:
            numbered[image][number] = caption
    refuse_lines(file, bad)
    return {image: tuple(caption for _, caption in sorted(of.items())) for image, of in numbered.items()}


def _image_files(base: Path, captions_of: dict[str, tuple[str, ...]]) -> tuple[Path, set[str]]:
    """The first folder with the most images, and the names of its images."""
    folders = [parent / folder for parent in (base, base.parent) for folder in IMAGE_FOLDERS]
    # Not in the parent itself, only in folders beside a folder of text.
    folders = [folder for folder in folders if folder != base.parent and folder.is_dir()]
    files = {folder: {entry.name for entry in os.scandir(folder) if entry.is_file()} for folder in folders}
    folder = max(folders, key=lambda folder: len(files[folder].intersection(captions_of)))
    images = {file for file in files[folder] if file in captions_of or file.lower().endswith((".jpg", ".jpeg"))}
    return folder, {file for file in images if not file.startswith(".")}


def _split(file: Path, split: str, captions_of: dict[str, tuple[str, ...]]) -> list[str]:
    path = file.parent / f"Flickr_8k.{split}Images.txt"
    if not path.is_file():
        raise ValueError(f"split={split!r} needs the published list {path}. Unpack Flickr8k_text.zip there")
    images = sorted({line.strip() for line in read_text(path).split("\n") if line.strip()})
    unknown = [image for image in images if image not in captions_of]
    refuse_listed(
        unknown, f"{path} names {len(unknown)} images that have no caption in {file}", "Give the file of all captions"
    )
    return images
