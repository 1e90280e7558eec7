"""Reads Pick-a-Pic as published: parquet shards of judgments between two images generated from a prompt."""

import collections
import dataclasses
import hashlib
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item
from vla.stimuli.draws import sample

# The images of about 1,500 judgments, or of one row group.
CACHE_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class ParquetImage:
    """An image file in a column of a parquet file.

    A parquet file can only be read by row group. So the first image of a row group that is opened reads all images
    that are needed from it, in one pass over a few rows at a time. A process caches up to 512 MiB of them.

    Attributes:
      item: The item's id, for messages.
      path: The file.
      column: The column of bytes.
      row_group: Row group, from 0.
      row: Row in its row group, from 0.
      wanted: All rows of this column and row group that are needed, ascending.
    """

    item: str
    path: Path
    column: str
    row_group: int
    row: int
    wanted: tuple[int, ...]

    def open(self) -> bytes:
        """The image file as bytes.

        Raises:
          ValueError: The parquet file is missing or damaged, or the cell is empty.
        """
        place = f"image of item {self.item!r} ({self.path}, column {self.column}, row group {self.row_group})"
        try:
            data = _CELLS.read(self)
        # The errors of pyarrow are subclasses of ValueError, OSError and KeyError.
        except (OSError, ValueError, LookupError) as error:
            raise ValueError(f"{place} cannot be read: {error}. Fetch the file again, or leave the item out") from error
        if not data:
            raise ValueError(f"{place} is empty. Fetch the file again, or leave the item out")
        return data

    def content(self) -> str:
        """SHA-256 of the image file."""
        return hashlib.sha256(self.open()).hexdigest()


class _Cells:
    """A cache of cells by column and row group; the least recently used are dropped first."""

    def __init__(self):
        self._columns: collections.OrderedDict[tuple, dict[int, bytes | None]] = collections.OrderedDict()
        # Held while reading, so that only one thread reads a row group.
        self._lock = threading.Lock()

    def read(self, image: ParquetImage) -> bytes | None:
        """The bytes in an image's cell."""
        stat = image.path.stat()
        key = (image.path, stat.st_mtime_ns, stat.st_size, image.column, image.row_group, image.wanted)
        with self._lock:
            if key not in self._columns:
                self._columns[key] = _read_cells(image)
                while len(self._columns) > 1 and sum(map(_size, self._columns.values())) > CACHE_BYTES:
                    self._columns.popitem(last=False)
            self._columns.move_to_end(key)
            return self._columns[key][image.row]


_CELLS = _Cells()


def _size(cells: dict[int, bytes | None]) -> int:
    """Bytes in these cells."""
    return sum(len(data or b"") for data in cells.values())


def _read_cells(image: ParquetImage) -> dict[int, bytes | None]:
    """The needed cells of a column of a row group."""
    import pyarrow.parquet

    cells, start = {}, 0
    with pyarrow.parquet.ParquetFile(image.path, buffer_size=2**20, pre_buffer=False) as file:
        batches = file.iter_batches(16, row_groups=[image.row_group], columns=[image.column], use_threads=False)
        for batch in batches:
            column, end = batch.column(0), start + batch.num_rows
            cells.update({row: column[row - start].as_py() for row in image.wanted if start <= row < end})
            start = end
            if start > image.wanted[-1]:
                break
    return cells


IMAGES = ("jpg_0", "jpg_1")
IDS = ("ranking_id", "image_0_uid", "image_1_uid")
NEEDED = ("caption", *IDS, *IMAGES, "label_0", "label_1")
OPTIONAL = ("has_label", "ties")
TIES = ("drop", "only", "refuse")
# As published: data/train-00000-of-00645-b66ac786bf6fb553.parquet; as the Hub converts: train/0000.parquet.
SHARD = re.compile(r"(?P<split>.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?")


@dataclasses.dataclass(frozen=True)
class _Judgment:
    """One row without its images; `labels` is None if nobody judged it, `ties` is the column of that name."""

    id: str
    place: str
    prompt: str
    labels: tuple[Any, Any] | None
    ties: bool | None
    path: Path
    row_group: int
    row: int

    def picture(self, which: int) -> ParquetImage:
        """The first (0) or second (1) image."""
        return ParquetImage(self.id, self.path, IMAGES[which], self.row_group, self.row, (self.row,))


