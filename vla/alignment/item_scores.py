"""How well single items, groups of items and directions of the target are predicted by a ridge map between two layers.

N items, n training and m test items of a fold, d predictor units, e target units, K directions, R resamples.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy import stats

from vla.checks import check_choice, check_names, check_number, check_whole_number
from vla.metrics.folds import Fold, inner_blocks
from vla.metrics.ridge_host import prepare_predictor, prepare_target, solution_weights, target_gram
from vla.metrics.ridge_host_search import choose_shared, unit_losses
from vla.metrics.ridge_measures import rounding
from vla.metrics.ridge_settings import RidgeSettings, find_protocol

# A bootstrap interval of fewer items means nothing.
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
    """The mean score of each group of items, and its difference from the mean of the other items.

    Args:
      scores: Score by item, such as `correlation` of `item_scores`; items with NaN are left out.
      groups: The groups of each item, none or several, such as COCO supercategories; other items are left out.
      resamples: Bootstrap samples of the group and of the other items.
      confidence: Level of the intervals (`expanded_tails`, for a difference with the smaller number of items).
      seed: Seed of the bootstrap.
      fewest: With fewer items inside or outside, a group has NaN as intervals and a note.

    Returns:
      One row per group, the highest mean first: `group`, `n_items`, `mean`, `ci_low`, `ci_high`, `n_rest`,
      `difference` (mean of the group less mean of the rest), `difference_ci_low`, `difference_ci_high`, `note`.

    Raises:
      ValueError: No item with a score is in a group, or a bad number.
    """
    check_whole_number("resamples", resamples)
    check_number("confidence", confidence, above=0, below=1)
    known = {item: float(score) for item, score in scores.items() if item in groups and np.isfinite(score)}
    names = sorted({group for item in known for group in groups[item]})
    if not names:
        raise ValueError(
            f"None of the {len(scores)} scored items is in a group: give groups by the same item names, such as "
            f"{next(iter(scores), '')!r}"
        )
    rng, rows = np.random.default_rng(seed), []

    def interval(draws: Float[np.ndarray, " R"], n: int) -> tuple[float, float]:
        return _quantiles(draws, expanded_tails(max(n, 2), confidence)) if n >= fewest else (np.nan, np.nan)

    for name in names:
        inside, rest = (
            np.array([score for item, score in known.items() if (name in groups[item]) == member])
            for member in (True, False)
        )
        smaller = min(len(inside), len(rest))
        draws, rest_draws = (_means(values, resamples, rng) for values in (inside, rest))
        low, high = interval(draws, len(inside))
        difference = inside.mean() - rest.mean() if len(rest) else np.nan
        note = f"too few items: fewer than {fewest} in the group or outside it" if smaller < fewest else ""
        rows.append([name, len(inside), inside.mean(), low, high, len(rest), difference,
                     *interval(draws - rest_draws, smaller), note])  # fmt: skip
    columns = ["group", "n_items", "mean", "ci_low", "ci_high", "n_rest", "difference", "difference_ci_low",
               "difference_ci_high", "note"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["mean", "group"], ascending=[False, True], ignore_index=True)


def expanded_tails(n: int, confidence: float) -> tuple[float, float]:
    """The two quantiles of bootstrap draws of `n` >= 2 units that bound an interval of that confidence.

    Plain percentiles give intervals that are too narrow by sqrt((n - 1) / n), and by the ratio of the normal to the t
    distribution with n - 1 degrees of freedom. The expanded percentile interval corrects both.

    Source: Hesterberg (2015), What Teachers Should Know About the Bootstrap, section 5.
    """
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + confidence) / 2, n - 1)
    low = float(stats.norm.cdf(-reach))
    return low, 1 - low


def by_level(levels: Mapping[str, float], count: int, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`groups` for `by_group`: `count` groups of equal size by a value, the lowest first; ties by item name.

    Raises:
      ValueError: Fewer items with a value than groups, or another number of names.
    """
    ordered = sorted((value, item) for item, value in levels.items() if np.isfinite(value))
    if len(names) != count or count < 2 or len(ordered) < count:
        raise ValueError(
            f"{len(ordered)} items with a value, {count} groups named {', '.join(names)}: expected one name for each "
            "of two or more groups, and an item in each."
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
) -> dict[str, int | float | str]:
    """Spearman's rho of the scores of items with another value of them: `n_items`, `rho`, `ci_low`, `ci_high`, `note`.

    The interval is a percentile bootstrap over items. Items that lack either value are left out.

    Raises:
      ValueError: Fewer than three items with both values, or a bad number.
    """
    check_whole_number("resamples", resamples)
    check_number("confidence", confidence, above=0, below=1)
    items = [item for item in scores if item in levels and np.isfinite(scores[item]) and np.isfinite(levels[item])]
    if len(items) < 3:
        raise ValueError(f"{len(items)} items have both a score and a value: a correlation needs three.")
    a, b = (np.array([values[item] for item in items], np.float64) for values in (scores, levels))
    rho = float(_spearman(a[None], b[None])[0])
    low = high = np.nan
    if not np.isnan(rho):
        rows = np.random.default_rng(seed).integers(len(items), size=(resamples, len(items)))
        low, high = _quantiles(_spearman(a[rows], b[rows]), ((1 - confidence) / 2, (1 + confidence) / 2))
    note = "all values are the same" if np.isnan(rho) else ""
    return {"n_items": len(items), "rho": rho, "ci_low": low, "ci_high": high, "note": note}


