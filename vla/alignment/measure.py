"""Measurements of a metric on all layer pairs: scores, null scores, draws and halves, before any statistics.

N items, X and Y layers, P pairings of items, S subsets of items.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from vla.alignment.permutations import Permutations, halves, left_out
from vla.alignment.significance import LEAST_DEFINED
from vla.alignment.task import Task
from vla.metrics.metric import Metric, Scores, settings_of

PAIR = ("x_layer", "y_layer")


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
    draws = splits(task) if task.metric.leaves_out(task.settings) else 2 * splits(task)
    cells = task.metric.cells(task.settings)
    return x_layers * y_layers * (1 + null + draws + 2 * task.halves) * cells


def splits(task: Task) -> int:
    """Splits of the items that give two draws each: they cost two scores of half the items, or one without a part."""
    most = task.metric.most_splits
    return min(task.bootstrap // 2, task.bootstrap if most is None else most)


def share(task: Task, other: Task) -> bool:
    """Whether two tasks can be measured together, and their work done once."""
    return task.metric.shares_fit(task.settings, other.metric, other.settings)


def measure(
    tasks: Sequence[Task],
    x: np.ndarray,
    y: np.ndarray,
    advance: Callable[[int], None] = lambda cells: None,
    rdm: bool = False,
) -> list[xr.Dataset]:
    """Scores of every layer of `x` with every layer of `y`; a pair does not depend on other layers.

    Args:
      tasks: One task, or several for which `share` holds.
      x: Activations [X, N, D].
      y: Activations [Y, N, E] of the same items in the same order and precision.
      advance: Called with the number of cells just finished.
      rdm: Whether `y` has distances between items, [Y, N, N].

    Returns:
      For each task a Dataset without coordinates: `score` (x_layer, y_layer); `chance` if known without a null; with a
      null `null_score` (permutation, x_layer, y_layer), see `_null_scores`; variables of single folds, for ridge
      regression `fold_score`, `alpha` and `undefined`; with draws `resampled_score` (resample, x_layer, y_layer); with
      halves `half_score` (split, half, x_layer, y_layer).

    Raises:
      ValueError: Input that the metric refuses.
    """
    first = tasks[0]
    metrics = [(task.metric, task.settings) for task in tasks]
    sides = _Sides(x, y, rdm)
    orders, units = pairings(first, x.shape[1]), any(task.units for task in tasks)

    def advance_all(cells: int) -> None:
        advance(len(tasks) * cells)

    together = first.metric.scores_together(metrics, x, y, orders, advance_all, units, rdm)
    known: dict[str, list[Float[np.ndarray, "S X Y"]]] = {}
    if len(tasks) > 1:
        for setting in ("bootstrap", "halves"):
            rows = _halves(first, x.shape[1], setting)
            with _halves_named(setting, x.shape[1], rows):
                by_subset = [_of_subset(metrics, sides, subset, advance_all) for subset in rows]
            known[setting] = [np.stack(scores) for scores in zip(*by_subset, strict=True)]
    return [
        _measured(task, sides, scores, advance, {setting: of_task[i] for setting, of_task in known.items() if of_task})
        for i, (task, scores) in enumerate(zip(tasks, together, strict=True))
    ]


class _Sides(NamedTuple):
    """What is scored: see `measure`."""

    x: np.ndarray
    y: np.ndarray
    rdm: bool


def _of_subset(
    metrics: Sequence[tuple[Metric, Any]],
    sides: _Sides,
    rows: Int[np.ndarray, " m"],
    advance: Callable[[int], None],
) -> list[Float[np.ndarray, "X Y"]]:
    of_rows = [(metric, settings_of(settings, rows)) for metric, settings in metrics]
    order = np.arange(len(rows))[None]
    together = of_rows[0][0].scores_together(of_rows, sides.x[:, rows], sides.y[:, rows], order, advance)
    return [scores.score[0] for scores in together]


def _measured(
    task: Task,
    sides: _Sides,
    scores: Scores,
    advance: Callable[[int], None],
    known: Mapping[str, Float[np.ndarray, "S X Y"]],
) -> xr.Dataset:
    """The Dataset of a task; `known` are the scores of halves for "bootstrap" and "halves" that are known."""
    n_items = sides.x.shape[1]
    of_folds = {
        name: ((*PAIR, *dims), values)
        for name, (dims, values) in scores.of_folds.items()
        if task.units or name != "unit_score"
    }
    result = xr.Dataset({**of_folds, "score": (PAIR, scores.score[0])})
    chance = _chance(task, n_items, scores.expected)
    if chance is not None:
        result["chance"] = (PAIR, np.where(np.isfinite(scores.score[0]), chance, np.nan))
    if task.null:
        result["null_score"] = (
            ("permutation", *PAIR),
            _null_scores(task, sides, scores.score[0], np.asarray(scores.score[1:])),
        )
    if task.bootstrap:
        result["resampled_score"] = (("resample", *PAIR), _resampled(task, sides, scores.score[0], known, advance))
    if task.halves:
        of_halves = _of_halves(task, sides, "halves", known, advance)
        result["half_score"] = (("split", "half", *PAIR), of_halves.reshape(task.halves, 2, *of_halves.shape[1:]))
    return result


def _null_scores(
    task: Task,
    sides: _Sides,
    score: Float[np.ndarray, "X Y"],
    null: Float[np.ndarray, "P X Y"],
) -> Float[np.ndarray, "Q X Y"]:
    """Scores of permutations; further permutations are drawn for cells that have no score under some of them.

    Each cell uses the first `task.null` permutations of a fixed sequence under which it has a score, or all of the
    first `task.null / LEAST_DEFINED` if fewer of these have a score. Its values therefore depend neither on other
    layers nor on blocks. NaN marks a permutation without a score, and those that a cell does not need.
    """
    permutations = _permutations(task, sides.x.shape[1])
    most = min(int(task.null / LEAST_DEFINED), permutations.possible - 1)
    while len(null) < most:
        lacking = np.where(np.isfinite(score), task.null - np.isfinite(null).sum(axis=0), 0)
        if lacking.max() <= 0:
            break
        count = min(int(lacking.max()), most - len(null))
        orders = permutations.first(len(null) + count)[len(null) :]
        left, right = (np.flatnonzero((lacking > 0).any(axis=axis)) for axis in (1, 0))
        more = np.full((count, *score.shape), np.nan)
        scores = task.metric.scores(sides.x[left], sides.y[right], task.settings, orders, rdm=sides.rdm)
        more[:, left[:, None], right] = scores.score
        null = np.concatenate([null, more])
    enough = np.cumsum(np.isfinite(null), axis=0) > task.null
    enough[task.null :] |= ~np.isfinite(score)
    return np.where(enough, np.nan, null)


def _resampled(
    task: Task,
    sides: _Sides,
    score: np.ndarray,
    known: Mapping[str, Float[np.ndarray, "S X Y"]],
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
    if task.metric.leaves_out(task.settings):
        deviations = _without_parts(task, sides, advance)
        return score + np.concatenate([deviations, -deviations])
    of_halves = _of_halves(task, sides, "bootstrap", known, advance)
    half = (of_halves[::2] - of_halves[1::2]) / 2
    return score + np.concatenate([half, -half])


def _without_parts(task: Task, sides: _Sides, advance: Callable[[int], None]) -> Float[np.ndarray, "S X Y"]:
    """Deviations of the scores without one part of the items each from their mean, times sqrt(parts - 1)."""
    n_items = sides.x.shape[1]
    folds = task.metric.folds(task.settings, n_items)
    parts = left_out(n_items, folds, task.groups, splits(task), task.seed)
    settings = dataclasses.replace(task.settings, splits=folds)  # items keep their folds
    rest = [np.setdiff1d(np.arange(n_items), part) for part in parts]
    try:
        scores = task.metric.scores_of_subsets(sides.x, sides.y, settings, rest, advance, sides.rdm)
    except ValueError as error:
        raise ValueError(
            f"bootstrap= leaves out 1 / {len(parts)} of the {n_items} items at a time, and keeps folds: {error}"
        ) from error
    return np.sqrt(len(parts) - 1) * (scores - scores.mean(axis=0))


def _halves(task: Task, n_items: int, setting: str) -> list[Int[np.ndarray, "_"]]:
    """Both halves of every split of the items for the setting "bootstrap" or "halves"."""
    count = splits(task) if setting == "bootstrap" else task.halves
    return [rows for both in halves(n_items, task.groups, count, task.seed) for rows in both]


def _of_halves(
    task: Task,
    sides: _Sides,
    setting: str,
    known: Mapping[str, Float[np.ndarray, "S X Y"]],
    advance: Callable[[int], None],
) -> Float[np.ndarray, "S X Y"]:
    """Scores of halves of the items for the setting, unless they were computed before."""
    if setting in known:
        return known[setting]
    rows = _halves(task, sides.x.shape[1], setting)
    with _halves_named(setting, sides.x.shape[1], rows):
        return task.metric.scores_of_subsets(sides.x, sides.y, task.settings, rows, advance, sides.rdm)


@contextlib.contextmanager
def _halves_named(setting: str, n_items: int, rows: Sequence[Int[np.ndarray, "_"]]) -> Iterator[None]:
    """Add to errors which setting scores halves of the items, and how many items are in each half."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{setting}= scores random halves of the {n_items} items, {len(rows[0])} in each: {error}"
        ) from error


def _chance(task: Task, n_items: int, expected: Float[np.ndarray, "X Y"] | None) -> np.ndarray | float | None:
    """The expected score of unrelated items, if it is known.

    With groups, whose items are similar on both sides, it is known only for metrics whose folds keep groups together:
    the mean over all orders of the items differs from that over exchanges of groups.
    """
    if task.groups is not None and not task.metric.folds(task.settings, n_items):
        return None
    return task.metric.chance_of(task.settings, n_items) if expected is None else expected
