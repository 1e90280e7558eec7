"""Pairs of views that differ in which of an item's images, or of its captions, is the better one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla.checks import check_choice, check_whole_number, listed
from vla.records import Dataset, View
from vla.stimuli.views import image_view, make_view

TIES = ("drop", "published", "refuse")


def preference_views(dataset: Dataset, manipulation: Any = None, **options: Any) -> tuple[View, View]:
    """The preferred and the other image of each judgment.

    Args:
      dataset: Judgments, such as Pick-a-Pic's.
      manipulation: As of `image_view`, done to both.
      **options: As of `image_view`.

    Raises:
      ValueError: items without a rejected image; or as `image_view`.
    """
    other, preferred = (
        image_view(dataset, manipulation, source=source, **options) for source in ("rejected", "photograph")
    )
    done = "" if preferred.name.endswith("/original") else preferred.name.removeprefix(dataset.name)
    return (
        dataclasses.replace(preferred, name=f"{dataset.name}/preferred{done}"),
        dataclasses.replace(other, name=f"{dataset.name}/non_preferred{done}"),
    )


def best_and_worst(
    dataset: Dataset, scores: Any, *, n_captions: int | None = None, ties: str = "drop"
) -> tuple[View, View]:
    """The caption of each item with the highest score, and the one with the lowest.

    Captions of one score are ranked in published order, so the first of the highest is the best and the last of the
    lowest the worst.

    Args:
      dataset: The items.
      scores: A score for each human caption, such as CLIP Score: a DataArray with dims (item, caption), the items
        named, NaN where an item has no such caption; or a dict of sequences by item id.
      n_captions: Rank the first so many captions of each item, such as COCO's first five; None for all of them.
      ties: What to do with items all of whose captions have one score, a single caption included: "drop" (left out of
        both views, counted), "refuse", or "published" to rank them in published order.

    Raises:
      ValueError: a score is missing, not finite, or of a caption that is not there; ties, if refused; no item left.
    """
    (best,), (worst,) = _ends(dataset, _ranked(dataset, scores, n_captions, ties), 1, ("best", "worst"))
    return best, worst


def above_and_below_median(
    dataset: Dataset, scores: Any, *, n_captions: int | None = None, ties: str = "drop"
) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """The captions of each item above and below the median of its scores, to be averaged as exemplars.

    Each group has half as many captions as the item with the fewest captions has, rounded down: of five captions the
    two highest, best first, and the two lowest, worst first; the one in the middle is in neither.

    Args:
      dataset: As of `best_and_worst`.
      scores: As of `best_and_worst`.
      n_captions: As of `best_and_worst`.
      ties: As of `best_and_worst`.

    Raises:
      ValueError: As `best_and_worst`.
    """
    ranked = _ranked(dataset, scores, n_captions, ties)
    half = min(len(order) for order in ranked.values()) // 2
    if half == 0:
        alone = [id for id, order in ranked.items() if len(order) < 2]
        raise ValueError(f"items with one caption have no median to be above or below: {listed(alone)}. Leave them out")
    return _ends(dataset, ranked, half, ("above_median", "below_median"))


def _ends(
    dataset: Dataset, ranked: Mapping[str, list[int]], count: int, names: tuple[str, str]
) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """Views of the `count` first captions of the ranking, and of the last, the very last first."""
    left_out = [id for id in dataset.ids if id not in ranked]
    captions = {item.id: item.captions for item in dataset.items}

    def views(name: str, places: list[int]) -> tuple[View, ...]:
        marks = [""] if count == 1 else [f"_{place}" for place in range(count)]
        return tuple(
            make_view(
                f"{dataset.name}/{name}{mark}",
                "language",
                list(ranked),
                [captions[id][order[place]] for id, order in ranked.items()],
                left_out,
            )
            for mark, place in zip(marks, places, strict=True)
        )

    first = list(range(count))
    return views(names[0], first), views(names[1], [-1 - place for place in first])


def _ranked(dataset: Dataset, scores: Any, n_captions: int | None, ties: str) -> dict[str, list[int]]:
    """Places of each item's captions, the highest score first, without the items that are left out."""
    check_choice("ties", ties, TIES)
    check_whole_number("n_captions", n_captions, other=[None])
    by_item = _by_item(scores)
    lacking = [id for id in dataset.ids if id not in by_item]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no scores: {listed(lacking)}. Score "
            "the captions of these very items"
        )
    ranked, tied = {}, []
    for item in dataset.items:
        given, count = by_item[item.id], len(item.captions)
        own = given[:count][:n_captions]
        if (
            len(own) < min(count, n_captions or count)
            or not np.isfinite(own).all()
            or not np.isnan(given[count:]).all()
        ):
            raise ValueError(
                f"item {item.id!r} has {count} captions, but the scores {given.tolist()}; expected one finite score "
                "for each caption, and NaN beyond. Score the captions of this dataset, or set n_captions"
            )
        if own.min() == own.max() and ties != "published":
            tied.append(item.id)
        else:
            ranked[item.id] = [int(place) for place in np.argsort(-own, kind="stable")]
    if tied and ties == "refuse":
        raise ValueError(
            f'{len(tied)} items have captions of one score only: {listed(tied)}. Leave them out by ties="drop", or '
            'rank them by ties="published"'
        )
    if not ranked:
        raise ValueError(f"no item of {dataset.name} is left: none has captions of different scores")
    return ranked


def _by_item(scores: Any) -> dict[str, np.ndarray]:
    """Scores of the captions by item id."""
    if isinstance(scores, Mapping):
        return {str(id): np.asarray(own, float).reshape(-1) for id, own in scores.items()}
    if set(getattr(scores, "dims", ())) != {"item", "caption"} or "item" not in scores.coords:
        raise ValueError(
            f"scores is a {type(scores).__name__}; expected a DataArray with dims (item, caption) whose items are "
            "named, or a dict of sequences by item id"
        )
    rows = scores.transpose("item", "caption")
    return dict(zip(map(str, rows["item"].values.tolist()), np.asarray(rows.values, float), strict=True))