def read_pick_a_pic(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    split: str | None = None,
    n: int | str | None = None,
    seed: int = 42,
    ties: str = "drop",
    unlabelled: str = "drop",
    empty_prompts: str = "refuse",
    name: str = "pick_a_pic",
) -> Dataset:
    """Judgments as items: the preferred image as `image`, the other one as `rejected`, the prompt as the caption.

    The sample is drawn without reading images; images of the sample are read when they are opened.

    An item's id is `ranking_id` and the first eight characters of the two image uids, joined by dashes, because one
    ranking may compare several pairs. Judgments of one prompt (up to white space) share their `group`. The columns are
    those of v1 and v2: caption, jpg_0, jpg_1, label_0, label_1, ranking_id, image_0_uid, image_1_uid, and optionally
    has_label and ties.

    Args:
      source: A directory with shards (at any depth), one shard, or several; read in order of their names.
      split: Such as "validation_unique", if the directory has shards of several splits.
      n: Number of judgments to draw (see `vla.stimuli.sample`); None or "all" for all.
      seed: Seed of the sample.
      ties: For judgments that prefer neither image: "drop" to record their ids in `Dataset.dropped`; "refuse"; or
        "only" to read nothing but ties, as a control, with the first image as `image`.
      unlabelled: For rows that nobody judged: "drop" or "refuse".
      empty_prompts: For judgments of an empty prompt: "drop" or "refuse".
      name: Name of the dataset.

    Raises:
      ValueError: No shard, or shards of several splits; a truncated shard; a column missing or of another type; labels
        other than 0, 0.5 and 1, or that do not add up to 1; two judgments with one id; or refused rows as above. The
        message names the rows.
    """
    check_choice("ties", ties, TIES)
    check_choice("unlabelled", unlabelled, POLICIES)
    check_choice("empty_prompts", empty_prompts, POLICIES)
    paths = _shards(source, split)
    judgments = [judgment for path in paths for judgment in _judgments(path)]
    _check(judgments)

    def refuse(setting: str, policy: str, rows: Sequence[_Judgment], what: str, remedy: str) -> None:
        refuse_absent(setting, policy, [row.place for row in rows], f"of the {len(judgments)} rows {what}", remedy)

    bare = [row for row in judgments if row.labels is None]
    refuse("unlabelled", unlabelled, bare, "have no label", "Give labelled rows")
    tied = [row for row in judgments if row.labels == (0.5, 0.5)]
    refuse("ties", ties, tied, "are ties", 'Give rows without ties, pass ties="only" for the ties alone')
    blank = [row for row in judgments if not row.prompt]
    refuse("empty_prompts", empty_prompts, blank, "have an empty prompt", "Give rows with a prompt")

    left_out = {row.id for row in (*bare, *blank)}
    ties_left_out = {row.id for row in judgments if (row.labels == (0.5, 0.5)) != (ties == "only")}
    kept = [row for row in judgments if row.id not in left_out and row.id not in ties_left_out]
    if not kept:
        raise ValueError(
            f"no judgment is left of the {len(judgments)} rows in {listed([path.name for path in paths])}: "
            f"{len(bare)} have no label, {len(tied)} are ties, {len(blank)} have an empty prompt"
        )
    items = tuple(
        Item(
            row.id,
            row.picture(_preferred(row)),
            (row.prompt,),
            rejected=row.picture(1 - _preferred(row)),
            group=" ".join(row.prompt.split()),
        )
        for row in kept
    )
    # With "only", judgments with a preference are not dropped items: they were not requested.
    dropped = left_out | (ties_left_out if ties == "drop" else set())
    return _with_needed_rows(sample(Dataset(name, items, tuple(sorted(dropped))), n, seed))


def _shards(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], split: str | None) -> list[Path]:
    """The shards to read, in order of their names."""
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    places = [Path(os.path.abspath(Path(place).expanduser())) for place in given]
    lost = [str(place) for place in places if not place.exists()]
    if lost:
        raise ValueError(f"{listed(lost)} cannot be found; expected parquet files or a directory of them")
    paths = sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.parquet")))
    splits = sorted({_split(path) for path in paths})
    if split is not None:
        paths = [path for path in paths if _split(path) == split]
    if not paths:
        of = "" if split is None else f" of the split {split!r} (there is {listed(splits) or 'no other'})"
        raise ValueError(f"{listed(list(map(str, places)))} has no parquet file{of}; fetch a shard of Pick-a-Pic")
    if split is None and len(splits) > 1:
        # validation_unique is part of validation: read together, judgments would come twice.
        raise ValueError(f"{listed(list(map(str, places)))} has the splits {', '.join(splits)}; name one with split=")
    return paths


def _split(path: Path) -> str:
    """The split in the name of a shard."""
    named = SHARD.fullmatch(path.stem)
    return named["split"] if named else path.parent.name if path.stem.isdigit() else path.stem


