"""Reads a folder of photographs with a captions file as a dataset."""

import csv
import dataclasses
import io
import json
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from vla.checks import POLICIES, RemediableError, check_choice, listed
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item
from vla.stimuli.images import has_image_suffix, not_an_image

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".txt": "csv"}
IMAGE_KEYS = ("image", "file_name")
CAPTION_KEYS = ("caption", "text")
# What pandas writes where a caption is missing.
MISSING = frozenset({"<NA>", "NaN", "None", "nan"})
# A file name with a usual image suffix, as one field of a line.
IMAGE_NAME = re.compile(
    r"(?:^|[,;\t|\"])[^,;\t|\"\n]*\.(?:bmp|gif|jpe?g|png|tiff?|webp)(?=$|[,;\t|\"#])", re.IGNORECASE | re.MULTILINE
)
COLUMNS = "`image,caption` (as Kaggle publishes Flickr8k) or `file_name,text` (Hugging Face imagefolder)"


@dataclasses.dataclass(frozen=True)
class CaptionRow:
    """What one line says of one image.

    Attributes:
      line: Line of the file, counted from 1.
      image: The image's path as the file gives it, relative, with `/` between its parts.
      captions: What the line says of it, in order, none empty; none at all where a list is empty.
      id: The item's id where the line gives one.
    """

    line: int
    image: str
    captions: tuple[str, ...]
    id: str | None = None


class _BadRow(Exception):
    """A row that cannot be used: why, and what it is known by."""

    def __init__(self, why: str, known_by: str = ""):
        super().__init__(why, known_by)
        self.why, self.known_by = why, known_by


def read_captions(path: Path) -> list[CaptionRow]:
    """All rows of a captions file in published order.

    CSV has a header of `image,caption` or `file_name,text`, fields quoted as CSV quotes them, one caption
    a row; JSON lines have one object a line: `image` or `file_name`; `caption` or `text` (a string) or
    `captions` (a list of strings). Both may give an `id`; columns and keys of other names are not read.
    White space around a caption is not part of it. Blank lines are skipped.

    Raises:
      ValueError: the file is not UTF-8, has no rows, an unknown suffix or a bad header; or some lines are
        malformed, hold an empty caption, or name an image outside the folder: all of them in one error.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}, which is no known form of a captions file; "
            f"known are {', '.join(sorted(SUFFIXES))} (.txt is read as CSV)"
        )
    text = _text(path)
    parsed = _csv_rows(path, text) if SUFFIXES[path.suffix.lower()] == "csv" else _json_rows(text)
    rows, bad = [], {}
    for line, fields in parsed:
        try:
            rows.append(_row(line, fields))
        except _BadRow as error:
            bad.setdefault(error.why, []).append(f"line {line}" + f" ({error.known_by})" * bool(error.known_by))
    if bad:
        reasons = "; ".join(f"{why}: {listed(lines)}" for why, lines in bad.items())
        raise ValueError(f"{path} has lines that cannot be used. {reasons}. Correct or delete these lines")
    refuse_swallowed_lines(
        str(path),
        [(f"line {row.line}", row.image, caption) for row in rows for caption in row.captions],
        {row.image for row in rows},
    )
    if not rows:
        raise ValueError(f"{path} holds no captions: expected one line for each caption")
    return rows


def refuse_swallowed_lines(source: str, captions: Iterable[tuple[str, str, str]], images: Collection[str]) -> None:
    """Refuse captions that hold further lines of their file.

    In a file that was written without CSV quoting, a caption that begins with a quotation mark runs on to the next
    quotation mark and takes the lines in between with it. So a caption over several lines may not hold the name of
    an image as a field.

    Args:
      source: The file, for messages.
      captions: (line or row, image, caption).
      images: The names of all images of the file.

    Raises:
      ValueError: There are such captions; the message names their lines.
    """
    bad = []
    for line, image, caption in captions:
        caption = caption.replace("\r\n", "\n").replace("\r", "\n")
        if "\n" not in caption:
            continue
        fields = {field.strip() for field in re.split(r"[\n,;\t|\"]", caption)}
        name = next(iter(sorted(fields.intersection(images))), None) or IMAGE_NAME.search(caption)
        if name is not None:
            name = name if isinstance(name, str) else name[0].strip(' ,;\t|"\n')
            bad.append(f"{line} ({image}, whose caption holds {name!r} and {len(caption.splitlines())} lines)")
    if bad:
        raise ValueError(
            f"{source} has captions that run over several lines and hold names of images: {listed(bad)}. A "
            "quotation mark at the start of a caption opens a quoted field, which took in the lines up to the next "
            'quotation mark. Write such a caption in quotation marks, the inner ones doubled: a.jpg,"""Stop"" says the '
            'sign"; csv.writer and pandas do so by themselves'
        )


