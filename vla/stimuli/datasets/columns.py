"""Turns the rows of a table into items, by the names of its columns."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import POLICIES, WholeNumber, check_choice, refuse_absent, refuse_listed
from vla.records import Dataset, ImageSource, Item
from vla.stimuli.datasets.captioned_folder import MISSING
from vla.stimuli.draws import sample


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that is read by column: of some rows or, for None, of all.

    `source` is its name in messages; `images` has the image of each row, not read yet, or None if its cell is empty.
    """

    source: str
    columns: Sequence[str]
    cells: Callable[[str, Sequence[int] | None], Sequence[Any]]
    images: Sequence[ImageSource | None]


def read_table(
    table: Table,
    image: str,
    text: str | Sequence[str],
    id: str | None,
    name: str,
    n: WholeNumber | str | None,
    seed: int,
    missing_images: str,
) -> Dataset:
    """A sample of the rows of a table as items, as of `read_hugging_face`.

    The sample is drawn from the ids. Captions are read for the sampled rows only, images when they are opened.
    """
    check_choice("missing_images", missing_images, POLICIES)
    texts = [text] if isinstance(text, str) else list(text)
    for setting, column in [("image", image), *(("text", each) for each in texts), *([("id", id)] if id else [])]:
        if column.split(".")[0] not in table.columns:
            raise ValueError(
                f"{setting}={column!r}: {table.source} has no such column; it has {', '.join(sorted(table.columns))}"
            )
    if not texts:
        raise ValueError("text=(): name at least one column of captions")
    ids = [str(row) for row in range(len(table.images))] if id is None else _ids(table, id)
    empty = [id for id, source in zip(ids, table.images, strict=True) if source is None]
    refuse_absent("missing_images", missing_images, empty, f"rows of {table.source} have no image", "Fill them")
    rows = {id: row for row, id in enumerate(ids)}
    items = tuple(Item(id, source, ()) for id, source in zip(ids, table.images, strict=True) if source is not None)
    if not items:
        raise ValueError(f"{table.source} has no row with an image in the column {image!r}")
    drawn = sample(Dataset(name, items, tuple(sorted(empty))), n, seed)
    captions = dict(zip(drawn.ids, _captions(table, texts, [rows[id] for id in drawn.ids]), strict=True))
    empty = [id for id, of_item in captions.items() if not of_item or not MISSING.union([""]).isdisjoint(of_item)]
    refuse_listed(
        empty,
        f"{len(empty)} rows of {table.source} have an empty caption, none, or one that stands for none "
        f"({', '.join(sorted(MISSING))}), in {', '.join(texts)}",
        "Fill or delete them",
    )
    items = tuple(dataclasses.replace(item, captions=captions[item.id]) for item in drawn.items)
    return dataclasses.replace(drawn, items=items)


def _ids(table: Table, column: str) -> list[str]:
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
    refuse_listed(
        [id for id, times in collections.Counter(ids).items() if times > 1],
        f"id={column!r}: {table.source} has ids more than once",
        "An item is one row, all its captions in it; name another column, or none to take the row's number",
    )
    return ids


def _captions(table: Table, texts: Sequence[str], rows: Sequence[int]) -> list[tuple[str, ...]]:
    """The captions of these rows, without white space around them."""
    captions: list[tuple[str, ...]] = [()] * len(rows)
    for column in texts:
        first, *fields = column.split(".")
        for index, cell in enumerate(table.cells(first, rows)):
            strings = _strings(cell, fields)
            if strings is None:
                raise ValueError(
                    f"text={column!r}: row {rows[index]} of {table.source} has a {type(cell).__name__}, "
                    f"{str(cell)[:60]!r}; expected a string or a list of strings"
                    + (f". Name one of its fields: {_fields(column, cell)}" if _fields(column, cell) else "")
                )
            captions[index] += tuple(string.strip() for string in strings)
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
    while isinstance(cell, list | tuple) and cell:
        cell = cell[0]
    return ", ".join(f"{column}.{key}" for key in sorted(cell)) if isinstance(cell, dict) else ""
