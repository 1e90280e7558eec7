"""Reads Pick-a-Pic as published: parquet shards of judgments between two images generated from a prompt."""

import collections
import dataclasses
import hashlib
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vla.checks import POLICIES, WholeNumber, check_choice, listed, refuse_absent, refuse_listed
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, Item
from vla.stimuli.draws import sample

# The images of about 1,500 judgments, or of one row group.
CACHE_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class ParquetImage:
    """An image file in a column of a parquet file, by row group and the row in it, both from 0.

    A parquet file can only be read by row group. So the first image of a row group that is opened reads all images of
    the column that are needed from it (`needed`, ascending), in one pass over a few rows at a time. A process caches up
    to 512 MiB of them.
    """

    item: str
    path: Path
    column: str
    row_group: int
    row: int
    needed: tuple[int, ...]

    def open(self) -> bytes:
        """The image file as bytes; a ValueError if the parquet file is missing or damaged, or the cell is empty."""
        label = f"image of item {self.item!r} ({self.path}, column {self.column}, row group {self.row_group})"
        try:
            data = _CELLS.read(self)
        # The errors of pyarrow are subclasses of ValueError, OSError and KeyError.
        except (OSError, ValueError, LookupError) as error:
            raise ValueError(f"{label} cannot be read: {error}. Fetch the file again, or leave the item out") from error
        if not data:
            raise ValueError(f"{label} is empty. Fetch the file again, or leave the item out")
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
        key = (image.path, stat.st_mtime_ns, stat.st_size, image.column, image.row_group, image.needed)
        with self._lock:
            if key not in self._columns:
                self._columns[key] = _read_cells(image)
                while len(self._columns) > 1 and self._bytes() > CACHE_BYTES:
                    self._columns.popitem(last=False)
            self._columns.move_to_end(key)
            return self._columns[key][image.row]

    def _bytes(self) -> int:
        return sum(len(data or b"") for cells in self._columns.values() for data in cells.values())


_CELLS = _Cells()


def _read_cells(image: ParquetImage) -> dict[int, bytes | None]:
    import pyarrow.parquet

    cells, start = {}, 0
    with pyarrow.parquet.ParquetFile(image.path, buffer_size=2**20, pre_buffer=False) as file:
        batches = file.iter_batches(16, row_groups=[image.row_group], columns=[image.column], use_threads=False)
        for batch in batches:
            column, end = batch.column(0), start + batch.num_rows
            cells.update({row: column[row - start].as_py() for row in image.needed if start <= row < end})
            start = end
            if start > image.needed[-1]:
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
    location: str
    prompt: str
    labels: tuple[Any, Any] | None
    ties: bool | None
    path: Path
    row_group: int
    row: int

    @property
    def is_tie(self) -> bool:
        return self.labels == (0.5, 0.5)

    def item(self) -> Item:
        """The judgment with its images; of a tie, the first counts as preferred."""
        preferred, other = reversed(IMAGES) if self.labels == (0, 1) else IMAGES
        image = ParquetImage(self.id, self.path, preferred, self.row_group, self.row, (self.row,))
        rejected = dataclasses.replace(image, column=other)
        return Item(self.id, image, (self.prompt,), rejected=rejected, group=" ".join(self.prompt.split()))


def read_pick_a_pic(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    split: str | None = None,
    n: WholeNumber | str | None = None,
    seed: int = 42,
    ties: str = "drop",
    unlabelled: str = "drop",
    empty_prompts: str = "refuse",
    name: str = "pick_a_pic",
) -> Dataset:
    """Judgments as items: the preferred image as `image`, the other one as `rejected`, the prompt as the caption.

    The sample is drawn without reading images; images of the sample are read when they are opened. An item's id is
    `ranking_id` and the first eight characters of the two image uids, joined by dashes, because one ranking may compare
    several pairs. Judgments of one prompt (up to white space) share their `group`. The columns are those of v1 and v2:
    caption, jpg_0, jpg_1, label_0, label_1, ranking_id, image_0_uid, image_1_uid, and optionally has_label and ties.

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
        other than 0, 0.5 and 1, or that do not add up to 1; two judgments with one id; or refused rows as above.
    """
    check_choice("ties", ties, TIES)
    check_choice("unlabelled", unlabelled, POLICIES)
    check_choice("empty_prompts", empty_prompts, POLICIES)
    paths = _shards(source, split)
    judgments = [judgment for path in paths for judgment in _judgments(path)]
    _check(judgments)

    bare = [row for row in judgments if row.labels is None]
    tied = [row for row in judgments if row.is_tie]
    blank = [row for row in judgments if not row.prompt]
    for setting, policy, rows, what, remedy in (
        ("unlabelled", unlabelled, bare, "have no label", "Give labelled rows"),
        ("ties", ties, tied, "are ties", 'Give rows without ties, pass ties="only" for the ties alone'),
        ("empty_prompts", empty_prompts, blank, "have an empty prompt", "Give rows with a prompt"),
    ):
        locations = [row.location for row in rows]
        refuse_absent(setting, policy, locations, f"of the {len(judgments)} rows {what}", remedy)
    left_out = {row.id for row in (*bare, *blank)}
    ties_left_out = {row.id for row in judgments if row.is_tie != (ties == "only")}
    kept = [row for row in judgments if row.id not in left_out and row.id not in ties_left_out]
    if not kept:
        raise ValueError(
            f"no judgment is left of the {len(judgments)} rows in {listed([path.name for path in paths])}: "
            f"{len(bare)} have no label, {len(tied)} are ties, {len(blank)} have an empty prompt"
        )
    # With "only", judgments with a preference are not dropped items: they were not requested.
    dropped = left_out | (ties_left_out if ties == "drop" else set())
    items = tuple(row.item() for row in kept)
    return _with_needed_rows(sample(Dataset(name, items, tuple(sorted(dropped))), n, seed))


