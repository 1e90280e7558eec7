"""Several captions or images of each item in a stated order, one view for each place in it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vla.checks import check_choice, check_whole_number, listed
from vla.records import Dataset, Item, View
from vla.stimuli.draws import shuffled
from vla.stimuli.tagging import DEFAULT_PIPELINE
from vla.stimuli.views import DEFAULT_SEED, caption_view, common_items, image_view

ORDERS = ("published", "seeded")
IMAGE_SETS = ("synthetic", "with_photograph")


def caption_exemplars(
    dataset: Dataset,
    k: Any,
    *,
    order: str = "published",
    human: Any = None,
    manipulation: Any = None,
    seed: int = DEFAULT_SEED,
    tagger: Any = DEFAULT_PIPELINE,
) -> tuple[View, ...]:
    """The first `k` captions of each item: human ones, then paraphrases.

    Args:
      dataset: The items.
      k: How many.
      order: "published", or "seeded" for an order drawn for each item, within its human captions and within its
        paraphrases.
      human: How many human captions an item gives, so that the n-th exemplar of all items is of one kind; by default
        as many as the item with the fewest has.
      manipulation: As of `caption_view`, done to each.
      seed: Seed of the order and of what the manipulation draws.
      tagger: As of `caption_view`.

    Returns:
      `k` views of the same ids. An item of which a manipulation empties one caption is left out of all of them, so
      that every mean is over the same items.

    Raises:
      ValueError: items have too few captions and paraphrases; or as `caption_view`.
    """
    fewest = min((len(item.captions) for item in dataset.items), default=0)
    own = fewest if human is None else human
    check_whole_number("human", own, 0)
    check_whole_number("k", k)
    wanted = k
    places = [("human", i) for i in range(min(wanted, own))] + [("paraphrase", i) for i in range(wanted - own)]
    _refuse_short(dataset, wanted, min(wanted, own), "human captions", lambda item: item.captions)
    _refuse_short(dataset, wanted, max(wanted - own, 0), "paraphrases", lambda item: item.paraphrases)
    ordered, mark = _ordered(dataset, order, seed, "captions", "paraphrases")
    views = [
        caption_view(ordered, index, manipulation, source=source, seed=seed, tagger=tagger) for source, index in places
    ]
    return _same_items(views, mark)


def image_exemplars(
    dataset: Dataset,
    k: Any,
    *,
    source: str = "synthetic",
    order: str = "published",
    manipulation: Any = None,
    seed: int = DEFAULT_SEED,
) -> tuple[View, ...]:
    """The first `k` images of each item.

    Args:
      dataset: The items.
      k: How many.
      source: "synthetic" for synthetic images alone, or "with_photograph" for the photograph before them.
      order: "published", or "seeded" for an order of the synthetic images drawn for each item.
      manipulation: As of `image_view`, done to each.
      seed: Seed of the order and of what the manipulation draws.

    Returns:
      `k` views of the same ids.

    Raises:
      ValueError: items have too few images; an unknown source; or as `image_view`.
    """
    check_choice("source", source, IMAGE_SETS)
    check_whole_number("k", k)
    wanted, first = k, int(source == "with_photograph")
    _refuse_short(dataset, wanted, wanted - first, "synthetic images", lambda item: item.synthetic)
    ordered, mark = _ordered(dataset, order, seed, "synthetic")
    views = [image_view(ordered, manipulation, seed=seed)] * first
    views += [
        image_view(ordered, manipulation, source="synthetic", index=index, seed=seed) for index in range(wanted - first)
    ]
    return _same_items(views, mark)


def _refuse_short(dataset: Dataset, k: int, needed: int, what: str, own: Callable[[Item], Sequence[Any]]) -> None:
    """Refuse what some items do not have enough of."""
    short = [f"{item.id} ({len(own(item))})" for item in dataset.items if len(own(item)) < needed]
    if short:
        raise ValueError(
            f"k={k} exemplars need {needed} {what} an item, but {len(short)} of the {len(dataset)} items of "
            f"{dataset.name} have fewer: {listed(short)}. Ask for fewer, add more to the dataset, or leave these "
            "items out"
        )


def _ordered(dataset: Dataset, order: str, seed: int, *fields: str) -> tuple[Dataset, str]:
    """The dataset with fields of its items put in the asked order, and what to add to names of views."""
    check_choice("order", order, ORDERS)
    if order == "published":
        return dataset, ""
    items = tuple(
        dataclasses.replace(
            item, **{field: tuple(shuffled((seed, item.id, "order", field), getattr(item, field))) for field in fields}
        )
        for item in dataset.items
    )
    return dataclasses.replace(dataset, items=items), f"/seeded-{seed}"


def _same_items(views: Sequence[View], mark: str) -> tuple[View, ...]:
    same, _ = common_items(views)
    return tuple(dataclasses.replace(view, name=f"{view.name}{mark}") for view in same)
