"""Measurements of a metric on all layer pairs: scores, null scores, draws and halves, before any statistics.

N items, X and Y layers, P pairings of items, S subsets of items.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from vla.alignment.permutations import Permutations
from vla.alignment.significance import LEAST_DEFINED
from vla.alignment.task import Task
from vla.metrics import subsets
from vla.metrics.folds import Table
from vla.metrics.linear_predictivity import all_measures
from vla.metrics.ridge_settings import RidgeSettings

PAIR = ("x_layer", "y_layer")

# Ridge regression is fitted again to every half, or without every part. Student's t with 16 degrees of freedom is 8 %
# wider than the normal distribution: more splits cost more time than they save width.
MOST_SPLITS_OF_RIDGE = 16

# Measures of ridge regression whose draws leave out parts of the items.
SHARES_EXPLAINED = ("explained_variance", "r2")

# What the metrics that measure one thing only measure of held-out predictions.
MEASURES_OF = {"retrieval": "retrieval", "matching_accuracy": "matching"}


def same_precision(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays in the wider of their dtypes."""
    dtype = np.result_type(x, y)
    return np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype)


def pairings(task: Task, n_items: int) -> Int[np.ndarray, "P N"]:
    """The identity, then the permutations of the null: the same for every layer, metric and block.

    Raises:
      ValueError: Too few permutations are possible for a p-value of .05.
    """
    identity = np.arange(n_items)[None]
    if not task.null:
        return identity
    permutations = _permutations(task, n_items)
    permutations.check()
    return np.concatenate([identity, permutations.first(task.null)])


def _permutations(task: Task, n_items: int) -> Permutations:
    return Permutations(n_items, task.groups, task.seed)


def steps(task: Task, x_layers: int, y_layers: int, n_items: int) -> int:
    """Number of cells that `measure` will report to `advance`; permutations that are drawn later are not reported."""
    null = min(task.null, _permutations(task, n_items).possible - 1) if task.null else 0
    draws = splits(task) if _leaves_out(task) else 2 * splits(task)
    return x_layers * y_layers * (1 + null + draws + 2 * task.halves) * task.folds


