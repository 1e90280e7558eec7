"""How well each single item is predicted from the other modality.

N items, m items of a fold, e target units.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from vla.alignment.held_out import HeldOut
from vla.metrics.ridge_measures import rounding

ENDS = ("best", "worst")


def item_scores(out: HeldOut, items: Sequence[str]) -> pd.DataFrame:
    """Scores of every item, each predicted by the map of the fold that did not see it.

    Args:
      out: From `vla.alignment.held_out.held_out`.
      items: The items' names, in the order of its rows.

    Returns:
      Rows by item with the columns `item`; `fold`; `correlation`, Pearson r over target units (each in units of its
      training mean and scale; those that vary over the training and the test items of the fold) of the item's
      prediction and its own target; `match`, the share of the other items of the fold whose target is less like the
      prediction than the item's own, ties half, by chance 1/2, whose mean within a fold is `matching_accuracy`; `rank`,
      1 where the own target is the likest, ties sharing their mean rank; `size`, the norm of the
      target, small for items near the mean. NaN where prediction or target is the same for all units, or no
      unit varies.

    Raises:
      ValueError: Another number of names than items.
    """
    if len(items) != len(out.fold):
        raise ValueError(f"{len(items)} names for {len(out.fold)} items: give one for each.")
    table = pd.DataFrame({"item": list(items), "fold": out.fold})
    own, match, rank = np.full((3, len(items)), np.nan)
    for fold in np.unique(out.fold):
        rows = np.flatnonzero(out.fold == fold)
        varies = out.varies & (np.ptp(out.actual[rows], axis=0) > 0)
        if not varies.any():
            continue
        predicted, actual = (_normal(values[rows][:, varies]) for values in (out.predicted, out.actual))
        own[rows] = np.einsum("ne,ne->n", predicted, actual)
        likeness = predicted @ actual.T
        mine = np.diagonal(likeness)[:, None]
        others = ~np.eye(len(rows), dtype=bool) & np.isfinite(likeness)
        count = others.sum(axis=1)
        ahead, tie = mine - likeness, rounding(likeness)
        won = (((ahead > tie) + 0.5 * (np.abs(ahead) <= tie)) * others).sum(axis=1)
        defined = np.isfinite(mine[:, 0]) & (count > 0)
        match[rows] = np.where(defined, won / np.maximum(count, 1), np.nan)
        before = (((ahead < -tie) + 0.5 * (np.abs(ahead) <= tie)) * others).sum(axis=1)
        rank[rows] = np.where(defined, 1 + before, np.nan)
    table["correlation"], table["match"], table["rank"] = own, match, rank
    table["size"] = np.linalg.norm(out.actual[:, out.varies], axis=1)
    return table


def best_and_worst(scores: pd.DataFrame, count: int = 10, by: str = "correlation") -> pd.DataFrame:
    """The `count` items with the highest scores, then those with the lowest, with the columns `end` and `place`.

    Items without a score are in neither; with fewer than twice as many items each end has half of them.

    Raises:
      ValueError: No column of that name, or a count below 1.
    """
    if by not in scores or count < 1:
        raise ValueError(f"by={by!r}, count={count}: expected one of {', '.join(sorted(scores))}, and at least 1.")
    ordered = scores.dropna(subset=[by]).sort_values([by, "item"], ascending=[False, True], kind="stable")
    count = min(count, len(ordered) // 2)
    ends = [ordered.head(count), ordered.tail(count).iloc[::-1]]
    marked = [part.assign(end=end, place=np.arange(1, count + 1)) for end, part in zip(ENDS, ends, strict=True)]
    return pd.concat(marked, ignore_index=True)


def best_and_worst_on_average(items: pd.DataFrame, count: int) -> pd.DataFrame:
    """The best and worst items of each direction by their mean correlation over model pairs.

    Args:
      items: Columns `direction`, `item`, `correlation` and `caption`, a row for each model pair.
      count: How many at each end; with fewer than twice as many items each end has half of them.

    Returns:
      Columns `direction`, `item`, `correlation`, `caption`, `end` ("best" or "worst") and `place` from 1.
    """
    found = []
    for direction, own in items.groupby("direction", sort=False):
        mean = own.groupby("item", sort=False).agg(correlation=("correlation", "mean"), caption=("caption", "first"))
        found.append(best_and_worst(mean.reset_index(), count).assign(direction=direction))
    columns = ["direction", "item", "correlation", "caption", "end", "place"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _normal(values: Float[np.ndarray, "N e"]) -> Float[np.ndarray, "N e"]:
    """Rows less their mean, of norm 1; NaN where a row is constant."""
    centred = values - values.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    floor = np.finfo(np.float64).eps * np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(size > floor, centred / np.where(size > floor, size, 1.0), np.nan)
