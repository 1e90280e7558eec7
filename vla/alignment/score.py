"""Score every layer of one set of activations against every layer of another."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from vla import progress
from vla.activations.labels import as_activations, join, per_item
from vla.alignment.duplicates import settle_groups
from vla.alignment.measure import measure, same_precision, share, steps
from vla.alignment.permutations import Permutations
from vla.alignment.resampled import interval, reliability
from vla.alignment.significance import significance
from vla.alignment.task import Task, check_metrics, make_tasks
from vla.checks import listed
from vla.records import canonical_hash


def conclude(task: Task, measured: xr.Dataset, x: xr.DataArray, y: xr.DataArray) -> xr.Dataset:
    """The result of `vla.score` from its measurements.

    Args:
      task: The scoring task.
      measured: Measurements of all layers, from `vla.alignment.measure.measure`.
      x: Activations, for the names of layers and items.
      y: Activations of the other side.
    """
    result = measured
    if "alpha" in result:
        result = result.assign(edge_share=_edge_share(result["alpha"], task.settings.alphas))
    if task.null:
        result = _trimmed(result, task.null)
        result = result.merge(significance(result, task.metric.perfect, task.metric.higher_is_better, task.null))
    if task.bootstrap:
        result = result.merge(interval(result["resampled_score"], task.confidence, task.lowest, task.metric.highest))
    if task.halves:
        result = result.merge(reliability(result["half_score"]))
    reasons = _undefined("x", result["score"].values, x) + _undefined("y", result["score"].values.T, y)
    for reason in reasons:
        warnings.warn(f"{task.metric.name}: {reason}", stacklevel=3)
    attributes: dict[str, Any] = {
        "metric": task.metric.name,
        "protocol": task.protocol,
        "seed": task.seed,
        "n_items": x.sizes["item"],
        "null": task.null,
        "bootstrap": task.bootstrap,
        "halves": task.halves,
        "confidence": task.confidence,
        "items_hash": canonical_hash(list(map(str, x["item"].values.tolist())) if "item" in x.coords else []),
        "settings": task.settings_text,
        **({"undefined_because": " ".join(reasons)} if reasons else {}),
    }
    if task.null and task.groups is not None:
        attributes["null_fixed_items"] = Permutations(x.sizes["item"], task.groups, task.seed).fixed_items
    if "y_unit" in result.dims and "unit" in y.coords:
        result = result.assign_coords(y_unit=y["unit"].values)
    return result.assign_coords(x_layer=x["layer"].values, y_layer=y["layer"].values).assign_attrs(attributes)


def _undefined(role: str, scores: Float[np.ndarray, "L _"], side: xr.DataArray) -> list[str]:
    """Messages about layers without a score because of blank items: an item with the same value in all units, such as
    zeros, has no pattern to compare."""
    reasons = []
    for number in np.flatnonzero(np.isnan(scores).all(axis=1)):
        layer = side.values[number]
        blank = np.flatnonzero(np.ptp(layer, axis=1) == 0)
        if len(blank) and layer.shape[1] > 1 and np.ptp(layer, axis=0).any():
            names = side["item"].values[blank].tolist() if "item" in side.coords else blank.tolist()
            reasons.append(
                f"layer {side['layer'].values[number]!s} of {role} has no score, because items have the same value "
                f"in all its units: {listed(list(map(str, names)))}. Leave them out of both sides, for example with "
                "`x.drop_sel(item=[...])`."
            )
    return reasons


def _trimmed(result: xr.Dataset, null: int) -> xr.Dataset:
    """The result without permutations beyond the first `null` that were drawn for other layers only.

    Nothing is removed if a pair has fewer than `null` scores, because it used all permutations.
    """
    known = np.isfinite(result["null_score"].values)
    short = np.isfinite(result["score"].values) & (known.sum(axis=0) < null)
    used = np.flatnonzero(known.any(axis=(1, 2)))
    keep = len(known) if short.any() else max(null, used[-1] + 1 if len(used) else 0)
    return result.isel(permutation=slice(keep))


def _edge_share(alpha: xr.DataArray, alphas: tuple[float, ...]) -> xr.DataArray:
    """Share of the fits of each pair that chose the smallest or the largest penalty."""
    at_edge = xr.DataArray(np.isin(alpha.values, (alphas[0], alphas[-1])), dims=alpha.dims)
    return at_edge.mean([dim for dim in alpha.dims if dim not in ("x_layer", "y_layer")])


def score(
    x: Any,
    y: Any,
    metric: Any = "linear_predictivity",
    protocol: str = "paper",
    seed: Any = 42,
    null: Any = 0,
    bootstrap: Any = 0,
    halves: Any = 0,
    confidence: Any = 0.95,
    show_progress: bool = False,
    units: bool = False,
    **overrides: Any,
) -> Any:
    """Score all layer pairs; a directed metric predicts `y` from `x`.

    Args:
      x: Activations [layer, item, unit] or [item, unit], as a DataArray, a DataFrame whose index names the items, or an
        array.
      y: Activations of the same items, or distances between them from `vla.rdm`. They are reordered to the items of `x`
        if both have names (`vla.activations.labels.join`). A mapping from names to activations is several targets;
        targets of equal width share the preparation of `x`.
      metric: A name from `vla.list_metrics()`, or a list of different names; metrics of the same ridge regression share
        its held-out predictions.
      protocol: "paper", or "khosla_lab" (raw targets, test-fold statistics): named defaults of the settings.
      seed: Seed of the outer folds, permutations and draws, in 0..2**32 - 1.
      null: Number of distinct permutations of the items, shared by all layer pairs; fewer if no more are possible, more
        if some have no score (`vla.alignment.measure`). With groups, whole groups of equal size are exchanged
        (`vla.alignment.permutations`).
      bootstrap: Number of draws for intervals over new items and new fits, an even number such as 200. Two draws come
        from each random split of the items, or of the groups, into halves that are scored separately; for R^2 and
        explained variance, from leaving out a part of the items. All layer pairs, and all calls with the same items and
        seed, use the same splits, so differences between calls are paired. Ridge regression stops at 32 draws: 32
        scores of half the items, or 16 of nearly all. `vla.alignment.measure` has the reasons,
        `vla.alignment.resampled` the measured coverage.
      halves: Number of random splits of the items into halves that are scored separately.
      confidence: Level of the intervals.
      show_progress: Show a progress bar.
      units: Add `unit_score` (x_layer, y_layer, fold, y_unit), the score of every target unit, for linear_predictivity;
        its mean over units is `fold_score`. NaN for units that are left out.
      **overrides: Settings of the metrics, see `vla.list_metrics()[name].settings`; those of linear_predictivity are in
        `vla.metrics.RidgeSettings`. With several metrics each takes those that it has. For every metric `groups`: one
        label per item, as a list in the order of the items, a Series, a DataArray or a mapping by item name; or
        "duplicates", which makes groups of the items with the same activations. Groups stay together in folds, halves,
        draws and permutations.

    Returns:
      A Dataset; for a list of metrics a dict of Datasets by metric; for several targets a dict of these by target.
      Every Dataset has `score` (x_layer, y_layer), NaN if undefined, as for a layer that is the same for every item;
      `chance` if known, its mean over all orders of the items; and attributes that say how it was computed.
      With a null: `null_score` (permutation, x_layer, y_layer) and the statistics of
      `vla.alignment.significance.significance`: `p_value`, `p_max` (against the best of all pairs), `q_value`,
      `null_mean`, `calibrated`.
      With draws: `resampled_score` (resample, x_layer, y_layer), `ci_low`, `ci_high`, `standard_error`.
      With halves: `half_score` (split, half, x_layer, y_layer), `reliability` and `ceiling`
      (`vla.alignment.resampled.reliability`).
      For ridge regression: per fold `fold_score`, `alpha` and `undefined`, the number of target units left out because
      they or their prediction are constant; and `edge_share`, the share of fits that chose the smallest or the largest
      penalty. A large share asks for a wider range of penalties.

    Raises:
      ValueError: No metric, or a metric twice; an unknown metric, protocol or setting; activations that are not finite;
        items that do not match or are too few; too few exchangeable groups for a p-value of .05.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    check_metrics(names)
    groups = overrides.pop("groups", None)
    tasks = make_tasks(names, protocol, seed, null, overrides, bootstrap, halves, confidence, units)
    several = isinstance(y, Mapping) and not isinstance(y, xr.Dataset)
    if several and not y:
        raise ValueError("y is an empty mapping: give at least one set of activations by name.")
    x = as_activations(x, "x")
    if x.attrs.get("rdm"):
        raise ValueError("x has distances between items: give them as y, as in vla.score(activations, vla.rdm(d)).")
    targets = {name: join(x, as_activations(side, f"y[{name!r}]" if several else "y"))[1]
               for name, side in (y.items() if several else [("y", y)])}  # fmt: skip
    settled = {name: settle_groups(_grouped(tasks, groups, x, y), x, y) for name, y in targets.items()}
    results: dict[Any, dict[str, xr.Dataset]] = {name: {} for name in targets}
    for indices in _sharing(tasks):
        by_target = {name: [target_tasks[i] for i in indices] for name, target_tasks in settled.items()}
        for shared_tasks, alike in _alike(by_target, targets):
            _score(shared_tasks, x, alike, results, show_progress)
    # Metrics that share work are scored together: back to the order in which they were named.
    ordered = {target: {name: by_metric[name] for name in names} for target, by_metric in results.items()}
    if isinstance(metric, str):
        ordered = {target: by_metric[metric] for target, by_metric in ordered.items()}
    return ordered if several else ordered["y"]


