"""Reads a folder of images with a captions file as a dataset."""

import csv
import dataclasses
import io
import json
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vla.checks import POLICIES, check_choice, listed, refuse_absent, refuse_listed
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
    """One line of a captions file, with its number from 1, the image's relative path and the id, if it has one."""

    line: int
    image: str
    captions: tuple[str, ...]
    id: str | None = None


class _BadRow(Exception):
    """A row that cannot be used: the reason, and the image or value that identifies it."""

    def __init__(self, why: str, known_by: str = ""):
        super().__init__(why, known_by)
        self.why, self.known_by = why, known_by


def read_captions(path: Path) -> list[CaptionRow]:
    """All rows of a captions file in published order.

    CSV has the header `image,caption` or `file_name,text` and one caption per row, quoted as usual in CSV. JSON lines
    have one object per line: `image` or `file_name`, with `caption` or `text` (a string) or `captions` (a list of
    strings). Both may give an `id`; other columns and keys are not read. White space around captions is removed.

    Raises:
      ValueError: The file is not UTF-8, has no rows, an unknown suffix or a bad header; or lines are malformed, have an
        empty caption, or name an image outside the folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}, which is no known form of a captions file; "
            f"known are {', '.join(sorted(SUFFIXES))} (.txt is read as CSV)"
        )
    text = read_text(path)
    parsed = _csv_rows(path, text) if SUFFIXES[path.suffix.lower()] == "csv" else _json_rows(text)
    rows, bad = [], {}
    for line, fields in parsed:
        try:
            rows.append(_row(line, fields))
        except _BadRow as error:
            bad.setdefault(error.why, []).append(f"line {line}" + f" ({error.known_by})" * bool(error.known_by))
    refuse_lines(path, bad)
    refuse_swallowed_lines(
        str(path),
        [(f"line {row.line}", row.image, caption) for row in rows for caption in row.captions],
        {row.image for row in rows},
    )
    if not rows:
        raise ValueError(f"{path} holds no captions: expected one line for each caption")
    return rows


def refuse_lines(path: Path, bad: Mapping[str, Sequence[str]]) -> None:
    """Raise a ValueError for lines that cannot be used, by the reason, if there are any."""
    if bad:
        reasons = "; ".join(f"{reason}: {listed(lines)}" for reason, lines in bad.items())
        raise ValueError(f"{path} has lines that cannot be used. {reasons}. Correct or delete these lines")


def refuse_swallowed_lines(source: str, captions: Iterable[tuple[str, str, str]], images: Collection[str]) -> None:
    """Refuse captions, (line, image, caption), that contain further lines of their file.

    In a file written without CSV quoting, a caption that begins with a quotation mark extends to the next quotation
    mark, over the lines in between. So a caption of several lines must not contain the name of an image as a field.

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
    refuse_listed(
        bad,
        f"{source} has captions that run over several lines and hold names of images",
        "A quotation mark at the start of a caption opens a quoted field, which took in the lines up to the next "
        'quotation mark. Write such a caption in quotation marks, the inner ones doubled: a.jpg,"""Stop"" says the '
        'sign"; csv.writer and pandas do so by themselves',
    )


def read_text(path: Path) -> str:
    """The text of the file, without a byte-order mark."""
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
    """Line number and fields of each CSV row, or the reason why it cannot be used."""
    # Strict: otherwise an unclosed quotation mark silently swallows the captions after it.
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
    """Line number and object of each line, or the reason why it cannot be used."""
    # Not splitlines: it also splits at characters that JSON strings may contain, such as U+2028.
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
    id = fields.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int | None):
        raise _BadRow("`id` is neither text nor a whole number", image)
    return CaptionRow(line, _inside(image), captions, None if id is None else str(id).strip() or None)


def _text_of(fields: dict, keys: Iterable[str], known_by: str = "") -> str:
    """The string under the only one of `keys` that the row has."""
    values = [fields[key] for key in keys if key in fields]
    if len(values) != 1 or not isinstance(values[0], str):
        raise _BadRow(f"expected one string under {' or '.join(f'`{key}`' for key in keys)}", known_by)
    return values[0]


def _inside(image: str) -> str:
    """The normalised path of the image; a path out of the folder is refused."""
    if not image.strip():
        raise _BadRow("no image named")
    if reason := not_an_image(image):
        raise _BadRow(f"image {reason}", image[:60])
    parts = image.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        raise _BadRow("image path leads out of the folder (expected a relative path without `..`)", image)
    return str(PurePosixPath(image))


