"""Reads Flickr8k in its two published formats: the original token file, and Kaggle's CSV."""

import os
import re
from pathlib import Path

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.records import Dataset, Item
from vla.stimuli.datasets.captioned_folder import find_captions_file, read_captions, read_text

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
    is Kaggle's. Items are in order of file name, captions in published order. The captions of
    `2258277193_586949ec62.jpg.1`, a file that was never published, are left out and its id is in `Dataset.dropped`,
    unless the file is there.

    Args:
      directory: Kaggle's folder (`captions.txt` beside `Images/`), the unpacked original (`Flicker8k_Dataset/`, with
        `Flickr8k.token.txt` beside it or in `Flickr8k_text/`), or the folder of images beside either file.
      captions: The captions file, if it is elsewhere or there are several; also `Flickr8k.lemma.token.txt`.
      split: "train", "dev" or "test": a published split, from `Flickr_8k.trainImages.txt` etc. beside the captions
        file. By default all images, of which 91 are in no split.
      name: Name of the dataset.
      missing_images: For captions without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      missing_captions: The same for images without a caption.

    Returns:
      The dataset; an item's id is the file name without suffix.

    Raises:
      ValueError: No such folder or captions file; a line that cannot be used; a missing image or caption; the list of
        a split is missing or names images without captions; no item left. The message lists what is wrong and the
        remedy.
    """
    check_choice("missing_images", missing_images, POLICIES)
    check_choice("missing_captions", missing_captions, POLICIES)
    if split is not None:
        check_choice("split", split, SPLITS)
    base = Path(os.path.abspath(Path(directory).expanduser()))
    if not base.is_dir():
        raise ValueError(f"{directory} is not a folder; expected the folder that holds the photographs")
    file = find_captions_file(base, captions, CAPTION_FILES)
    captions_of = _captions(file)
    folder, present = _photographs(base, captions_of)
    unnamed = sorted(present.difference(captions_of))
    refuse_absent(
        "missing_captions",
        missing_captions,
        unnamed,
        f"photographs in {folder} have no caption in {file}",
        "Caption them",
    )
    wanted = sorted(captions_of) if split is None else _split(file, split, captions_of)
    absent = [image for image in wanted if image not in present]
    refuse_absent(
        "missing_images",
        missing_images,
        [image for image in absent if image not in NEVER_PUBLISHED],
        f"of the {len(wanted)} images named in {file} are not in {folder}",
        "Put them there",
    )
    items = tuple(Item(Path(image).stem, folder / image, captions_of[image]) for image in wanted if image in present)
    if not items:
        raise ValueError(
            f"no item is left: none of the {len(wanted)} images named in {file} is in {folder}. "
            f"{listed(wanted)} were looked for"
        )
    ids = [item.id for item in items]
    twice = sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise ValueError(
            f"{file} has several images with the same id, the file name without extension: {listed(twice)}"
        )
    dropped = {Path(image).stem for image in (*absent, *unnamed)}
    return Dataset(name, items, tuple(sorted(dropped)))


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
        place = f"line {line} ({image}#{number})"
        if not image or "/" in image or "\\" in image:
            bad.setdefault("no plain file name", []).append(place)
        elif not caption:
            bad.setdefault("empty caption", []).append(place)
        elif number in numbered.setdefault(image, {}):
            bad.setdefault("second caption of this number", []).append(place)
        else:
            numbered[image][number] = caption
    if bad:
        told = "; ".join(f"{why}: {listed(places)}" for why, places in bad.items())
        raise ValueError(f"{file} has lines that cannot be used. {told}. Mend or delete these lines")
    return {image: tuple(caption for _, caption in sorted(of.items())) for image, of in numbered.items()}


def _photographs(base: Path, captions_of: dict[str, tuple[str, ...]]) -> tuple[Path, set[str]]:
    """The first folder with the most images, and the names of its files."""
    places = [place / folder for place in (base, base.parent) for folder in IMAGE_FOLDERS]
    # Not in the parent itself, only in folders beside a folder of text.
    places = [place for place in places if place != base.parent and place.is_dir()]
    files = {place: {entry.name for entry in os.scandir(place) if entry.is_file()} for place in places}
    folder = max(places, key=lambda place: len(files[place].intersection(captions_of)))
    photographs = {file for file in files[folder] if file in captions_of or file.lower().endswith((".jpg", ".jpeg"))}
    return folder, {file for file in photographs if not file.startswith(".")}


def _split(file: Path, split: str, captions_of: dict[str, tuple[str, ...]]) -> list[str]:
    """The images of a published split, in order of file name."""
    path = file.parent / f"Flickr_8k.{split}Images.txt"
    if not path.is_file():
        raise ValueError(f"split={split!r} needs the published list {path}. Unpack Flickr8k_text.zip there")
    images = sorted({line.strip() for line in read_text(path).split("\n") if line.strip()})
    unknown = [image for image in images if image not in captions_of]
    if unknown:
        raise ValueError(f"{path} names {len(unknown)} images that have no caption in {file}: {listed(unknown)}")
    return images
