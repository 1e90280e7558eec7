"""Alignment by kind of content: per-item scores of groups of items, with intervals from resampled items.

N items, R resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

# Fewer items than this give an interval that says nothing.
FEWEST = 5


def by_group(
    scores: Mapping[str, float],
    groups: Mapping[str, Sequence[str]],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    fewest: int = FEWEST,
) -> pd.DataFrame:
    """The mean score of each group of items, and how it differs from that of the items outside it.

    Args:
      scores: A score by item, such as `correlation` of `vla.alignment.item_scores`; NaN ones are left out.
      groups: The groups that each item belongs to, one, several or none, such as COCO's supercategories; items that
        are not in it are in no comparison.
      resamples: Bootstrap samples: items of the group, and items outside it, drawn with replacement.
      confidence: Of the intervals, which are expanded for few items (`expanded_tails`): that of a difference
        as for the smaller of the two sides.
      seed: Of the bootstrap.
      fewest: Groups of fewer items, or outside which fewer lie, have NaN for intervals and a note.

    Returns:
      Rows by group, the highest mean first, with `group`, `n_items`, `mean`, `ci_low`, `ci_high`, `n_rest`,
      `difference` (mean of the group less mean of the rest), `difference_ci_low`, `difference_ci_high` and `note`.

    Raises:
      ValueError: No item with a score is in any group; a bad number.
    """
    _check(resamples, confidence)
    known = {item: float(score) for item, score in scores.items() if item in groups and np.isfinite(score)}
    names = sorted({group for item in known for group in groups[item]})
    if not names:
        raise ValueError(
            f"None of the {len(scores)} scored items is in a group: give groups by the same item names, such as "
            f"{next(iter(scores), '')!r}"
        )
    rng, rows = np.random.default_rng(seed), []
    for name in names:
        inside = np.array([score for item, score in known.items() if name in groups[item]])
        rest = np.array([score for item, score in known.items() if name not in groups[item]])
        few = min(len(inside), len(rest)) < fewest
        drawn, drawn_rest = _means(inside, resamples, rng), _means(rest, resamples, rng)
        own, smaller = (expanded_tails(max(n, 2), confidence) for n in (len(inside), min(len(inside), len(rest))))
        low, high = _interval(drawn, own) if len(inside) >= fewest else (np.nan, np.nan)
        gap_low, gap_high = (np.nan, np.nan) if few else _interval(drawn - drawn_rest, smaller)
        rows.append(
            {
                "group": name,
                "n_items": len(inside),
                "mean": inside.mean(),
                "ci_low": low,
                "ci_high": high,
                "n_rest": len(rest),
                "difference": inside.mean() - rest.mean() if len(rest) else np.nan,
                "difference_ci_low": gap_low,
                "difference_ci_high": gap_high,
                "note": f"too few items: fewer than {fewest} in the group or outside it" if few else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["mean", "group"], ascending=[False, True], ignore_index=True)


def expanded_tails(n: int, confidence: Any) -> tuple[float, float]:
    """Quantiles of the draws of `n` units, at least two, that are the ends of an interval of that confidence.

    Percentiles of draws of n units are too narrow by sqrt((n - 1) / n), and assume the normal distribution where that
    of t with n - 1 degrees of freedom is right. The expanded percentile interval uses percentiles further out instead.

    Source: Hesterberg (2015), What Teachers Should Know About the Bootstrap, section 5.
    """
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + confidence) / 2, n - 1)
    low = float(stats.norm.cdf(-reach))
    return low, 1 - low


def by_level(levels: Mapping[str, float], count: int, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Items in `count` groups of equal size by a value, such as concreteness, the lowest first; ties by item name.

    Raises:
      ValueError: Fewer items with a value than groups, or another number of names.
    """
    ordered = sorted((value, item) for item, value in levels.items() if np.isfinite(value))
    if len(names) != count or count < 2 or len(ordered) < count:
        raise ValueError(
            f"{len(ordered)} items with a value, {count} groups named {', '.join(names)}: expected one "
            "name for each of two groups or more, and an item in each."
        )
    parts = np.array_split(np.arange(len(ordered)), count)
    return {ordered[row][1]: (name,) for name, part in zip(names, parts, strict=True) for row in part}


def rank_correlation(
    scores: Mapping[str, float],
    levels: Mapping[str, float],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Spearman's rho of items' scores with a value of theirs: `n_items`, `rho`, `ci_low`, `ci_high` and `note`.

    The interval is a percentile bootstrap over items. Items without either are left out.

    Raises:
      ValueError: Fewer than three items with both; a bad number.
    """
    _check(resamples, confidence)
    items = [item for item in scores if item in levels and np.isfinite(scores[item]) and np.isfinite(levels[item])]
    if len(items) < 3:
        raise ValueError(f"{len(items)} items have both a score and a value: a correlation needs three.")
    a, b = (np.array([of[item] for item in items], np.float64) for of in (scores, levels))
    rho = _rho(a[None], b[None])[0]
    if np.isnan(rho):
        return {"n_items": len(items), "rho": rho, "ci_low": rho, "ci_high": rho, "note": "all values are the same"}
    drawn = np.random.default_rng(seed).integers(len(items), size=(resamples, len(items)))
    low, high = _interval(_rho(a[drawn], b[drawn]), ((1 - confidence) / 2, (1 + confidence) / 2))
    return {"n_items": len(items), "rho": rho, "ci_low": low, "ci_high": high, "note": ""}


def _rho(a: Float[np.ndarray, "R N"], b: Float[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
    """Spearman's rho of every row; NaN where either is constant."""
    ranks = [stats.rankdata(values, axis=1) for values in (a, b)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1.0), np.nan)


def _means(values: Float[np.ndarray, " N"], resamples: int, rng: np.random.Generator) -> Float[np.ndarray, " R"]:
    """Means of resampled values; NaN of none."""
    if not len(values):
        return np.full(resamples, np.nan)
    return values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)


def _interval(drawn: Float[np.ndarray, " R"], tails: tuple[float, float]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, tails)
    return float(low), float(high)


def _check(resamples: int, confidence: float) -> None:
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples={resamples}, confidence={confidence}: expected at least 1, and between 0 and 1.")
