"""How well each single item is predicted from the other modality.

N items, m items of a fold, e target units.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from vla import devices
from vla.checks import check_choice, check_names, check_whole_number
from vla.metrics.folds import Fold, outer_folds
from vla.metrics.ridge_measures import rounding
from vla.metrics.ridge_predictor import prepare_predictor, prepare_targets, solution_weights, target_grams
from vla.metrics.ridge_search import choose_shared, inner_blocks, unit_losses
from vla.metrics.ridge_settings import RidgeSettings, find_protocol

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


class FoldMap(NamedTuple):
    """A ridge map fitted on one fold's training items; targets are in units of their training mean and scale.

    Attributes:
      train: Rows it was fitted on.
      test: Rows it predicts.
      image: Row for row of the predictor's directions, what the map makes of it: the training rows' fitted targets are
        an orthonormal basis times `image`, so both have the same right singular vectors and singular values.
      predicted: Of the test rows.
      actual: Of the test rows.
      varies: Units that vary over the training rows; the others are 0 in all of the above.
      alpha: The penalty chosen; one per unit where asked for.
    """

    train: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"]
    image: Float[np.ndarray, "r e"]
    predicted: Float[np.ndarray, "m e"]
    actual: Float[np.ndarray, "m e"]
    varies: Bool[np.ndarray, " e"]
    alpha: Any


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Every item's target and its prediction by the map of the fold that did not see it.

    Attributes:
      predicted: In units of the training mean and scale of that fold.
      actual: The same units.
      fold: Which fold predicted the item.
      varies: Units that vary over the training rows of every fold.
    """

    predicted: Float[np.ndarray, "N e"]
    actual: Float[np.ndarray, "N e"]
    fold: Int[np.ndarray, " N"]
    varies: Bool[np.ndarray, " e"]


def ridge_settings(protocol: str = "paper", seed: int = 42, **overrides: Any) -> RidgeSettings:
    """The settings under which `vla.score` fits linear predictivity.

    Raises:
      ValueError: An unknown protocol or setting, or a value without meaning.
    """
    known = [field.name for field in dataclasses.fields(RidgeSettings) if field.name != "seed"]
    check_names("the ridge map", overrides, known)
    return RidgeSettings(**{**find_protocol(protocol), **overrides, "seed": seed})


def fold_maps(x: Any, y: Any, settings: RidgeSettings) -> Iterator[FoldMap]:
    """The maps of all outer folds, which are those of linear predictivity with the same settings.

    Args:
      x: One layer's activations [item, unit], the predictor.
      y: One layer's activations of the same items, the target.
      settings: See `ridge_settings`.

    Raises:
      ValueError: Activations that are no such matrices, or not finite; fewer items than the folds need.
    """
    x, y = _matrix(x, "x"), _matrix(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} items, y has {len(y)}: give activations of the same items.")
    for fold in outer_folds(len(x), settings.outer_folds, settings.seed, settings.groups):
        yield fit(x, y, fold, settings)


