"""Adds generated captions and images to the items of a dataset."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla.checks import POLICIES, RemediableError, check_choice, check_whole_number, listed, refuse_absent, refuse_listed
from vla.records import Dataset
from vla.stimuli.generators.image_files import LAYOUT, find_images, is_blank_file, read_record


def with_paraphrases(dataset: Dataset, source: str | os.PathLike[str], *, missing: str = "refuse") -> Dataset:
    """The dataset with `Item.paraphrases` filled.

    Args:
      dataset: The items.
      source: The folder from `generate_paraphrases`, or a file of JSON lines `{"id": ..., "paraphrases": [...]}`. If an
        entry has `captions`, they must be the item's first captions. Entries of other items are ignored.
      missing: Policy for items without paraphrases: "refuse", or "drop" to leave them out and add their ids to
        `Dataset.dropped`.

    Raises:
      ValueError: The source does not exist; an entry is invalid; an item has two entries; captions have changed; items
        have no paraphrases and `missing` is "refuse".
    """
    check_choice("missing", missing, POLICIES)
    items = {item.id: item for item in dataset.items}
    paraphrases: dict[str, tuple[str, ...]] = {}
    stale: list[str] = []
    for location, entry in _entries(Path(source).expanduser()):
        id, texts, captions = _parsed(location, entry)
        if id not in items:
            continue
        if captions is not None and captions != items[id].captions[: len(captions)]:
            stale.append(id)
        elif id in paraphrases:
            raise ValueError(f"{source} has paraphrases of {id!r} twice (the second in {location}). Delete one of them")
        else:
            paraphrases[id] = texts
    outdated = sorted(set(stale) - set(paraphrases))
    refuse_listed(
        outdated,
        f"{source} has paraphrases of other captions than {dataset.name} has now, for {len(outdated)} items",
        "Generate them again, or read the captions from which they were made",
    )
    return _joined(dataset, {id: {"paraphrases": texts} for id, texts in paraphrases.items()}, missing, "paraphrases")


def with_synthetic(
    dataset: Dataset, folder: str | os.PathLike[str], *, count: int | None = None, missing: str = "refuse"
) -> Dataset:
    """The dataset with `Item.synthetic` filled, in the order of the images' numbers.

    Images from `generate_images` are the first variant of each caption, then the second, and so on.

    Args:
      dataset: The items.
      folder: The folder from `generate_images`, or images made elsewhere in a layout of
        `vla.stimuli.generators.image_files`.
      count: Number of images per item, the first ones; None for the largest number that an item has.
      missing: Policy for items with a missing image or an image of one colour (which safety checkers leave): "refuse",
        or "drop" to leave them out and add their ids to `Dataset.dropped`.

    Raises:
      ValueError: No such folder; no images or duplicates; images of other captions; missing images, if refused.
    """
    check_choice("missing", missing, POLICIES)
    check_whole_number("count", count, other=[None])
    images = find_images(dataset, folder)
    numbers = range(count or max(number + 1 for of_item in images.values() for number in of_item))
    absent, blank, stale = [], [], []
    kept: dict[str, dict[str, Any]] = {}
    for item in dataset.items:
        of_item = images[item.id]
        absent_here = [f"{item.id}/{number}" for number in numbers if number not in of_item]
        absent += absent_here
        if absent_here:
            continue
        paths = [of_item[number] for number in numbers]
        # An image without a record of its origin may be of any caption.
        records = {path: read_record(path) or {} for path in paths}
        stale += [str(path) for path in paths if records[path].get("prompt", item.captions[0]) not in item.captions]
        blank_here = [str(path) for path in paths if is_blank_file(path)]
        blank += blank_here
        if not blank_here:
            kept[item.id] = {"synthetic": tuple(paths)}
    refuse_listed(
        stale,
        f"{len(stale)} images were generated from other captions than {dataset.name} has now",
        "Generate them again, or read the captions from which they were made",
    )
    lists = (("are missing", absent), ("are of one colour", blank))
    faults = [f"{len(names)} {fault}: {listed(names)}" for fault, names in lists if names]
    if faults and missing == "refuse":
        raise RemediableError(
            f"of {len(numbers)} images (counted from 0) for each of the {len(dataset)} items of {dataset.name} in "
            f'{folder}, {"; ".join(faults)}. Generate them, or pass missing="drop" to leave these items out (their ids '
            f"are kept in the dataset's `dropped`), or request fewer with count=. The layout is {LAYOUT}",
            {"missing": "drop"},
        )
    return _joined(dataset, kept, missing, "synthetic images")


def _joined(dataset: Dataset, fields: dict[str, dict[str, Any]], missing: str, name: str) -> Dataset:
    """The dataset with these fields added to its items, without the items that have none."""
    lacking = [item.id for item in dataset.items if item.id not in fields]
    refuse_absent(
        "missing", missing, lacking, f"of the {len(dataset)} items of {dataset.name} have no {name}", "Generate them"
    )
    items = tuple(dataclasses.replace(item, **fields[item.id]) for item in dataset.items if item.id in fields)
    if not items:
        raise ValueError(f"no item of {dataset.name} is left: none of the {len(dataset)} has {name}")
    return dataclasses.replace(dataset, items=items, dropped=tuple(sorted({*dataset.dropped, *lacking})))


def _entries(source: Path) -> Iterator[tuple[str, Any]]:
    """Location and content of every entry of a folder of JSON files, or of a file of JSON lines."""
    if source.is_dir():
        files = sorted(source.glob("*.json"))
        if not files:
            raise ValueError(f"{source} holds no .json file; expected the folder from generate_paraphrases")
        texts = ((str(path), path.read_bytes()) for path in files)
    elif source.is_file():
        lines = source.read_bytes().split(b"\n")
        texts = ((f"{source} line {i}", line) for i, line in enumerate(lines, 1) if line.strip())
    else:
        raise ValueError(f"{source} does not exist; expected a folder of paraphrases, or a file of JSON lines")
    for location, text in texts:
        try:
            yield location, json.loads(text)
        except ValueError as error:
            raise ValueError(f"{location} is not JSON: {error}. Correct it, or generate it again") from error


def _parsed(location: str, entry: Any) -> tuple[str, tuple[str, ...], tuple[str, ...] | None]:
    """Id, paraphrases and captions of an entry; texts are stripped of white space, as in all datasets."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ValueError(f'{location} has no text under "id"; expected {{"id": ..., "paraphrases": [...]}}')
    fields: dict[str, tuple[str, ...]] = {}
    for field in ("paraphrases", "captions") if entry.get("captions") is not None else ("paraphrases",):
        texts = entry.get(field)
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)):
            raise ValueError(f'{location}: "{field}" of {entry["id"]!r} is not a list of non-empty texts')
        fields[field] = tuple(text.strip() for text in texts)
    return entry["id"], fields["paraphrases"], fields.get("captions")
