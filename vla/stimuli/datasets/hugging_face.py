"""Reads Hugging Face datasets by the names of their image and text columns."""

import contextlib
import csv
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vla.checks import WholeNumber, listed
from vla.files import is_git_lfs_pointer
from vla.records import Dataset, ImageSource
from vla.stimuli.datasets.captioned_folder import refuse_swallowed_lines
from vla.stimuli.datasets.columns import Table, read_table
from vla.stimuli.images import not_an_image

FILES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
SHUFFLE_BUFFER = 1000


# Not compared by value: that would compare whole tables.
@dataclasses.dataclass(frozen=True, eq=False)
class TableImage:
    """An encoded image in a cell of a Hugging Face dataset, whose columns are not decoded; read when it is opened."""

    rows: Any
    row: int
    column: str

    def open(self) -> bytes:
        """The image file as bytes."""
        cell = self.rows[self.row][self.column]
        return cell["bytes"] if isinstance(cell, dict) else cell

    def content(self) -> str:
        """SHA-256 of the image file."""
        return hashlib.sha256(self.open()).hexdigest()


def read_hugging_face(
    source: str | os.PathLike[str],
    *,
    image: str = "image",
    text: str | Sequence[str] = "text",
    id: str | None = None,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    n: WholeNumber | str | None = None,
    seed: int = 42,
    streaming: bool = False,
    missing_images: str = "refuse",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Rows of a Hugging Face dataset as items. Code of a dataset is never run.

    Args:
      source: An id of the Hub; a directory that `save_to_disk` wrote, an imagefolder, or a directory of parquet, CSV or
        JSON files; or one such file.
      image: Column of images: `datasets.Image`, bytes of image files or, in local files, paths relative to the
        directory.
      text: Column of captions, a string or a list of strings per row; or several columns. A field of a nested column
        is named with a dot: `sentences.raw`.
      id: Column of ids; None for row numbers from 0.
      split: Such as "test"; required if there are several.
      config: Configuration of the dataset, if it has several.
      revision: Branch, tag or commit on the Hub; None for the newest.
      name: Name of the dataset; by default the last part of `source`.
      n: Number of rows to draw; None or "all" for all.
      seed: Seed of the sample.
      streaming: Download about `n` rows instead of the whole dataset: the first rows of a stream shuffled by seed
        (shards, then within 1,000 rows). This is another sample than without streaming, and is kept in memory.
      missing_images: For rows without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      cache_dir: Cache of the library; None for its default.

    Raises:
      ValueError: No such dataset, split or column; a column of another type; repeated ids; an empty image or caption;
        `streaming` without a number of rows.
    """
    path = Path(source).expanduser()
    local = path.exists()
    address = str(path.absolute() if local else source)
    try:
        rows = _loaded(address, local, split, config, revision, streaming, cache_dir)
    # The library raises errors of many types, those of the network among them.
    except Exception as error:
        if pointers := _lfs_pointers(path):
            raise ValueError(
                f"{address} holds Git LFS pointers, not the files themselves: {listed(pointers)}. Run `git lfs pull` "
                "there"
            ) from error
        raise ValueError(f"{address} cannot be loaded as a Hugging Face dataset: {error}") from error
    if streaming:
        rows, n = _head(rows, address, image, n, seed), None
    folder = (path if path.is_dir() else path.parent) if local else None
    images = _images(rows, image, address, folder) if image in rows.column_names else []

    def cells(column: str, numbers: Sequence[int] | None) -> Sequence[Any]:
        cells_of = rows.select_columns([column])
        return (cells_of if numbers is None else cells_of.select(numbers)).with_format(None)[:][column]

    if local:
        _check_csv(path, id, rows)
    # The suffix of a file is not part of the name; dots in names of folders and of the Hub are.
    name = name or (path.stem if path.is_file() else Path(address).name)
    return read_table(Table(address, rows.column_names, cells, images), image, text, id, name, n, seed, missing_images)


def _loaded(
    address: str,
    local: bool,
    split: str | None,
    config: str | None,
    revision: str | None,
    streaming: bool,
    cache_dir: str | os.PathLike[str] | None,
) -> Any:
    """One split of the dataset, perhaps as a stream."""
    import datasets

    path = Path(address)
    if local and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        rows = _split(datasets.load_from_disk(address), split)
        return rows.to_iterable_dataset() if streaming else rows
    options: dict[str, Any] = {"streaming": streaming, "cache_dir": None if cache_dir is None else str(cache_dir)}
    if local and path.is_file():
        if path.suffix.lower() not in FILES:
            raise ValueError(f"its suffix is {path.suffix!r}; known are {', '.join(sorted(FILES))}")
        if FILES[path.suffix.lower()] == "csv":
            # As strings: pandas would read the id 007 as 7 and the captions "null" and "NA" as missing.
            with path.open(newline="", encoding="utf-8-sig") as file:
                columns = next(csv.reader(file), [])
            text = datasets.Features({column: datasets.Value("string") for column in columns})
            options |= {"features": text, "keep_default_na": False}
        return _split(datasets.load_dataset(FILES[path.suffix.lower()], data_files=address, **options), split)
    if local:
        return _split(datasets.load_dataset(address, config, **options), split)
    if split is None:
        (split,) = _only(datasets.get_dataset_split_names(address, config, revision=revision))
    return datasets.load_dataset(address, config, split=split, revision=revision, **options)


def _lfs_pointers(path: Path) -> list[str]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    small = (file for file in files if file.is_file() and file.stat().st_size < 1024)
    return [file.name for file in small if is_git_lfs_pointer(file.read_bytes())]


def _check_csv(source: Path, id: str | None, rows: Any) -> None:
    """Refuse local CSV files that are read wrongly: swallowed lines, and ids that lose leading zeros."""
    numbers = str(getattr(rows.features.get(id), "dtype", "")).startswith(("int", "uint"))
    for path in [source] if source.is_file() else sorted(source.rglob("*.csv")):
        long: list[tuple[str, str, str]] = []
        for line, fields, n_lines in _csv_rows(path) if path.suffix.lower() == ".csv" else ():
            if n_lines > 1:
                long += [(f"line {line}", next(iter(fields.values()))[:60], field) for field in fields.values()]
            value = fields.get(id or "", "")
            if numbers and len(value) > 1 and value.startswith("0") and value.isdigit():
                raise ValueError(
                    f"id={id!r}: {path} has ids with leading zeros, such as {value!r}, which are read as numbers. "
                    "Read this one file instead of its folder, or keep the table as JSON lines with ids as text"
                )
        refuse_swallowed_lines(str(path), long, ())


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str], int]]:
    """First line, fields by column and number of lines of each row of a CSV file."""
    # Fields above Python's limit of 128 KiB are images, which are refused when the image column is read.
    with contextlib.suppress(csv.Error), path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restkey="", restval="")
        end = reader.line_num if reader.fieldnames else 0
        for fields in reader:
            yield end + 1, {key: str(value) for key, value in fields.items()}, reader.line_num - end
            end = reader.line_num


def _split(loaded: Any, split: str | None) -> Any:
    if not isinstance(loaded, dict):
        if split is not None:
            raise ValueError(f"split={split!r}, but it has no splits; leave split out")
        return loaded
    if split is None:
        (split,) = _only(list(loaded))
    if split not in loaded:
        raise ValueError(f"it has no split {split!r}; it has {', '.join(sorted(loaded))}")
    return loaded[split]


def _only(splits: Sequence[str]) -> Sequence[str]:
    if len(splits) != 1:
        raise ValueError(f"it has the splits {', '.join(sorted(splits))}; name one with split=")
    return splits


def _head(stream: Any, address: str, image: str, n: Any, seed: int) -> Any:
    import datasets

    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"streaming=True with n={n!r}; say how many rows to take")
    if stream.features is not None and isinstance(stream.features.get(image), datasets.Image):
        stream = stream.cast_column(image, datasets.Image(decode=False))
    rows = list(stream.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER).take(n))
    if len(rows) < n:
        raise ValueError(f"{address} has {len(rows)} rows; {n} were asked for. Ask for fewer, or leave streaming out")
    return datasets.Dataset.from_list(rows, features=stream.features)


def _images(rows: Any, column: str, address: str, folder: Path | None) -> list[ImageSource | None]:
    """The image of each row, not read yet; None if there is none."""
    import datasets
    from pyarrow import types

    if isinstance(rows.features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    rows = rows.select_columns([column]).with_format(None)
    prefix = f"image={column!r}: the column of {address}"
    images: list[ImageSource | None] = []
    for batch in rows.with_format("arrow").iter(1000):
        cells = batch.column(column).combine_chunks()
        is_struct = types.is_struct(cells.type)
        if is_struct and {"bytes", "path"} <= {field.name for field in cells.type}:
            # Flattened, because the fields of an empty struct may hold anything in memory.
            fields = dict(zip((field.name for field in cells.type), cells.flatten(), strict=True))
            filled, paths = fields["bytes"].is_valid().to_pylist(), fields["path"].to_pylist()
        elif types.is_binary(cells.type) or types.is_large_binary(cells.type):
            filled, paths = cells.is_valid().to_pylist(), [None] * len(cells)
        elif types.is_string(cells.type) or types.is_large_string(cells.type):
            filled, paths = [False] * len(cells), cells.to_pylist()
            if folder is None and not any(path and not_an_image(path) for path in paths):
                raise ValueError(
                    f"{prefix} holds text, such as {paths[0]!r}; expected images or the bytes of image files. Paths "
                    "are read of local tables only"
                )
        else:
            raise ValueError(
                f"{prefix} is of the type {cells.type}; expected images or the bytes of image files; in local tables "
                "paths, too. URLs are not fetched"
            )
        for inline, path in zip(filled, paths, strict=True):
            if path and not inline and (reason := not_an_image(path)):
                raise ValueError(f"{prefix} has {path[:60]!r}, which {reason}")
            file = (Path(path) if folder is None or is_struct else folder / path) if path else None
            images.append(TableImage(rows, len(images), column) if inline else file)
    return images