CAPTION_FILES = ("captions.txt", "captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")


def read_captioned_folder(
    folder: str | os.PathLike[str],
    captions: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    missing_images: str = "refuse",
    missing_captions: str = "refuse",
) -> Dataset:
    """The images of a folder with the captions of a file.

    Items are in the order in which the captions file first names them, captions in published order (see `read_captions`
    for the formats). Kaggle's Flickr8k is read as published, from `flickr8k` (`captions.txt` beside `Images/`) or from
    `flickr8k/Images`. An item's id is given by its lines, else it is the file name without suffix.

    Args:
      folder: The folder with the images, directly, in its `Images` (or `images`) folder, or in the subfolders that the
        captions file names.
      captions: The captions file, or its name in the folder; by default the first of CAPTION_FILES in the folder, then
        in its parent.
      name: Name of the dataset; by default that of the folder (for `flickr8k/Images`: `flickr8k`).
      missing_images: For captions without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      missing_captions: The same for images in the folder without a caption.

    Raises:
      ValueError: No such folder; no captions file; a line that cannot be used; a missing image or caption; two images
      with
        one id, or one image with two; no item left.
    """
    base = existing_folder(folder, "that holds the images")
    file = find_captions_file(base, captions, CAPTION_FILES)
    captions_of, ids = _by_image(file, read_captions(file))
    # The folder to which images are relative: the first with the most of them. Images outside the folder do not count.
    roots = (base, base / "Images", base / "images", file.parent)
    root = max(roots, key=lambda root: sum(_present(root / image, base) for image in captions_of))
    _refuse_one_file_twice(file, [root / image for image in captions_of if _present(root / image, base)])
    known = {os.path.realpath(root / image) for image in captions_of}
    files = _image_files(root if root.is_relative_to(base) else base)
    unnamed = [str(path.relative_to(base)) for path in files if os.path.realpath(path) not in known]
    # For flickr8k/Images, the name is flickr8k.
    name = name or (base.parent.name if base.name.lower() == "images" else "") or base.name
    return join_captions(name, file, base, root, captions_of, ids, unnamed, missing_images, missing_captions)


def existing_folder(path: str | os.PathLike[str], description: str) -> Path:
    """The absolute path of a folder, described such as "that holds the images"; a ValueError if it does not exist.

    Links are kept: the parent of a linked `Images` is the folder that users see.
    """
    folder = Path(os.path.abspath(Path(path).expanduser()))
    if not folder.is_dir():
        raise ValueError(f"{path} is not a folder; expected the folder {description}")
    return folder


def join_captions(
    name: str,
    file: Path,
    base: Path,
    root: Path,
    captions_of: Mapping[str, tuple[str, ...]],
    ids: Mapping[str, str],
    unnamed: Sequence[str],
    missing_images: str,
    missing_captions: str,
    expected_absent: Collection[str] = (),
) -> Dataset:
    """Images in the folder `base`, relative to `root`, joined with the captions of a file: see `read_captioned_folder`.

    Items are in the order of `captions_of`. `unnamed` are images that the captions file does not name; the absence of
    those in `expected_absent` is no error.

    Raises:
      ValueError: Images or captions are missing, if refused; no item is left.
    """
    check_choice("missing_images", missing_images, POLICIES)
    check_choice("missing_captions", missing_captions, POLICIES)
    absent = [image for image in captions_of if not _present(root / image, base)]
    lost = [image for image in absent if image not in expected_absent]
    remedy = f"Put them there{_same_but_for_spelling(lost, root) if lost else ''}"
    fault = f"of the {len(captions_of)} images named in {file} are not in {root}"
    refuse_absent("missing_images", missing_images, lost, fault, remedy)
    uncaptioned = sorted({image for image, captions in captions_of.items() if not captions}.difference(absent))
    fault = f"images in {root} have no caption in {file}"
    refuse_absent("missing_captions", missing_captions, [*uncaptioned, *unnamed], fault, "Caption them")
    left_out = {*absent, *uncaptioned}
    items = tuple(Item(ids[image], root / image, captions_of[image]) for image in captions_of if image not in left_out)
    if not items:
        raise ValueError(
            f"no item is left: none of the {len(captions_of)} images named in {file} is in {root} with a caption. "
            f"{listed(list(captions_of))} were looked for"
        )
    # An image that no line names has no id: never record it under the id of an item.
    taken = {item.id for item in items}
    dropped = {Path(image).name if Path(image).stem in taken else Path(image).stem for image in unnamed}
    return Dataset(name, items, tuple(sorted(dropped | {ids[image] for image in left_out})))