def _grouped(tasks: list[Task], groups: Any, x: xr.DataArray, y: xr.DataArray) -> list[Task]:
    """The tasks with `groups`, as labels in the order of the items."""
    if groups is None:
        return tasks
    if not isinstance(groups, str):
        named = next((side for side in (x, y) if "item" in side.coords), x)
        groups = tuple(per_item(groups, named, "groups"))
    return [task.with_groups(groups) for task in tasks]


def _sharing(tasks: list[Task]) -> list[list[int]]:
    """Indices of the tasks, in lists of tasks that share their ridge regression."""
    sets: list[list[int]] = []
    for index, task in enumerate(tasks):
        for indices in sets:
            if share(tasks[indices[0]], task):
                indices.append(index)
                break
        else:
            sets.append([index])
    return sets


def _alike(
    tasks: dict[Any, list[Task]], targets: dict[Any, xr.DataArray]
) -> list[tuple[list[Task], dict[Any, xr.DataArray]]]:
    """Sets of targets that can be scored as layers of a single target, with their tasks: same width, dtype, groups."""
    sets: dict[tuple, tuple[list[Task], dict[Any, xr.DataArray]]] = {}
    for name, y in targets.items():
        key = (y.sizes["unit"], y.dtype, tasks[name][0].settings_text, bool(y.attrs.get("rdm")))
        sets.setdefault(key, (tasks[name], {}))[1][name] = y
    return list(sets.values())


def _score(
    tasks: list[Task],
    x: xr.DataArray,
    targets: dict[Any, xr.DataArray],
    results: dict[Any, dict[str, xr.Dataset]],
    show_progress: bool,
) -> None:
    """Score targets as layers of a single target by tasks that share work, and add the results to `results`."""
    sides = list(targets.values())
    values = same_precision(x.values, np.concatenate([y.values for y in sides]) if len(sides) > 1 else sides[0].values)
    cells = sum(steps(task, len(values[0]), len(values[1]), x.sizes["item"]) for task in tasks)
    with progress.bar(f"scoring {', '.join(task.metric.name for task in tasks)}", cells, show_progress) as advance:
        tables = measure(tasks, *values, advance, bool(sides[0].attrs.get("rdm")))
    for task, measured in zip(tasks, tables, strict=True):
        start = 0
        for name, y in targets.items():
            table = measured.isel(y_layer=slice(start, start + y.sizes["layer"]))
            results[name][task.metric.name] = conclude(task, table, x, y)
            start += y.sizes["layer"]
