"""Picks one image or one caption of each item as it was published."""

from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import check_choice, listed
from vla.records import Dataset, ImageSource, Item
from vla.stimuli.draws import permutation

IMAGE_SOURCES = ("photograph", "rejected", "synthetic")
CAPTION_SOURCES = ("human", "paraphrase")
SEEDED = "seeded"


def images_of(dataset: Dataset, source: str, index: Any) -> tuple[str, tuple[ImageSource, ...]]:
    """What the images are called, and one of each item (see `vla.stimuli.image_view`).

    Raises:
      ValueError: an unknown source; a bad index; items without such an image.
    """
    check_choice("source", source, IMAGE_SOURCES)
    place = _place(index, "the image's place in its item, from 0")
    if source == "synthetic":
        _refuse_short(dataset, place, lambda item: item.synthetic, "synthetic image")
        return f"synthetic_{place}", tuple(item.synthetic[place] for item in dataset.items)
    if place:
        raise ValueError(f"index={place}, but an item has one {source}; only synthetic images are counted")
    if source == "photograph":
        return source, tuple(item.image for item in dataset.items)
    rejected = [item.rejected for item in dataset.items]
    lacking = [item.id for item in dataset.items if item.rejected is None]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no rejected image: {listed(lacking)}. "
            "Only judgments between two images have one: read a dataset of preferences, such as pick_a_pic"
        )
    return source, tuple(image for image in rejected if image is not None)


def captions_of(dataset: Dataset, source: str, index: Any, seed: int) -> tuple[str, tuple[str, ...]]:
    """What the captions are called, and one of each item (see `vla.stimuli.caption_view`).

    Raises:
      ValueError: an unknown source; a bad index; items with too few captions.
    """
    check_choice("source", source, CAPTION_SOURCES)
    spoken = "caption" if source == "human" else "paraphrase"

    def own(item: Item) -> Sequence[str]:
        return item.captions if source == "human" else item.paraphrases

    if index == SEEDED:
        _refuse_short(dataset, 0, own, spoken)
        drawn = [own(item)[permutation((seed, item.id, spoken), len(own(item)))[0]] for item in dataset.items]
        return f"{spoken}_{SEEDED}-{seed}", tuple(drawn)
    place = _place(index, f'the {spoken}\'s place in published order, from 0, or "{SEEDED}"')
    _refuse_short(dataset, place, own, spoken)
    return f"{spoken}_{place}", tuple(own(item)[place] for item in dataset.items)


def _place(index: Any, expected: str) -> int:
    """The index as a number; configs give it as text."""
    text = str(index)
    if isinstance(index, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"index={index!r}; expected {expected}")
    return int(text)


def _refuse_short(dataset: Dataset, place: int, own: Callable[[Item], Sequence[Any]], what: str) -> None:
    short = [f"{item.id} ({len(own(item))})" for item in dataset.items if len(own(item)) <= place]
    if short:
        fewest = min(len(own(item)) for item in dataset.items)
        remedy = f"Use an index below {fewest}" if fewest else f"Add them to the dataset (Item has none of a {what})"
        raise ValueError(
            f"{what} index {place} asks for {place + 1} {what}s an item, but {len(short)} of the {len(dataset)} items "
            f"of {dataset.name} have fewer: {listed(short)}. {remedy}, or leave these items out"
        )
