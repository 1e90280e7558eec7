"""Reads Flickr8k in either of its published forms: the original token file, or Kaggle's CSV."""

import os
import re
from pathlib import Path

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item
from vla.stimuli.datasets.captioned_folder import read_captions

CAPTION_FILES = ("captions.txt", "captions.csv", "Flickr8k.token.txt")
TEXT_FOLDERS = ("", "Flickr8k_text", "Flickr_TextData")
# The original archive unpacks into a folder whose name is misspelt.
IMAGE_FOLDERS = ("", "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset")
SPLITS = ("dev", "test", "train")
# The token file captions one file that was never published; Kaggle's form leaves it out.
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
    """Flickr8k's photographs with five captions each; both published forms give the same items.

    Which form a captions file has is told by its first line, not by its name: `name.jpg#0<TAB>caption` is the
    original's, `image,caption` is Kaggle's. Items come in order of file name, captions in published order. The
    five captions of `2258277193_586949ec62.jpg.1`, a file that was never published, are always left out, and
    its id is in `Dataset.dropped`, unless the file is there.

    Args:
      directory: Kaggle's (`captions.txt` beside `Images/`), the unpacked original's (`Flicker8k_Dataset/`, with
        `Flickr8k.token.txt` beside it or in `Flickr8k_text/`), or the folder of photographs beside either file.
      captions: The captions file, where it lies elsewhere or several do; also `Flickr8k.lemma.token.txt`.
      split: "train", "dev" or "test" for one published split, by `Flickr_8k.trainImages.txt` and so on in the
        captions file's folder; by default all photographs, 91 of which are in no split.
      name: The dataset's name.
      missing_images: What to do with captions whose photograph is absent: "refuse", or "drop" to leave them
        out and record their ids in `Dataset.dropped`.
      missing_captions: The same for photographs that no caption describes.

    Returns:
      The dataset; an item's id is the file name without extension.

    Raises:
      ValueError: no such folder or captions file; a line of it that cannot be used; something missing under
        "refuse"; a split's list is absent or names what has no captions; no item left. Each error names every
        offender (the first few, and how many more) and the remedy.
    """
    check_choice("missing_images", missing_images, POLICIES)
    check_choice("missing_captions", missing_captions, POLICIES)
    if split is not None:
        check_choice("split", split, SPLITS)
    base = Path(os.path.abspath(Path(directory).expanduser()))
    if not base.is_dir():
        raise ValueError(f"{directory} is not a folder; expected the folder that holds the photographs")
    file = _captions_file(base, captions)
    said = _captions(file)
    folder, present = _photographs(base, said)
    unnamed = sorted(present.difference(said))
    refuse_absent(
        "missing_captions",
        missing_captions,
        unnamed,
        f"photographs in {folder} have no caption in {file}",
        "Caption them",
    )
    wanted = sorted(said) if split is None else _split(file, split, said)
    absent = [image for image in wanted if image not in present]
    refuse_absent(
        "missing_images",
        missing_images,
        [image for image in absent if image not in NEVER_PUBLISHED],
        f"of the {len(wanted)} images named in {file} are not in {folder}",
        "Put them there",
    )
    items = tuple(Item(Path(image).stem, folder / image, said[image]) for image in wanted if image in present)
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


def _captions_file(base: Path, captions: str | os.PathLike[str] | None) -> Path:
    """The captions file asked for, or the first with a published name, in the directory or beside it."""
    if captions is not None:
        given = Path(captions).expanduser()
        for path in (given, base / given):
            if path.is_file():
                return Path(os.path.abspath(path))
        raise ValueError(f"no captions file {captions}: looked for {given} and for {base / given}")
    for place in (base, base.parent):
        for folder in TEXT_FOLDERS:
            for published in CAPTION_FILES:
                if (place / folder / published).is_file():
                    return place / folder / published
    raise ValueError(
        f"no captions file in {base} or in {base.parent}: looked for {', '.join(CAPTION_FILES)}, also in the folders "
        f"{', '.join(filter(None, TEXT_FOLDERS))}. Put one there, or name it with captions="
    )


def _captions(file: Path) -> dict[str, tuple[str, ...]]:
    """Captions of each image in published order, from either form."""
    text = _text(file)
    said: dict[str, tuple[str, ...]] = {}
    if not TOKEN.match(text.lstrip()):
        for row in read_captions(file):
            said[row.image] = said.get(row.image, ()) + row.captions
        return said
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


def _text(file: Path) -> str:
    """The file's text."""
    try:
        text = file.read_text("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 (byte {error.start}); save it in the encoding UTF-8") from None
    if is_git_lfs_pointer(text.encode()):
        raise ValueError(f"{file} is a Git LFS pointer, not the text: run `git lfs pull` in its repository")
    return text


def _photographs(base: Path, said: dict[str, tuple[str, ...]]) -> tuple[Path, set[str]]:
    """The folder with most of the photographs, the first of equals, and the names of its files."""
    places = [place / folder for place in (base, base.parent) for folder in IMAGE_FOLDERS]
    # The directory's own parent is no place for photographs, only what lies beside a folder of text.
    places = [place for place in places if place != base.parent and place.is_dir()]
    files = {place: {entry.name for entry in os.scandir(place) if entry.is_file()} for place in places}
    folder = max(places, key=lambda place: len(files[place].intersection(said)))
    photographs = {file for file in files[folder] if file in said or file.lower().endswith((".jpg", ".jpeg"))}
    return folder, {file for file in photographs if not file.startswith(".")}


def _split(file: Path, split: str, said: dict[str, tuple[str, ...]]) -> list[str]:
    """The images of a published split, in order of file name."""
    path = file.parent / f"Flickr_8k.{split}Images.txt"
    if not path.is_file():
        raise ValueError(f"split={split!r} needs the published list {path}. Unpack Flickr8k_text.zip there")
    images = sorted({line.strip() for line in _text(path).split("\n") if line.strip()})
    unknown = [image for image in images if image not in said]
    if unknown:
        raise ValueError(f"{path} names {len(unknown)} images that have no caption in {file}: {listed(unknown)}")
    return images
