"""Turns rows of any table, of which some columns were named, into items."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import POLICIES, check_choice, listed, refuse_absent
from vla.records import Dataset, ImageSource, Item
from vla.stimuli.datasets.captioned_folder import MISSING
from vla.stimuli.draws import sample


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that are read column by column.

    Attributes:
      source: What to call the table in messages.
      columns: Names of its columns.
      length: How many rows.
      cells: All cells of a column by its name, or those of some rows.
      picture: The image of a row, not read yet; None where the cell is empty.
    """

    source: str
    columns: Sequence[str]
    length: int
    cells: Callable[[str, Sequence[int] | None], Sequence[Any]]
    picture: Callable[[int, str], ImageSource | None]

    def check(self, setting: str, column: str) -> None:
        """Refuse a column that is not there; `sentences.raw` is the field `raw` of the column `sentences`."""
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
    """A sample of a table's rows as items.

    The sample is drawn from the ids; captions are read of the drawn rows alone, images when they are opened.

    Args:
      table: The table.
      image: Column of images.
      text: Column of captions, one string or a list of strings a row; or several columns, in this order. A field
        of a nested column is named with a dot, such as `sentences.raw`.
      id: Column of ids, text or whole numbers; None takes the row's number, counted from 0.
      name: The dataset's name.
      n: How many rows; None or "all" for all.
      seed: Which sample.
      missing_images: What to do with rows whose image is empty: "refuse", or "drop" to leave them out and
        record their ids in `Dataset.dropped`.

    Raises:
      ValueError: a column is absent or of another kind; ids repeat; an image or a caption is empty.
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
        for item, own in zip(drawn.items, captions, strict=True)
        if not own or not all(own) or not MISSING.isdisjoint(own)
    ]
    if empty:
        raise ValueError(
            f"{len(empty)} rows of {table.source} have an empty caption, none, or one that stands for none "
            f"({', '.join(sorted(MISSING))}), in {', '.join(texts)}: {listed(empty)}. Fill or delete them"
        )
    told = zip(drawn.items, captions, strict=True)
    return dataclasses.replace(drawn, items=tuple(dataclasses.replace(item, captions=said) for item, said in told))


def _ids(table: Table, column: str) -> list[str]:
    """The ids of all rows, each once."""
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
    """The captions of some rows, white space around them removed."""
    said: list[tuple[str, ...]] = [()] * len(rows)
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
            said[place] += tuple(string.strip() for string in strings)
    return said


def _strings(cell: Any, fields: Sequence[str]) -> list[str] | None:
    """The strings in a cell, or in a field of it; None if there is something else."""
    if isinstance(cell, dict):
        return _strings(cell[fields[0]], fields[1:]) if fields and fields[0] in cell else None
    if isinstance(cell, bytes | str):
        return None if fields else [cell.decode() if isinstance(cell, bytes) else cell]
    if isinstance(cell, list | tuple) or hasattr(cell, "tolist"):
        inner = [_strings(each, fields) for each in cell]
        return None if any(each is None for each in inner) else [s for each in inner for s in each or ()]
    return None


def _fields(column: str, cell: Any) -> str:
    """What a nested cell could be asked for."""
    while isinstance(cell, list | tuple) and cell:
        cell = cell[0]
    return ", ".join(f"{column}.{key}" for key in sorted(cell)) if isinstance(cell, dict) else ""