def splits(task: Task) -> int:
    """Splits of the items that give two draws each: they cost two scores of half the items, or one without a part."""
    most = MOST_SPLITS_OF_RIDGE if isinstance(task.settings, RidgeSettings) else task.bootstrap
    return min(task.bootstrap // 2, most)


def measure_together(
    tasks: Sequence[Task], x: np.ndarray, y: np.ndarray, advance: Callable[[int], None] = lambda cells: None
) -> list[xr.Dataset]:
    """`measure` of tasks for which `share` holds: they use the same held-out predictions of ridge regression."""
    first = tasks[0]
    if len(tasks) == 1:
        return [measure(first, x, y, advance)]
    measures = [_measure_of(task) for task in tasks]

    def advance_all(cells: int) -> None:
        advance(len(tasks) * cells)

    def of_subset(rows: Int[np.ndarray, " m"]) -> list[Float[np.ndarray, "X Y"]]:
        settings = subsets.settings_of(first.settings, rows)
        orders = np.arange(len(rows))[None]
        tables = all_measures(x[:, rows], y[:, rows], settings, orders, advance_all, measures=measures)
        return [subsets.mean_over_folds(table)[0] for table in tables]

    units, orders = any(task.units for task in tasks), pairings(first, x.shape[1])
    tables = all_measures(x, y, first.settings, orders, advance_all, measures=measures, units=units)
    halves: dict[str, list[Float[np.ndarray, "S X Y"]]] = {}
    for setting, count in (("bootstrap", splits(first)), ("halves", first.halves)):
        rows = [rows for pair in subsets.halves(x.shape[1], first.groups, count, first.seed) for rows in pair]
        with _halves_named(setting, x.shape[1], rows):
            by_subset = [of_subset(subset) for subset in rows]
        if by_subset:
            halves[setting] = [np.stack(scores) for scores in zip(*by_subset, strict=True)]
    return [
        measure(task, x, y, advance, table, {setting: scores[i] for setting, scores in halves.items()})
        for i, (task, table) in enumerate(zip(tasks, tables, strict=True))
    ]


def share(task: Task, other: Task) -> bool:
    """Whether two tasks can be measured together: ridge regression with the same settings."""
    both = isinstance(task.settings, RidgeSettings) and isinstance(other.settings, RidgeSettings)
    return both and _fit(task) == _fit(other)


def _fit(task: Task) -> dict[str, Any]:
    """The settings of the ridge fit as JSON values, without the measure."""
    of_fit = {field.name for field in dataclasses.fields(RidgeSettings)}
    return {name: value for name, value in json.loads(task.settings_text).items() if name in of_fit}


def _measure_of(task: Task) -> str:
    """The measure of the held-out predictions of ridge regression."""
    return getattr(task.settings, "measure", None) or MEASURES_OF[task.metric.name]


def measure(
    task: Task,
    x: np.ndarray,
    y: np.ndarray,
    advance: Callable[[int], None] = lambda cells: None,
    table: Table | None = None,
    halves: Mapping[str, Float[np.ndarray, "S X Y"]] | None = None,
) -> xr.Dataset:
    """Scores of every layer of `x` with every layer of `y`; a pair does not depend on other layers.

    Args:
      task: The scoring task.
      x: Activations [X, N, D].
      y: Activations [Y, N, E] of the same items in the same order and precision.
      advance: Called with the number of cells just finished.
      table: The table of the metric, if it was computed together with other metrics.
      halves: The scores of halves for "bootstrap" and "halves", if they were.

    Returns:
      Dataset without coordinates: `score` (x_layer, y_layer); `chance` if known without a null; with a null
      `null_score` (permutation, x_layer, y_layer), see `_null_scores`; for ridge regression `fold_score`, `alpha` and
      `undefined`; with draws `resampled_score` (resample, x_layer, y_layer); with halves `half_score` (split, half,
      x_layer, y_layer).

    Raises:
      ValueError: Input that the metric refuses.
    """
    n_items = x.shape[1]
    # The mean over all orders of the items differs from the mean over exchanges of groups.
    also = {} if task.metric.pairwise is None or task.groups is not None else {"expected": True}
    units = {"units": True} if task.units else {}
    orders = pairings(task, n_items)
    measured = table
    if measured is None:
        measured = task.metric.all_pairs(
            x, y, settings=task.settings, pairings=orders, advance=advance, **also, **units
        )
    result, scores = xr.Dataset(), measured
    if isinstance(measured, Table):
        result, scores = _of_folds(measured), subsets.mean_over_folds(measured)
    result["score"] = (PAIR, scores[0])
    chance = scores[-1] if also else _chance(task, n_items)
    if chance is not None:
        result["chance"] = (PAIR, np.where(np.isfinite(scores[0]), chance, np.nan))
    if task.null:
        result["null_score"] = (
            ("permutation", *PAIR),
            _null_scores(task, x, y, scores[0], np.asarray(scores[1 : len(orders)])),
        )
    if task.bootstrap:
        result["resampled_score"] = (("resample", *PAIR), _resampled(task, x, y, scores[0], halves or {}, advance))
    if task.halves:
        sides = [rows for both in subsets.halves(n_items, task.groups, task.halves, task.seed) for rows in both]
        of_halves = _of_halves(task, x, y, sides, "halves", halves or {}, advance)
        result["half_score"] = (("split", "half", *PAIR), of_halves.reshape(task.halves, 2, *of_halves.shape[1:]))
    return result


def _null_scores(
    task: Task,
    x: np.ndarray,
    y: np.ndarray,
    score: Float[np.ndarray, "X Y"],
    null: Float[np.ndarray, "P X Y"],
) -> Float[np.ndarray, "Q X Y"]:
    """Scores of permutations; further permutations are drawn for cells that have no score under some of them.

    Each cell uses the first `task.null` permutations of a fixed sequence under which it has a score, or all of the
    first `task.null / LEAST_DEFINED` if fewer of these have a score. Its values therefore depend neither on other
    layers nor on blocks. NaN marks a permutation without a score, and those that a cell does not need.
    """
    permutations = _permutations(task, x.shape[1])
    most = min(int(task.null / LEAST_DEFINED), permutations.possible - 1)
    while len(null) < most:
        lacking = np.where(np.isfinite(score), task.null - np.isfinite(null).sum(axis=0), 0)
        if lacking.max() <= 0:
            break
        count = min(int(lacking.max()), most - len(null))
        orders = permutations.first(len(null) + count)[len(null) :]
        left, right = (np.flatnonzero((lacking > 0).any(axis=axis)) for axis in (1, 0))
        table = task.metric.all_pairs(x[left], y[right], settings=task.settings, pairings=orders)
        more = np.full((count, *score.shape), np.nan)
        more[:, left[:, None], right] = subsets.mean_over_folds(table) if isinstance(table, Table) else table
        null = np.concatenate([null, more])
    enough = np.cumsum(np.isfinite(null), axis=0) > task.null
    enough[task.null :] |= ~np.isfinite(score)
    return np.where(enough, np.nan, null)


def _resampled(
    task: Task,
    x: np.ndarray,
    y: np.ndarray,
    score: np.ndarray,
    halves: Mapping[str, Float[np.ndarray, "S X Y"]],
    advance: Callable[[int], None],
) -> np.ndarray:
    """Draws that vary about the score as scores of as many new items do, with new fits and choices of penalties.

    R^2 and explained variance take the jackknife: every one of g parts of the items, g at most 16, is left out once,
    and the deviation of that score from the mean of all g, times sqrt(g - 1), is added to and subtracted from the
    score. Items keep their folds. The mean square of these deviations is the jackknife's variance, which is too large
    on average and never too small in the simulations. Halves would not do: of half the items, which predict less, all
    fits may choose the largest penalty, so that their scores hardly vary while those of all items do.

    Of all other metrics each random split of the items into two halves gives two draws: the score plus and minus half
    the difference between the scores of the halves. The halves share no item, so the variance of half their difference
    is half the variance of a score of N/2 items. That is the variance of a score of N items where this falls as 1/N.
    Items are not drawn with replacement, because an item that is drawn twice is its own perfect match, and is on both
    sides of a fit. Groups are left out, or are in one half, as wholes.

    Measured coverage is in `vla.alignment.resampled`.

    Sources: McCarthy (1969), Pseudo-replication: half samples; Nadeau & Bengio (2003), section 4.1, for disjoint halves
    of cross-validated scores; Efron & Stein (1981), The jackknife estimate of variance.
    """
    if _leaves_out(task):
        deviations = _without_parts(task, x, y, advance)
        return score + np.concatenate([deviations, -deviations])
    pairs = subsets.halves(x.shape[1], task.groups, splits(task), task.seed)
    of_halves = _of_halves(task, x, y, [rows for both in pairs for rows in both], "bootstrap", halves, advance)
    half = (of_halves[::2] - of_halves[1::2]) / 2
    return score + np.concatenate([half, -half])


def _leaves_out(task: Task) -> bool:
    return getattr(task.settings, "measure", None) in SHARES_EXPLAINED


def _without_parts(
    task: Task, x: np.ndarray, y: np.ndarray, advance: Callable[[int], None]
) -> Float[np.ndarray, "S X Y"]:
    """Deviations of the scores without one part of the items each from their mean, times sqrt(parts - 1)."""
    n_items = x.shape[1]
    folds = task.settings.folds(n_items)
    parts = subsets.left_out(n_items, folds, task.groups, splits(task), task.seed)
    settings = dataclasses.replace(task.settings, splits=folds)  # items keep their folds
    rest = [np.setdiff1d(np.arange(n_items), part) for part in parts]
    try:
        scores = subsets.all_pairs(task.metric, x, y, settings, rest, advance)
    except ValueError as error:
        raise ValueError(
            f"bootstrap= leaves out 1 / {len(parts)} of the {n_items} items at a time, and keeps folds: {error}"
        ) from error
    return np.sqrt(len(parts) - 1) * (scores - scores.mean(axis=0))


def _of_halves(
    task: Task,
    x: np.ndarray,
    y: np.ndarray,
    rows: Sequence[Int[np.ndarray, " m"]],
    setting: str,
    halves: Mapping[str, Float[np.ndarray, "S X Y"]],
    advance: Callable[[int], None],
) -> Float[np.ndarray, "S X Y"]:
    """Scores of halves of the items for the setting `setting`, unless they were computed before."""
    if setting in halves:
        return halves[setting]
    with _halves_named(setting, x.shape[1], rows):
        return subsets.all_pairs(task.metric, x, y, task.settings, rows, advance)


@contextlib.contextmanager
def _halves_named(setting: str, n_items: int, rows: Sequence[Int[np.ndarray, " m"]]) -> Iterator[None]:
    """Add to errors which setting scores halves of the items, and how many items are in each half."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{setting}= scores random halves of the {n_items} items, {len(rows[0])} in each: {error}"
        ) from error


def _chance(task: Task, n_items: int) -> float | None:
    """The expected score of unrelated items, if it follows from their number.

    With groups, whose items are similar on both sides, it is known only for metrics whose folds keep groups together.
    """
    if task.groups is not None and not hasattr(task.settings, "outer_folds"):
        return None
    if task.metric.name == "retrieval":
        sizes = [len(test) for _, test in task.settings.folds(n_items)]
        return float(np.mean(1 / np.array(sizes)))
    return task.chance


def _of_folds(table: Table) -> xr.Dataset:
    """The values of each fold under the identity pairing."""
    dims = (*PAIR, "fold")
    known = {
        "fold_score": (dims, table.fold_score[0]),
        "alpha": (dims if table.alpha.ndim == 4 else (*dims, "y_unit"), table.alpha[0]),
        "undefined": (dims, table.undefined[0]),
    }
    if table.unit_score is not None:
        known["unit_score"] = ((*dims, "y_unit"), table.unit_score[0])
    return xr.Dataset(known)
