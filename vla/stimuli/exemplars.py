"""Several captions or images of each item, as one view per exemplar."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import WholeNumber, check_choice, check_whole_number, refuse_listed
from vla.records import Dataset, Item, View
from vla.stimuli.draws import shuffled
from vla.stimuli.specs import Spec
from vla.stimuli.tagging import DEFAULT_PIPELINE
from vla.stimuli.views import DEFAULT_SEED, caption_view, common_items, image_view

ORDERS = ("published", "seeded")
IMAGE_SETS = ("synthetic", "with_photograph")


def caption_exemplars(
    dataset: Dataset,
    k: WholeNumber,
    *,
    order: str = "published",
    human: WholeNumber | None = None,
    manipulation: Spec = None,
    seed: int = DEFAULT_SEED,
    tagger: object = DEFAULT_PIPELINE,
) -> tuple[View, ...]:
    """The first `k` captions of each item: human ones, then paraphrases.

    Args:
      dataset: The items.
      k: Number of captions.
      order: "published", or "seeded" for an order drawn for each item, within its human captions and within its
        paraphrases.
      human: Number of human captions per item, so that the n-th exemplar of all items is human or of none; None for as
        many as the item with the fewest has.
      manipulation: As of `caption_view`, applied to each caption.
      seed: Seed of the order and of random draws of the manipulation.
      tagger: As of `caption_view`.

    Returns:
      `k` views of the same ids, so that every mean is over the same items. An item of which a manipulation empties one
      caption is left out of all of them.

    Raises:
      ValueError: Items have too few captions and paraphrases; or as `caption_view`.
    """
    if human is None:
        human = min((len(item.captions) for item in dataset.items), default=0)
    check_whole_number("human", human, 0)
    check_whole_number("k", k)
    n_human = min(k, human)
    _refuse_short(dataset, k, n_human, "human captions", lambda item: item.captions)
    _refuse_short(dataset, k, k - n_human, "paraphrases", lambda item: item.paraphrases)
    ordered, suffix = _ordered(dataset, order, seed, "captions", "paraphrases")
    sources = [("human", index) for index in range(n_human)] + [("paraphrase", index) for index in range(k - n_human)]
    views = [
        caption_view(ordered, index, manipulation, source=source, seed=seed, tagger=tagger) for source, index in sources
    ]
    return _same_items(views, suffix)


def image_exemplars(
    dataset: Dataset,
    k: WholeNumber,
    *,
    source: str = "synthetic",
    order: str = "published",
    manipulation: Spec = None,
    seed: int = DEFAULT_SEED,
) -> tuple[View, ...]:
    """The first `k` images of each item.

    Args:
      dataset: The items.
      k: Number of images.
      source: "synthetic" for synthetic images alone, or "with_photograph" for the photograph before them.
      order: "published", or "seeded" for an order of the synthetic images drawn for each item.
      manipulation: As of `image_view`, applied to each image.
      seed: Seed of the order and of random draws of the manipulation.

    Returns:
      `k` views of the same ids.

    Raises:
      ValueError: Items have too few images; an unknown source; or as `image_view`.
    """
    check_choice("source", source, IMAGE_SETS)
    check_whole_number("k", k)
    n_photographs = int(source == "with_photograph")
    n_synthetic = k - n_photographs
    _refuse_short(dataset, k, n_synthetic, "synthetic images", lambda item: item.synthetic)
    ordered, suffix = _ordered(dataset, order, seed, "synthetic")
    views = [image_view(ordered, manipulation, seed=seed)] * n_photographs
    views += [image_view(ordered, manipulation, source="synthetic", index=i, seed=seed) for i in range(n_synthetic)]
    return _same_items(views, suffix)


def _refuse_short(dataset: Dataset, k: int, needed: int, what: str, values: Callable[[Item], Sequence[Any]]) -> None:
    short = [f"{item.id} ({len(values(item))})" for item in dataset.items if len(values(item)) < needed]
    refuse_listed(
        short,
        f"k={k} exemplars need {needed} {what} an item, but {len(short)} of the {len(dataset)} items of {dataset.name} "
        "have fewer",
        "Ask for fewer, add more to the dataset, or leave these items out",
    )


def _ordered(dataset: Dataset, order: str, seed: int, *fields: str) -> tuple[Dataset, str]:
    """The dataset with these fields of its items in the requested order, and the suffix of names of its views."""
    check_choice("order", order, ORDERS)
    if order == "published":
        return dataset, ""

    def reordered(item: Item) -> Item:
        values = {name: tuple(shuffled((seed, item.id, "order", name), getattr(item, name))) for name in fields}
        return dataclasses.replace(item, **values)

    return dataclasses.replace(dataset, items=tuple(map(reordered, dataset.items))), f"/seeded-{seed}"


def _same_items(views: Sequence[View], suffix: str) -> tuple[View, ...]:
    same, _ = common_items(views)
    return tuple(dataclasses.replace(view, name=f"{view.name}{suffix}") for view in same)