def _spearman(a: Float[np.ndarray, "R N"], b: Float[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
    """Spearman's rho of each pair of rows; NaN for a constant row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return np.asarray(stats.spearmanrho(a, b, axis=1).statistic)


def _means(values: Float[np.ndarray, " N"], resamples: int, rng: np.random.Generator) -> Float[np.ndarray, " R"]:
    """Means of bootstrap samples; NaN without values."""
    if not len(values):
        return np.full(resamples, np.nan)
    return values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)


def _quantiles(draws: Float[np.ndarray, " R"], tails: tuple[float, float]) -> tuple[float, float]:
    low, high = np.nanquantile(draws, tails)
    return float(low), float(high)


class FoldMap(NamedTuple):
    """A ridge map fitted to the training items of a fold; targets are in units of their training mean and scale.

    Attributes:
      train: Training rows.
      test: Test rows.
      fitted: Fitted targets of the training rows in an orthonormal basis of the rows, which keeps their right singular
        vectors and singular values.
      predicted: Predictions of the test rows.
      actual: Targets of the test rows.
      varies: Units that vary over the training rows; the others are 0 in all of the above.
      alpha: The penalty, or one per unit with `alpha_per_target`.
    """

    train: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"]
    fitted: Float[np.ndarray, "r e"]
    predicted: Float[np.ndarray, "m e"]
    actual: Float[np.ndarray, "m e"]
    varies: Bool[np.ndarray, " e"]
    alpha: float | Float[np.ndarray, " e"]


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Held-out predictions: each item's target, and its prediction by the map of the fold in whose test set it is.

    Attributes:
      predicted: In units of the training mean and scale of that fold.
      actual: In the same units.
      fold: The fold of each item.
      varies: Units that vary over the training rows of every fold.
    """

    predicted: Float[np.ndarray, "N e"]
    actual: Float[np.ndarray, "N e"]
    fold: Int[np.ndarray, " N"]
    varies: Bool[np.ndarray, " e"]


def ridge_settings(protocol: str = "paper", seed: int = 42, **overrides: Any) -> RidgeSettings:
    """The settings with which `vla.score` computes linear predictivity.

    Raises:
      ValueError: An unknown protocol or setting, or an invalid value.
    """
    known = [field.name for field in dataclasses.fields(RidgeSettings) if field.name != "seed"]
    check_names("the ridge map", overrides, known)
    return RidgeSettings(**{**find_protocol(protocol), **overrides, "seed": seed})


def fold_maps(x: ArrayLike, y: ArrayLike, settings: RidgeSettings) -> Iterator[FoldMap]:
    """The maps of all outer folds: those of linear predictivity with the same settings.

    Args:
      x: Activations [item, unit] of one layer, the predictor.
      y: Activations [item, unit] of one layer on the same items, the target.
      settings: See `ridge_settings`.

    Raises:
      ValueError: Activations that are not finite matrices with the same number of rows, or too few items for the folds.
    """
    x, y = _matrix(x, "x"), _matrix(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} items, y has {len(y)}: give activations of the same items.")
    for fold in settings.folds(len(x)):
        yield fit(x, y, fold, settings)


def fit(x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N e"], fold: Fold, settings: RidgeSettings) -> FoldMap:
    """The map of one fold, in float64; its penalty is chosen by inner cross-validation on the training rows."""
    train, test = fold
    predictor = prepare_predictor(x, train, test, settings.test_statistics == "test")
    target = prepare_target(y, train, test, settings.standardize_targets)
    blocks, alphas = inner_blocks(len(train), settings.inner_cv), np.asarray(settings.alphas)
    s, z = predictor.spectrum, target.train
    if settings.alpha_per_target:
        alpha = alphas[np.argmin(unit_losses(s, alphas, z, blocks), axis=0)]
    else:
        alpha = alphas[choose_shared(s, alphas, target_gram(target)[None], [target], blocks)]
    weights = solution_weights(s.values, alpha).T
    coefficients = weights * (s.vectors.T @ z)
    predicted = (predictor.projected_test + predictor.projected_mean) @ coefficients
    varies = np.any(z != 0, axis=0)
    actual = np.where(varies, target.test * target.spread + target.offset, 0.0)
    image = s.values[:, None] * coefficients
    return FoldMap(train, test, image, predicted, actual, varies, alpha if len(alpha) > 1 else alpha[0])


def held_out(maps: Sequence[FoldMap]) -> HeldOut:
    """The predictions of all folds, in the order of the items.

    Raises:
      ValueError: An item is in no test set, or in several.
    """
    tested = np.sort(np.concatenate([fold_map.test for fold_map in maps]))
    if not np.array_equal(tested, np.arange(len(tested))):
        raise ValueError(
            "splits leave items untested, or test them twice: give folds in which every item is tested once."
        )
    n, e = sum(len(fold_map.test) for fold_map in maps), maps[0].predicted.shape[1]
    predicted, actual, fold = np.zeros((n, e)), np.zeros((n, e)), np.zeros(n, np.int64)
    for number, fold_map in enumerate(maps):
        rows = fold_map.test
        predicted[rows], actual[rows], fold[rows] = fold_map.predicted, fold_map.actual, number
    return HeldOut(predicted, actual, fold, np.all([fold_map.varies for fold_map in maps], axis=0))


def _matrix(values: ArrayLike, role: str) -> Float[np.ndarray, "N _"]:
    """The activations of one layer in float64, checked."""
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{role} has the shape {list(matrix.shape)}; expected one layer's activations [item, unit].")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{role} has NaN or infinite activations: extract them again, or leave these items out.")
    return matrix


ENDS = ("best", "worst")


def item_scores(predictions: HeldOut, items: Sequence[str]) -> pd.DataFrame:
    """Scores of each item, predicted by a map that was not fitted to it.

    Args:
      predictions: From `held_out`.
      items: Item names, in the order of the rows.

    Returns:
      One row per item, NaN where prediction or target is constant over units:
        `item`, `fold`: its name and fold.
        `correlation`: Pearson r of its prediction and its target over units that vary over the training items and over
          the test items of the fold.
        `match`: share of the other items of the fold whose targets correlate less with its prediction than its target
          does; ties count half. By chance 1/2; the mean over a fold is `matching_accuracy`.
        `rank`: rank of its target among those of the fold by that correlation, from 1; ties share their mean rank.
        `size`: norm of its target; small for items near the mean.

    Raises:
      ValueError: Another number of names than items.
    """
    if len(items) != len(predictions.fold):
        raise ValueError(f"{len(items)} names for {len(predictions.fold)} items: give one for each.")
    correlation, match, rank = np.full((3, len(items)), np.nan)
    for fold in np.unique(predictions.fold):
        rows = np.flatnonzero(predictions.fold == fold)
        varies = predictions.varies & (np.ptp(predictions.actual[rows], axis=0) > 0)
        if not varies.any():
            continue
        predicted, actual = (_unit_rows(side[rows][:, varies]) for side in (predictions.predicted, predictions.actual))
        table = predicted @ actual.T
        correlation[rows] = np.diagonal(table)
        gap, tie = table - np.diagonal(table)[:, None], rounding(table)
        np.fill_diagonal(gap, np.nan)  # the others only; comparisons with NaN are False
        above, ties = (gap > tie).sum(axis=1), (np.abs(gap) <= tie).sum(axis=1)
        count = np.isfinite(gap).sum(axis=1)
        before = np.where(count > 0, above + 0.5 * ties, np.nan)
        match[rows], rank[rows] = (count - before) / np.maximum(count, 1), 1 + before
    size = np.linalg.norm(predictions.actual[:, predictions.varies], axis=1)
    columns = {"fold": predictions.fold, "correlation": correlation, "match": match, "rank": rank, "size": size}
    return pd.DataFrame({"item": list(items), **columns})


def best_and_worst(scores: pd.DataFrame, count: int = 10, by: str = "correlation") -> pd.DataFrame:
    """The `count` items with the highest scores, then those with the lowest, with the columns `end` and `place`.

    Items without a score are left out; of fewer than 2 * count items each end has half.

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
    """`best_and_worst` of each direction by the mean correlation over model pairs.

    Args:
      items: Columns `direction`, `item`, `correlation` and `caption`, one row per model pair.
      count: Number of items at each end.

    Returns:
      Columns `direction`, `item`, `correlation`, `caption`, `end` ("best" or "worst") and `place`, from 1.
    """
    columns = ["direction", "item", "correlation", "caption", "end", "place"]
    tables = [pd.DataFrame(columns=columns)] if items.empty else []
    for direction, rows in items.groupby("direction", sort=False):
        means = rows.groupby("item", sort=False).agg(correlation=("correlation", "mean"), caption=("caption", "first"))
        tables.append(best_and_worst(means.reset_index(), count).assign(direction=direction))
    return pd.concat(tables, ignore_index=True)[columns]


def _unit_rows(values: Float[np.ndarray, "N e"]) -> Float[np.ndarray, "N e"]:
    """Rows minus their mean, scaled to norm 1; NaN for a constant row."""
    centred = values - values.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    floor = np.finfo(np.float64).eps * np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(norm > floor, centred / np.where(norm > floor, norm, 1.0), np.nan)


SHARES = ("target_share", "predicted_share", "shared_share", "explained_share", "r")


class Extremes(NamedTuple):
    """Coordinates of items along the leading directions of the map that is fitted to all items.

    Attributes:
      directions: In target units, orthonormal columns; the largest entry of each is positive.
      predicted: Coordinates of the held-out predictions.
      actual: Coordinates of the targets.
    """

    directions: Float[np.ndarray, "e K"]
    predicted: Float[np.ndarray, "N K"]
    actual: Float[np.ndarray, "N K"]


def map_spectrum(maps: Sequence[FoldMap]) -> pd.DataFrame:
    """Held-out variance along each direction of the map, the mean over folds; directions are matched by rank.

    Args:
      maps: From `fold_maps`.

    Returns:
      One row per `rank` of the direction, from 1. The shares are of the total held-out variance of the target and can
      be summed over directions.
        `target_share`, `predicted_share`: variance of the target and of the prediction along the direction.
        `shared_share`: their covariance, which may be negative if nothing is shared.
        `explained_share`: 2 shared - predicted, whose sum is the explained variance of the target.
        `r`, `r_sd`: their correlation, NaN if either is constant, and its standard deviation over folds.
        `cumulative_explained`: running sum of `explained_share`.

    Raises:
      ValueError: A target that is the same for all items of a fold.
    """
    tables = [_fold_spectrum(fold_map) for fold_map in maps]
    count = min(len(table) for table in tables)
    values = np.stack([table[:count] for table in tables])
    spectrum = pd.DataFrame(values.mean(axis=0), columns=pd.Index(SHARES))
    spectrum.insert(0, "rank", np.arange(1, count + 1))
    spectrum["r_sd"] = values[:, :, SHARES.index("r")].std(axis=0, ddof=1) if len(maps) > 1 else np.nan
    spectrum["cumulative_explained"] = spectrum["explained_share"].cumsum()
    return spectrum


def effective_dimension(shared: Float[np.ndarray, " K"]) -> float:
    """The participation ratio (sum v)^2 / sum v^2 of shared variances v, negative ones counted as 0.

    K if all are equal, 1 if a single direction has all, NaN if nothing is shared.
    """
    positive = np.maximum(np.asarray(shared, np.float64), 0)
    return float(positive.sum() ** 2 / (positive**2).sum()) if positive.any() else float("nan")


def extremes(
    x: Float[np.ndarray, "N d"],
    y: Float[np.ndarray, "N e"],
    predictions: HeldOut,
    settings: RidgeSettings,
    count: int = 5,
) -> Extremes:
    """Coordinates of items along the first `count` directions of the map that is fitted to all items.

    Args:
      x: The predictor layer.
      y: The target layer.
      predictions: Their held-out predictions, whose coordinates are returned.
      settings: Settings of the map.
      count: Number of directions.

    Raises:
      ValueError: A count below 1.
    """
    check_whole_number("count", count)
    rows = np.arange(len(x))
    full_map = fit(np.asarray(x, np.float64), np.asarray(y, np.float64), (rows, rows), settings)
    directions = _directions(full_map.fitted)[:, :count]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0, -1.0, 1.0)
    return Extremes(directions, predictions.predicted @ directions, predictions.actual @ directions)


def _directions(fitted: Float[np.ndarray, "r e"]) -> Float[np.ndarray, "e K"]:
    """Right singular vectors with a singular value above rounding, the largest first."""
    _, strength, rows = np.linalg.svd(fitted, full_matrices=False)
    floor = max(fitted.shape) * np.finfo(np.float64).eps * (strength[0] if strength.size else 0.0)
    return rows[strength > floor].T


def _fold_spectrum(fold_map: FoldMap) -> Float[np.ndarray, "K 5"]:
    """The columns `SHARES` of one fold."""
    directions = _directions(fold_map.fitted)
    actual, predicted = (side - side.mean(axis=0) for side in (fold_map.actual, fold_map.predicted))
    total = (actual**2).sum()
    if total == 0:
        raise ValueError("The target layer is the same for all items of a fold: it has no dimensions to explain.")
    a, p = actual @ directions, predicted @ directions
    target, prediction, shared = (a**2).sum(axis=0), (p**2).sum(axis=0), (a * p).sum(axis=0)
    norm = np.sqrt(target * prediction)
    r = np.where(norm > 0, shared / np.where(norm > 0, norm, 1.0), np.nan)
    return np.stack([target / total, prediction / total, shared / total, (2 * shared - prediction) / total, r], axis=1)