@devices.in_float64
def fit(x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N e"], fold: Fold, settings: RidgeSettings) -> FoldMap:
    """The map of one fold, in float64; its penalty is chosen by inner cross-validation on the training rows."""
    train, test = fold
    predictor = prepare_predictor(jnp.asarray(x), train, test, settings.test_statistics == "test")
    first = np.zeros(1, np.int64)
    targets = prepare_targets(
        jnp.asarray(y)[None], first, train[None], test[None], standardize=settings.standardize_targets
    )
    blocks, alphas = inner_blocks(len(train), settings.inner_cv), jnp.asarray(settings.alphas)
    s, z = predictor.spectrum, targets.train[0]
    if settings.alpha_per_target:
        alpha = np.asarray(alphas)[np.argmin(unit_losses(s, alphas, z, blocks), axis=0)]
        weights = solution_weights(s.values, jnp.asarray(alpha)).T
    else:
        chosen = choose_shared(s, alphas, target_grams(targets), targets.train, targets.scale, blocks)
        alpha = np.asarray(alphas)[chosen]
        weights = solution_weights(s.values, jnp.asarray(alpha)).T
    coefficients = weights * (s.vectors.T @ z)
    predicted = (predictor.projected_test + predictor.projected_mean) @ coefficients
    varies = np.asarray(jnp.any(z != 0, axis=0))
    actual = np.where(varies, np.asarray(targets.test[0] * targets.spread[0] + targets.offset[0]), 0.0)
    image = np.asarray(s.values[:, None] * coefficients)
    return FoldMap(train, test, image, np.asarray(predicted), actual, varies, alpha if len(alpha) > 1 else alpha[0])


def held_out(maps: list[FoldMap]) -> HeldOut:
    """The predictions of all folds together, every item by the map that did not see it."""
    n, e = sum(len(one.test) for one in maps), maps[0].predicted.shape[1]
    predicted, actual, fold = np.zeros((n, e)), np.zeros((n, e)), np.zeros(n, np.int64)
    for number, one in enumerate(maps):
        predicted[one.test], actual[one.test], fold[one.test] = one.predicted, one.actual, number
    return HeldOut(predicted, actual, fold, np.all([one.varies for one in maps], axis=0))


def _matrix(values: Any, role: str) -> np.ndarray:
    """Activations of one layer in float64, checked."""
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{role} has the shape {list(matrix.shape)}; expected one layer's activations [item, unit].")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{role} has NaN or infinite activations: extract them again, or leave these items out.")
    return matrix


ENDS = ("best", "worst")


def item_scores(out: HeldOut, items: Sequence[str]) -> pd.DataFrame:
    """Scores of every item, each predicted by the map of the fold that did not see it.

    Args:
      out: From `vla.alignment.item_scores.held_out`.
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
    check_choice("by", by, scores)
    check_whole_number("count", count)
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


COLUMNS = ("target_share", "predicted_share", "shared_share", "explained_share", "r")


class Extremes(NamedTuple):
    """Items along the leading directions of the map that is fitted on all items.

    Attributes:
      directions: In the target's units, orthonormal columns; the largest entry of each is positive.
      predicted: Coordinates of the held-out predictions: no item helped to predict itself.
      actual: Coordinates of the targets.
    """

    directions: Float[np.ndarray, "e K"]
    predicted: Float[np.ndarray, "N K"]
    actual: Float[np.ndarray, "N K"]


def map_spectrum(maps: Sequence[FoldMap]) -> pd.DataFrame:
    """What every direction of the map carries on held-out items, the mean over folds; directions are matched by rank.

    Args:
      maps: From `vla.alignment.item_scores.fold_maps`.

    Returns:
      Rows by `rank` of the direction, from 1. All shares are of the target's total held-out variance and can be summed:
      `target_share`, the target's variance along the direction; `predicted_share`, the prediction's; `shared_share`,
      their covariance, which may be below 0 where nothing is shared; `explained_share`, 2 shared - predicted, whose sum
      is the target's explained variance; `r`, the correlation, NaN where either is constant; `r_sd` over folds; and
      `cumulative_explained`.

    Raises:
      ValueError: A target that is the same for all items of a fold.
    """
    tables = [_of_fold(one) for one in maps]
    count = min(len(table) for table in tables)
    values = np.stack([table[:count] for table in tables])
    spectrum = pd.DataFrame(values.mean(axis=0), columns=pd.Index(COLUMNS))
    spectrum.insert(0, "rank", np.arange(1, count + 1))
    spectrum["r_sd"] = values[:, :, COLUMNS.index("r")].std(axis=0, ddof=1) if len(maps) > 1 else np.nan
    spectrum["cumulative_explained"] = spectrum["explained_share"].cumsum()
    return spectrum


def effective_dimension(shared: Float[np.ndarray, " K"]) -> float:
    """(sum v)^2 / sum v^2 of the variances shared along directions, the negative ones counted as 0: the participation
    ratio, K where all are equal, 1 where one has everything; NaN where nothing is shared."""
    kept = np.maximum(np.asarray(shared, np.float64), 0)
    return float(kept.sum() ** 2 / (kept**2).sum()) if kept.any() else float("nan")


def extremes(
    x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N e"], out: HeldOut, settings: RidgeSettings, count: int = 5
) -> Extremes:
    """Where items lie along the first `count` directions.

    The directions are those of the map fitted on all items, one set for all; coordinates are of held-out predictions.

    Args:
      x: The predictor layer.
      y: The target layer.
      out: Their held-out predictions.
      settings: Of the map.
      count: How many directions.

    Raises:
      ValueError: No direction is asked for.
    """
    if count < 1:
        raise ValueError(f"count={count} directions: expected at least 1.")
    rows = np.arange(len(x))
    everything = fit(np.asarray(x, np.float64), np.asarray(y, np.float64), (rows, rows), settings)
    directions = _directions(everything.image)[:, :count]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0, -1.0, 1.0)
    return Extremes(directions, out.predicted @ directions, out.actual @ directions)


def _directions(image: Float[np.ndarray, "r e"]) -> Float[np.ndarray, "e K"]:
    """Right singular vectors along which the map moves at all, the strongest first."""
    _, strength, rows = np.linalg.svd(image, full_matrices=False)
    floor = max(image.shape) * np.finfo(np.float64).eps * (strength[0] if strength.size else 0.0)
    return rows[strength > floor].T


def _of_fold(one: FoldMap) -> Float[np.ndarray, "K 5"]:
    """The columns for one fold's directions."""
    directions = _directions(one.image)
    actual = one.actual - one.actual.mean(axis=0)
    predicted = one.predicted - one.predicted.mean(axis=0)
    total = (actual**2).sum()
    if total == 0:
        raise ValueError("The target layer is the same for all items of a fold: it has no dimensions to explain.")
    a, p = actual @ directions, predicted @ directions
    of_a, of_p, shared = (a**2).sum(axis=0), (p**2).sum(axis=0), (a * p).sum(axis=0)
    size = np.sqrt(of_a * of_p)
    r = np.where(size > 0, shared / np.where(size > 0, size, 1.0), np.nan)
    return np.stack([of_a / total, of_p / total, shared / total, (2 * shared - of_p) / total, r], axis=1)