def _shards(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], split: str | None) -> list[Path]:
    """The shards to read, in order of their names."""
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    sources = [Path(os.path.abspath(Path(each).expanduser())) for each in sources]
    missing = [str(each) for each in sources if not each.exists()]
    if missing:
        raise ValueError(f"{listed(missing)} cannot be found; expected parquet files or a directory of them")
    paths = sorted(path for each in sources for path in ([each] if each.is_file() else each.rglob("*.parquet")))
    splits = sorted({_split(path) for path in paths})
    if split is not None:
        paths = [path for path in paths if _split(path) == split]
    if not paths:
        of = "" if split is None else f" of the split {split!r} (there is {listed(splits) or 'no other'})"
        raise ValueError(f"{listed(list(map(str, sources)))} has no parquet file{of}; fetch a shard of Pick-a-Pic")
    if split is None and len(splits) > 1:
        # validation_unique is part of validation: read together, judgments would come twice.
        raise ValueError(f"{listed(list(map(str, sources)))} has the splits {', '.join(splits)}; name one with split=")
    return paths


def _split(path: Path) -> str:
    named = SHARD.fullmatch(path.stem)
    return named["split"] if named else path.parent.name if path.stem.isdigit() else path.stem


def _judgments(path: Path) -> Iterator[_Judgment]:
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
                    location = f"{path.name} row {count} ({id})"
                    count += 1
                    prompt = (values["caption"] or "").strip()
                    yield _Judgment(id, location, prompt, _labels(values), values.get("ties"), path, row_group, row)
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

    number, text = (types.is_floating, types.is_integer), (types.is_string, types.is_large_string)
    fits: dict[str, tuple[Callable[[Any], bool], ...]] = {"caption": text, "label_0": number, "label_1": number}
    fits |= dict.fromkeys(IMAGES, (types.is_binary, types.is_large_binary))
    fits |= {**dict.fromkeys(IDS, (types.is_integer, *text)), **dict.fromkeys(OPTIONAL, (types.is_boolean,))}
    missing = [column for column in NEEDED if column not in schema.names]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; expected Pick-a-Pic's {', '.join(NEEDED)}. It has "
            f"{', '.join(sorted(schema.names))}"
            + (". The editions named no_images lack the images" if set(missing) & set(IMAGES) else "")
        )
    read = [column for column in (*NEEDED, *OPTIONAL) if column in schema.names]
    of_type = {column: schema.field(column).type for column in read}
    odd = [f"{column} ({of_type[column]})" for column in read if not any(fit(of_type[column]) for fit in fits[column])]
    if odd:
        raise ValueError(
            f"{path} has columns of another type than published: {', '.join(odd)}; expected text for caption, numbers "
            "for labels, bytes for images, true or false for has_label and ties"
        )
    return [column for column in read if column not in IMAGES]


def _labels(values: dict[str, Any]) -> tuple[Any, Any] | None:
    labels = (values["label_0"], values["label_1"])
    is_labelled = any(label is not None and not math.isnan(label) for label in labels)
    return labels if values.get("has_label", is_labelled) else None


def _check(judgments: Sequence[_Judgment]) -> None:
    """Refuse labels without meaning, and judgments with the same id."""
    bad: dict[str, list[str]] = {}
    for row in judgments:
        if row.labels is None:
            continue
        if not all(label in (0, 0.5, 1) for label in row.labels):
            reason = "labels that are neither 0, 0.5 nor 1"
        elif sum(row.labels) != 1:
            reason = "labels that contradict each other"
        elif row.ties is not None and row.ties != row.is_tie:
            reason = f"labels that contradict ties={row.ties}"
        else:
            continue
        bad.setdefault(reason, []).append(f"{row.location}: {', '.join(map(str, row.labels))}")
    if bad:
        reasons = "; ".join(f"{reason}: {listed(locations)}" for reason, locations in bad.items())
        raise ValueError(
            f"some rows have {reasons}. Expected label_0 and label_1 of 1 and 0, 0 and 1, or 0.5 and 0.5 (a tie). "
            "Correct or delete these rows"
        )
    locations: dict[str, list[str]] = collections.defaultdict(list)
    for row in judgments:
        locations[row.id].append(row.location)
    twice = [" and ".join(of_id) for of_id in locations.values() if len(of_id) > 1]
    refuse_listed(twice, f"{len(twice)} judgments come more than once", "Give each shard once, and one split")


def _with_needed_rows(drawn: Dataset) -> Dataset:
    """The items, with the rows of its row group that are needed set on each image."""
    rows: dict[tuple[Path, str, int], list[int]] = collections.defaultdict(list)
    for item in drawn.items:
        for image in (item.image, item.rejected):
            assert isinstance(image, ParquetImage)
            rows[image.path, image.column, image.row_group].append(image.row)
    needed = {key: tuple(sorted(of_column)) for key, of_column in rows.items()}

    def with_rows(image: Any) -> ParquetImage:
        return dataclasses.replace(image, needed=needed[image.path, image.column, image.row_group])

    items = (dataclasses.replace(i, image=with_rows(i.image), rejected=with_rows(i.rejected)) for i in drawn.items)
    return dataclasses.replace(drawn, items=tuple(items))
