"""Puts generated captions and pictures back to the items they belong to."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla.records import Dataset, Item, listed
from vla.stimuli.generators.blank import is_blank_file
from vla.stimuli.generators.image_folder import LAYOUT, find_images
from vla.stimuli.generators.picture_file import read_record

POLICIES = ("drop", "refuse")


def with_paraphrases(dataset: Dataset, source: str | os.PathLike[str], *, missing: str = "refuse") -> Dataset:
    """The dataset with `Item.paraphrases` filled.

    Args:
      dataset: The items.
      source: The folder that `generate_paraphrases` returned; or paraphrases made elsewhere, a file of JSON lines
        `{"id": ..., "paraphrases": [...]}`. If an entry has `captions`, these must be the item's first ones. Entries
        of other items are passed over.
      missing: What to do with items without paraphrases: "refuse", or "drop" to leave them out and add their ids to
        `Dataset.dropped`.

    Raises:
      ValueError: no such file; a bad entry; two for one item; captions that have changed; items without, if refused.
    """
    _check_policy(missing)
    items = {item.id: item for item in dataset.items}
    found: dict[str, tuple[str, ...]] = {}
    stale: list[str] = []
    for where, entry in _entries(Path(source).expanduser()):
        name, paraphrases, captions = _entry(where, entry)
        if name not in items:
            continue
        if captions is not None and captions != items[name].captions[: len(captions)]:
            stale.append(name)
        elif name in found:
            raise ValueError(f"{source} has paraphrases of {name!r} twice (the second in {where}). Delete one of them")
        else:
            found[name] = paraphrases
    outdated = sorted(set(stale) - set(found))
    if outdated:
        raise ValueError(
            f"{source} has paraphrases of other captions than {dataset.name} now has, for {len(outdated)} items: "
            f"{listed(outdated)}. Generate them again, or read the captions they were made from"
        )
    return _joined(dataset, {name: {"paraphrases": texts} for name, texts in found.items()}, missing, "paraphrases")


def with_synthetic(
    dataset: Dataset, folder: str | os.PathLike[str], *, count: int | None = None, missing: str = "refuse"
) -> Dataset:
    """The dataset with `Item.synthetic` filled, in the order of the pictures' numbers.

    Of pictures that `generate_images` made, this is the first variant of each caption, then the second, and so on.

    Args:
      dataset: The items.
      folder: The folder that `generate_images` returned, or pictures made elsewhere: `<id>/<n>.png` or
        `<id>_<n>.png`, see `vla.stimuli.generators.image_folder`.
      count: How many pictures an item, the first ones; None for as many as the item with the most has.
      missing: What to do with items that lack a picture or have one of a single colour (such as a safety checker
        leaves): "refuse", or "drop" to leave them out and add their ids to `Dataset.dropped`.

    Raises:
      ValueError: no such folder; no or doubled pictures; pictures of other captions than the items have; pictures
        that lack or are of one colour, if refused: each named.
    """
    _check_policy(missing)
    if count is not None and count < 1:
        raise ValueError(f"count={count}; expected a whole number of at least 1, or None for all")
    pictures = find_images(dataset, folder)
    wanted = range(count or max(number + 1 for own in pictures.values() for number in own))
    absent, blank, stale = [], [], []
    kept: dict[str, dict[str, Any]] = {}
    for item in dataset.items:
        own = pictures[item.id]
        missed = [number for number in wanted if number not in own]
        absent += [f"{item.id}/{number}" for number in missed]
        if missed:
            continue
        chosen = [own[number] for number in wanted]
        stale += [str(path) for path in chosen if not _fits(item, path)]
        of_one_colour = [str(path) for path in chosen if is_blank_file(path)]
        blank += of_one_colour
        if not of_one_colour:
            kept[item.id] = {"synthetic": tuple(chosen)}
    if stale:
        raise ValueError(
            f"{len(stale)} pictures were drawn from other captions than {dataset.name} now has: {listed(stale)}. "
            "Generate them again, or read the captions they were made from"
        )
    told = [
        f"{len(names)} {what}: {listed(names)}"
        for what, names in (("are absent", absent), ("are of one colour", blank))
        if names
    ]
    if told and missing == "refuse":
        raise ValueError(
            f"of {len(wanted)} pictures (counted from 0) for each of the {len(dataset)} items of {dataset.name} in "
            f'{folder}, {"; ".join(told)}. Make them, or pass missing="drop" to leave these items out (their ids are '
            f"kept in the dataset's `dropped`), or ask for fewer with count=. The layout is {LAYOUT}"
        )
    return _joined(dataset, kept, missing, "synthetic images")


def _check_policy(missing: str) -> None:
    if missing not in POLICIES:
        raise ValueError(f"missing={missing!r}; expected one of {', '.join(POLICIES)}")


def _joined(dataset: Dataset, fields: dict[str, dict[str, Any]], missing: str, what: str) -> Dataset:
    """The dataset with these fields of its items changed, and without the items that have none."""
    lacking = [item.id for item in dataset.items if item.id not in fields]
    if lacking and missing == "refuse":
        raise ValueError(
            f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no {what}: {listed(lacking)}. Generate "
            'them, or pass missing="drop" to leave these items out (their ids are kept in the dataset\'s `dropped`)'
        )
    items = tuple(dataclasses.replace(item, **fields[item.id]) for item in dataset.items if item.id in fields)
    if not items:
        raise ValueError(f"no item of {dataset.name} is left: none of the {len(dataset)} has {what}")
    return dataclasses.replace(dataset, items=items, dropped=tuple(sorted({*dataset.dropped, *lacking})))


def _fits(item: Item, path: Path) -> bool:
    """Whether a picture was drawn from one of the item's captions, as far as it says."""
    record = read_record(path)
    return record is None or record.get("prompt") in item.captions


def _entries(source: Path) -> Iterator[tuple[str, Any]]:
    """Every entry of a folder of JSON files, or of a file of JSON lines, and where it stands."""
    if source.is_dir():
        files = sorted(source.glob("*.json"))
        if not files:
            raise ValueError(f"{source} holds no .json file; expected the folder that generate_paraphrases returned")
        texts = ((str(path), path.read_bytes()) for path in files)
    elif source.is_file():
        lines = source.read_bytes().split(b"\n")
        texts = ((f"{source} line {i}", line) for i, line in enumerate(lines, 1) if line.strip())
    else:
        raise ValueError(f"there is no {source}; expected a folder of paraphrases, or a file of JSON lines")
    for where, text in texts:
        try:
            yield where, json.loads(text)
        except ValueError as error:
            raise ValueError(f"{where} is not JSON: {error}. Mend it, or generate it again") from error


def _entry(where: str, entry: Any) -> tuple[str, tuple[str, ...], tuple[str, ...] | None]:
    """Id, paraphrases and captions of an entry; white space around a text is not part of it, as in all datasets."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ValueError(f'{where} has no text under "id"; expected {{"id": ..., "paraphrases": [...]}}')
    told: dict[str, tuple[str, ...]] = {}
    for field in ("paraphrases", "captions") if entry.get("captions") is not None else ("paraphrases",):
        texts = entry.get(field)
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text.strip() for text in texts)
        ):
            raise ValueError(f'{where}: "{field}" of {entry["id"]!r} is no list of texts that are not empty')
        told[field] = tuple(text.strip() for text in texts)
    return entry["id"], told["paraphrases"], told.get("captions")