def find_captions_file(base: Path, captions: str | os.PathLike[str] | None, names: Sequence[str]) -> Path:
    """The captions file that the user names, or the first of `names` in a folder, then in its parent."""
    if captions is not None:
        named = Path(captions).expanduser()
        for path in (named, base / named):
            if path.is_file():
                return Path(os.path.abspath(path))
        raise ValueError(f"no captions file {captions}: looked for {named} and for {base / named}")
    for folder in (base, base.parent):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise ValueError(
        f"no captions file in {base} or in {base.parent}: looked for {', '.join(names)}. Put one there, or name it "
        "with captions="
    )


def _by_image(file: Path, rows: Sequence[CaptionRow]) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Captions and id of each image, in order of first appearance; no two images share an id."""
    captions_of: dict[str, tuple[str, ...]] = {}
    lines_of: dict[str, dict[str, int]] = {}
    for row in rows:
        captions_of[row.image] = captions_of.get(row.image, ()) + row.captions
        if row.id is not None:
            lines_of.setdefault(row.image, {}).setdefault(row.id, row.line)
    refuse_listed(
        [
            f"{image} ({', '.join(f'{id!r} on line {line}' for id, line in lines.items())})"
            for image, lines in lines_of.items()
            if len(lines) > 1
        ],
        f"{file} gives one image several ids",
        "Give each image one id",
    )
    ids = {image: next(iter(lines_of.get(image, [PurePosixPath(image).stem]))) for image in captions_of}
    refuse_shared_ids(file, ids)
    return captions_of, ids


def refuse_shared_ids(file: Path, ids: Mapping[str, str]) -> None:
    """Raise a ValueError for images with the same id, if there are any."""
    images_of: dict[str, list[str]] = {}
    for image, id in ids.items():
        images_of.setdefault(id, []).append(image)
    refuse_listed(
        [f"{id!r} ({listed(images)})" for id, images in images_of.items() if len(images) > 1],
        f"{file} has several images with the same id",
        "An id is the file name without extension unless a column or key `id` gives another: give one",
    )


def _present(path: Path, base: Path) -> bool:
    return path.is_relative_to(base) and path.is_file()


def _spelling(name: str) -> str:
    """A name without what some file systems ignore: case and Unicode normalisation (macOS, Windows)."""
    return unicodedata.normalize("NFC", name).casefold()


def _same_but_for_spelling(absent: Sequence[str], root: Path) -> str:
    """A sentence about files whose names differ from absent ones only in what `_spelling` ignores, if any."""
    files = {_spelling(str(path.relative_to(root))): str(path.relative_to(root)) for path in _image_files(root)}
    pairs = [f"{image!r} and {files[_spelling(image)]!r}" for image in absent if _spelling(image) in files]
    difference = "Some names differ from files there in case or Unicode normalisation alone"
    return f". {difference}: {listed(pairs)}; rename them" if pairs else ""


def _refuse_one_file_twice(file: Path, paths: Sequence[Path]) -> None:
    """Refuse two names of one file, which file systems that ignore case or Unicode normalisation allow."""
    by_spelling: dict[str, list[Path]] = {}
    for path in paths:
        by_spelling.setdefault(_spelling(str(path)), []).append(path)
    same_file = [same for same in by_spelling.values() if any(os.path.samefile(same[0], path) for path in same[1:])]
    twice = [" and ".join(repr(path.name) for path in same) for same in same_file]
    refuse_listed(
        twice,
        f"{file} names one image file in several ways, so its captions would belong to several items",
        "Write each name as the file is called",
    )


def _image_files(root: Path) -> list[Path]:
    """All images below `root`, sorted; links are followed, hidden files left out."""
    paths, visited = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        visited.add(os.path.realpath(folder))
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith((".", "__MACOSX")) and os.path.realpath(os.path.join(folder, name)) not in visited
        ]
        paths += [Path(folder, file) for file in files if not file.startswith(".") and has_image_suffix(file)]
    return sorted(paths)
