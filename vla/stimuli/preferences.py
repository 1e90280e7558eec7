"""Pairs of views: the better and the worse image, or caption, of each item."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from vla.checks import WholeNumber, check_choice, check_whole_number, refuse_listed
from vla.records import Dataset, View
from vla.stimuli.specs import Spec
from vla.stimuli.views import image_view, make_view

TIES = ("drop", "published", "refuse")
# For static checkers; at run time anything: `_by_item` refuses what it cannot read.
if TYPE_CHECKING:
    Scores = xr.DataArray | Mapping[str, ArrayLike]
else:
    Scores = object


def preference_views(dataset: Dataset, manipulation: Spec = None, **options: Any) -> tuple[View, View]:
    """The preferred and the other image of each judgment.

    Args:
      dataset: Judgments, such as Pick-a-Pic's.
      manipulation: As of `image_view`, applied to both.
      **options: As of `image_view`.

    Raises:
      ValueError: Items without a rejected image; or as `image_view`.
    """
    rejected = image_view(dataset, manipulation, source="rejected", **options)
    preferred = image_view(dataset, manipulation, **options)
    suffix = "" if preferred.name.endswith("/original") else preferred.name.removeprefix(dataset.name)
    return (
        dataclasses.replace(preferred, name=f"{dataset.name}/preferred{suffix}"),
        dataclasses.replace(rejected, name=f"{dataset.name}/non_preferred{suffix}"),
    )


def best_and_worst(
    dataset: Dataset, scores: Scores, *, n_captions: WholeNumber | None = None, ties: str = "drop"
) -> tuple[View, View]:
    """The caption of each item with the highest score, and the one with the lowest.

    Captions of equal score are ranked in published order, so the first of the highest is the best and the last of the
    lowest the worst.

    Args:
      dataset: The items.
      scores: A score for each human caption, such as CLIP Score: a DataArray with dims (item, caption) and item names,
        NaN where an item has no such caption; or a dict of sequences by item id.
      n_captions: Rank only the first captions of each item, such as COCO's first five; None for all.
      ties: Policy for items whose captions all have one score, such as a single caption: "drop" (left out of both
        views, counted), "refuse", or "published" to rank them in published order.

    Raises:
      ValueError: A score is missing, not finite, or of a caption that does not exist; ties, if refused; no item left.
    """
    (best,), (worst,) = _ends(dataset, _ranked(dataset, scores, n_captions, ties), 1, ("best", "worst"))
    return best, worst


def above_and_below_median(
    dataset: Dataset, scores: Scores, *, n_captions: WholeNumber | None = None, ties: str = "drop"
) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """The captions of each item above and below the median of its scores, to be averaged as exemplars.

    Each set has half as many captions as the item with the fewest captions has, rounded down: of five captions the
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
    half = min(map(len, ranked.values())) // 2
    if half == 0:
        single = [id for id, order in ranked.items() if len(order) < 2]
        refuse_listed(single, "items with one caption have no median to be above or below", "Leave them out")
    return _ends(dataset, ranked, half, ("above_median", "below_median"))


def _ends(
    dataset: Dataset, ranked: Mapping[str, Sequence[int]], count: int, names: tuple[str, str]
) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """Views of the `count` first captions of the ranking, and of the last, the very last first."""
    left_out = [id for id in dataset.ids if id not in ranked]
    captions = {item.id: item.captions for item in dataset.items}

    def views(name: str, ranks: Sequence[int]) -> tuple[View, ...]:
        return tuple(
            make_view(
                f"{dataset.name}/{name}" + (f"_{number}" if count > 1 else ""),
                "language",
                list(ranked),
                [captions[id][order[rank]] for id, order in ranked.items()],
                left_out,
            )
            for number, rank in enumerate(ranks)
        )

    return views(names[0], range(count)), views(names[1], [-1 - rank for rank in range(count)])


def _ranked(dataset: Dataset, scores: Scores, n_captions: int | None, ties: str) -> dict[str, list[int]]:
    """Indices of each item's captions, the highest score first, without the items that are left out."""
    check_choice("ties", ties, TIES)
    check_whole_number("n_captions", n_captions, other=[None])
    by_item = _by_item(scores)
    lacking = [id for id in dataset.ids if id not in by_item]
    refuse_listed(
        lacking,
        f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no scores",
        "Score the captions of these very items",
    )
    ranked, tied = {}, []
    for item in dataset.items:
        values, count = by_item[item.id], len(item.captions)
        used = values[:count][:n_captions]
        too_few = len(used) < min(count, n_captions or count)
        if too_few or not np.isfinite(used).all() or not np.isnan(values[count:]).all():
            raise ValueError(
                f"item {item.id!r} has {count} captions, but the scores {values.tolist()}; expected one finite score "
                "for each caption, and NaN beyond. Score the captions of this dataset, or set n_captions"
            )
        if used.min() == used.max() and ties != "published":
            tied.append(item.id)
        else:
            ranked[item.id] = np.argsort(-used, kind="stable").tolist()
    if ties == "refuse":
        remedy = 'Leave them out by ties="drop", or rank them by ties="published"'
        refuse_listed(tied, f"{len(tied)} items have captions of one score only", remedy)
    if not ranked:
        raise ValueError(f"no item of {dataset.name} is left: none has captions of different scores")
    return ranked


def _by_item(scores: Any) -> dict[str, np.ndarray]:
    if isinstance(scores, Mapping):
        return {str(id): np.asarray(values, float).reshape(-1) for id, values in scores.items()}
    if set(getattr(scores, "dims", ())) != {"item", "caption"} or "item" not in scores.coords:
        raise ValueError(
            f"scores is a {type(scores).__name__}; expected a DataArray with dims (item, caption) whose items are "
            "named, or a dict of sequences by item id"
        )
    rows = scores.transpose("item", "caption")
    return dict(zip(map(str, rows["item"].values.tolist()), np.asarray(rows.values, float), strict=True))