def _text(path: Path) -> str:
    """The file's text, with or without a byte-order mark."""
    data = path.read_bytes()
    if is_git_lfs_pointer(data):
        raise ValueError(f"{path} is a Git LFS pointer, not the captions: run `git lfs pull` in its repository")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8 (line {line}, byte {data[error.start]:#04x}); save it in the encoding UTF-8"
        ) from None


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict | _BadRow]]:
    """Line number and fields of each CSV row, or what is wrong with it."""
    # Strict, or a quotation mark that is never closed swallows the captions after it without a word.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if [sum(header.count(key) for key in keys) for keys in (IMAGE_KEYS, CAPTION_KEYS)] != [1, 1]:
            raise ValueError(f"{path} begins with the header `{','.join(header)}`; expected {COLUMNS}")
        end = reader.line_num
        for fields in reader:
            line, end = end + 1, reader.line_num
            if len(fields) < 2 and not "".join(fields).strip():
                continue
            if len(fields) == len(header):
                yield line, dict(zip(header, fields, strict=True))
            else:
                why = f'not {len(header)} fields (a caption with a comma stands in quotation marks: "one, two")'
                yield line, _BadRow(why, f"{len(fields)} fields")
    except csv.Error as error:
        raise ValueError(
            f"{path} is no well-formed CSV near line {reader.line_num}: {error}. "
            'A field with a quotation mark is written in quotation marks, the inner one doubled: "a ""b"" c"'
        ) from None


def _json_rows(text: str) -> Iterator[tuple[int, dict | _BadRow]]:
    """Line number and object of each line, or what is wrong with it."""
    # Not splitlines: JSON strings may hold the other characters it splits at, such as U+2028.
    for line, source in enumerate(text.split("\n"), start=1):
        if not source.strip():
            continue
        try:
            value = json.loads(source)
        except json.JSONDecodeError as error:
            yield line, _BadRow("not JSON", f"{error.msg}, column {error.colno}")
            continue
        yield line, value if isinstance(value, dict) else _BadRow("not a JSON object")


def _row(line: int, fields: dict | _BadRow) -> CaptionRow:
    """One checked row."""
    if isinstance(fields, _BadRow):
        raise fields
    image = _text_of(fields, IMAGE_KEYS)
    if "captions" in fields and not any(key in fields for key in CAPTION_KEYS):
        captions = fields["captions"]
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise _BadRow("`captions` is not a list of strings", image)
    elif "captions" in fields:
        raise _BadRow("both `captions` and a single caption", image)
    else:
        captions = [_text_of(fields, CAPTION_KEYS, image)]
    captions = tuple(caption.strip() for caption in captions)
    if not all(captions):
        raise _BadRow("empty caption", image)
    missing = [caption for caption in captions if caption in MISSING]
    if missing:
        raise _BadRow(f"caption {missing[0]!r}, which stands for a missing one", image)
    return CaptionRow(line, _inside(image), captions, _id(fields, image))


def _text_of(fields: dict, keys: Iterable[str], known_by: str = "") -> str:
    """The string under the one of `keys` that is there."""
    found = [key for key in keys if key in fields]
    if len(found) != 1 or not isinstance(fields[found[0]], str):
        raise _BadRow(f"expected one string under {' or '.join(f'`{key}`' for key in keys)}", known_by)
    return fields[found[0]]


def _inside(image: str) -> str:
    """The image's path in plain form; a path that leads out of the folder is refused."""
    if not image.strip():
        raise _BadRow("no image named")
    if reason := not_an_image(image):
        raise _BadRow(f"image {reason}", image[:60])
    parts = image.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        raise _BadRow("image path leads out of the folder (expected a relative path without `..`)", image)
    return str(PurePosixPath(image))


def _id(fields: dict, image: str) -> str | None:
    """The id the row gives, as text; None where it is absent or blank."""
    given = fields.get("id")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise _BadRow("`id` is neither text nor a whole number", image)
    return str(given).strip() or None


CAPTION_FILES = ("captions.txt", "captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")


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
    published order; a file's forms are those of `vla.stimuli.datasets.captioned_folder`.

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
        check_choice(setting, value, POLICIES)
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
        raise RemediableError(
            f"{len(absent)} of the {len(said)} images named in {file} are not in {root}: {listed(absent)}. "
            'Put them there, or pass missing_images="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)" + _same_but_for_spelling(absent, root),
            {"missing_images": "drop"},
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
        raise RemediableError(
            f"{len(names)} photographs in {base} have no caption in {file}: {listed(names)}. "
            'Caption them, or pass missing_captions="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)",
            {"missing_captions": "drop"},
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
