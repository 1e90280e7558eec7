"""Turns the rows of a table into items, by the names of its columns."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.records import Dataset, ImageSource, Item
from vla.stimuli.datasets.captioned_folder import MISSING
from vla.stimuli.draws import sample


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that is read by column.

    Attributes:
      source: Its name in messages.
      columns: Names of its columns.
      length: Number of rows.
      cells: The cells of a column: of all rows, or of those given.
      picture: The image of a row, not read yet; None if the cell is empty.
    """

    source: str
    columns: Sequence[str]
    length: int
    cells: Callable[[str, Sequence[int] | None], Sequence[Any]]
    picture: Callable[[int, str], ImageSource | None]

    def check(self, setting: str, column: str) -> None:
        """Refuse a column that does not exist; `sentences.raw` is the field `raw` of the column `sentences`."""
        if column.split(".")[0] not in self.columns:
            raise ValueError(
                f"{setting}={column!r}: {self.source} has no such column; it has {', '.join(sorted(self.columns))}"
            )


def read_table(
    table: Table,
    image: str,
    text: str | Sequence[str],
    id: str | None,
    *,
    name: str,
    n: Any,
    seed: int,
    missing_images: str,
) -> Dataset:
    """A sample of the rows of a table as items.

    The sample is drawn from the ids. Captions are read for the sampled rows only, images when they are opened.

    Args:
      table: The table.
      image: Column of images.
      text: Column of captions, a string or a list of strings per row; or several columns. A field of a nested column is
        named with a dot: `sentences.raw`.
      id: Column of ids, text or whole numbers; None for row numbers from 0.
      name: Name of the dataset.
      n: Number of rows; None or "all" for all.
      seed: Seed of the sample.
      missing_images: For rows without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.

    Raises:
      ValueError: A column is missing or of another type; repeated ids; an empty image or caption.
    """
    check_choice("missing_images", missing_images, POLICIES)
    texts = [text] if isinstance(text, str) else list(text)
    for setting, column in [("image", image), *(("text", each) for each in texts), *([("id", id)] if id else [])]:
        table.check(setting, column)
    if not texts:
        raise ValueError("text=(): name at least one column of captions")
    ids = [str(row) for row in range(table.length)] if id is None else _ids(table, id)
    pictures = [table.picture(row, image) for row in range(table.length)]
    empty = [ids[row] for row, picture in enumerate(pictures) if picture is None]
    refuse_absent("missing_images", missing_images, empty, f"rows of {table.source} have no image", "Fill them")
    rows = {ids[row]: row for row in range(table.length)}
    items = tuple(Item(id, picture, ()) for id, picture in zip(ids, pictures, strict=True) if picture is not None)
    if not items:
        raise ValueError(f"{table.source} has no row with an image in the column {image!r}")
    drawn = sample(Dataset(name, items, tuple(sorted(empty))), n, seed)
    captions = _captions(table, texts, [rows[id] for id in drawn.ids])
    empty = [
        item.id
        for item, texts_of_item in zip(drawn.items, captions, strict=True)
        if not texts_of_item or not all(texts_of_item) or not MISSING.isdisjoint(texts_of_item)
    ]
    if empty:
        raise ValueError(
            f"{len(empty)} rows of {table.source} have an empty caption, none, or one that stands for none "
            f"({', '.join(sorted(MISSING))}), in {', '.join(texts)}: {listed(empty)}. Fill or delete them"
        )
    pairs = zip(drawn.items, captions, strict=True)
    return dataclasses.replace(drawn, items=tuple(dataclasses.replace(item, captions=text) for item, text in pairs))


def _ids(table: Table, column: str) -> list[str]:
    """The ids of all rows; repeated ids are refused."""
    ids = []
    for row, cell in enumerate(table.cells(column, None)):
        value: Any = cell.decode() if isinstance(cell, bytes) else cell
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError(
                f"id={column!r}: row {row} of {table.source} has {value!r}; expected text or a whole number. Name "
                "another column, or none to take the row's number"
            )
        ids.append(str(value))
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [id for id in ids if id in seen or seen.add(id)]
        raise ValueError(
            f"id={column!r}: {table.source} has ids more than once: {listed(twice)}. An item is one row, all its "
            "captions in it; name another column, or none to take the row's number"
        )
    return ids


def _captions(table: Table, texts: Sequence[str], rows: Sequence[int]) -> list[tuple[str, ...]]:
    """The captions of the given rows, without white space around them."""
    captions: list[tuple[str, ...]] = [()] * len(rows)
    for column in texts:
        first, *fields = column.split(".")
        for place, cell in enumerate(table.cells(first, rows)):
            strings = _strings(cell, fields)
            if strings is None:
                raise ValueError(
                    f"text={column!r}: row {rows[place]} of {table.source} has a {type(cell).__name__}, "
                    f"{str(cell)[:60]!r}; expected a string or a list of strings"
                    + (f". Name one of its fields: {_fields(column, cell)}" if _fields(column, cell) else "")
                )
            captions[place] += tuple(string.strip() for string in strings)
    return captions


def _strings(cell: Any, fields: Sequence[str]) -> list[str] | None:
    """The strings in a cell or in a field of it; None if it has something else."""
    if isinstance(cell, dict):
        return _strings(cell[fields[0]], fields[1:]) if fields and fields[0] in cell else None
    if isinstance(cell, bytes | str):
        return None if fields else [cell.decode() if isinstance(cell, bytes) else cell]
    if isinstance(cell, list | tuple) or hasattr(cell, "tolist"):
        inner = [_strings(each, fields) for each in cell]
        return None if any(each is None for each in inner) else [s for each in inner for s in each or ()]
    return None


def _fields(column: str, cell: Any) -> str:
    """The names of the fields of a nested cell."""
    while isinstance(cell, list | tuple) and cell:
        cell = cell[0]
    return ", ".join(f"{column}.{key}" for key in sorted(cell)) if isinstance(cell, dict) else ""
