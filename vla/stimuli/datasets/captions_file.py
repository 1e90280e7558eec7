"""Reads a captions file, CSV or JSON lines, into rows that still know their line number."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from vla.records import is_git_lfs_pointer, listed
from vla.stimuli.images import not_an_image

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