def _judgments(path: Path) -> Iterator[_Judgment]:
    """The rows of a shard, without their images."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _columns(path, file.schema_arrow)
            count = 0
            for row_group in range(file.num_row_groups):
                for row, values in enumerate(file.read_row_group(row_group, columns).to_pylist()):
                    known_by = [str(values[key]) for key in IDS]
                    id = "-".join([known_by[0], known_by[1][:8], known_by[2][:8]])
                    place = f"{path.name} row {count} ({id})"
                    count += 1
                    prompt = (values["caption"] or "").strip()
                    yield _Judgment(id, place, prompt, _labels(values), values.get("ties"), path, row_group, row)
    except (pyarrow.ArrowException, OSError) as error:
        with path.open("rb") as file:
            if is_git_lfs_pointer(file.read(100)):
                raise ValueError(
                    f"{path} is a Git LFS pointer, not the parquet file: run `git lfs pull` in its repository"
                ) from None
        raise ValueError(f"{path} is truncated or no parquet file: {error}. Fetch it again") from error


def _columns(path: Path, schema: Any) -> list[str]:
    """The columns other than images; all columns are checked."""
    from pyarrow import types

    def number(kind: Any) -> bool:
        return types.is_floating(kind) or types.is_integer(kind)

    def text(kind: Any) -> bool:
        return types.is_string(kind) or types.is_large_string(kind)

    def data(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    fits = {"caption": text, "label_0": number, "label_1": number, **dict.fromkeys(IMAGES, data)}
    fits |= dict.fromkeys(IDS, lambda kind: types.is_integer(kind) or text(kind))
    fits |= dict.fromkeys(OPTIONAL, types.is_boolean)
    missing = [column for column in NEEDED if column not in schema.names]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; expected Pick-a-Pic's {', '.join(NEEDED)}. It has "
            f"{', '.join(sorted(schema.names))}"
            + (". The editions named no_images lack the images" if set(missing) & set(IMAGES) else "")
        )
    read = [column for column in (*NEEDED, *OPTIONAL) if column in schema.names]
    odd = [f"{column} ({schema.field(column).type})" for column in read if not fits[column](schema.field(column).type)]
    if odd:
        raise ValueError(
            f"{path} has columns of another type than published: {', '.join(odd)}; expected text for caption, numbers "
            "for labels, bytes for images, true or false for has_label and ties"
        )
    return [column for column in read if column not in IMAGES]


def _labels(values: dict[str, Any]) -> tuple[Any, Any] | None:
    """The labels of a row; None if it has none."""
    labels = (values["label_0"], values["label_1"])
    if not values.get("has_label", True):
        return None
    if "has_label" not in values and all(label is None or math.isnan(label) for label in labels):
        return None
    return labels


def _check(judgments: Sequence[_Judgment]) -> None:
    """Refuse labels without meaning, and judgments with the same id."""
    bad: dict[str, list[str]] = {}
    for row in judgments:
        if row.labels is None:
            continue
        if not all(label in (0, 0.5, 1) for label in row.labels):
            why = "labels that are neither 0, 0.5 nor 1"
        elif sum(row.labels) != 1:
            why = "labels that contradict each other"
        elif row.ties is not None and row.ties != (row.labels == (0.5, 0.5)):
            why = f"labels that contradict ties={row.ties}"
        else:
            continue
        bad.setdefault(why, []).append(f"{row.place}: {', '.join(map(str, row.labels))}")
    if bad:
        told = "; ".join(f"{why}: {listed(places)}" for why, places in bad.items())
        raise ValueError(
            f"some rows have {told}. Expected label_0 and label_1 of 1 and 0, 0 and 1, or 0.5 and 0.5 (a tie). "
            "Mend or delete these rows"
        )
    places: dict[str, list[str]] = collections.defaultdict(list)
    for row in judgments:
        places[row.id].append(row.place)
    twice = [" and ".join(of) for of in places.values() if len(of) > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} judgments come more than once: {listed(twice)}. Give each shard once, and one split"
        )


def _preferred(row: _Judgment) -> int:
    """The preferred image: 0 or 1; 0 for a tie."""
    return int(row.labels == (0, 1))


def _with_needed_rows(drawn: Dataset) -> Dataset:
    """The items, with the rows of its row group that are needed set on each image."""
    rows: dict[tuple[Path, str, int], list[int]] = collections.defaultdict(list)
    for item in drawn.items:
        for image in (item.image, item.rejected):
            assert isinstance(image, ParquetImage)
            rows[image.path, image.column, image.row_group].append(image.row)
    wanted = {key: tuple(sorted(of)) for key, of in rows.items()}

    def with_rows(image: Any) -> ParquetImage:
        return dataclasses.replace(image, wanted=wanted[image.path, image.column, image.row_group])

    items = (dataclasses.replace(i, image=with_rows(i.image), rejected=with_rows(i.rejected)) for i in drawn.items)
    return dataclasses.replace(drawn, items=tuple(items))
