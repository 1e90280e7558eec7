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
from vla.alignment.measure import measure_together, same_precision, share, steps
from vla.alignment.permutations import Permutations
from vla.alignment.resampled import interval, reliability
from vla.alignment.significance import significance
from vla.alignment.task import Task, check_metrics, make_tasks
from vla.checks import listed
from vla.records import canonical_hash


def conclude(task: Task, measured: xr.Dataset, x: xr.DataArray, y: xr.DataArray) -> xr.Dataset:
    """The result of `vla.score`.

    Args:
      task: What was asked.
      measured: What `vla.alignment.measure.measure` gave, of all layers.
      x: The activations, for the names of their layers.
      y: Likewise.
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
    return result.assign_coords(x_layer=x["layer"].values, y_layer=y["layer"].values).assign_attrs(attributes)


def _undefined(role: str, scores: Float[np.ndarray, "L _"], side: xr.DataArray) -> list[str]:
    """Why layers of one side have no score, where blank items are why: an item whose units are all alike, such as one
    of zeros, has no pattern to compare."""
    reasons = []
    for number in np.flatnonzero(np.isnan(scores).all(axis=1)):
        layer = side.values[number]
        blank = np.flatnonzero(np.ptp(layer, axis=1) == 0)
        if len(blank) and layer.shape[1] > 1 and np.ptp(layer, axis=0).any():
            names = side["item"].values[blank].tolist() if "item" in side.coords else blank.tolist()
            reasons.append(
                f"layer {side['layer'].values[number]!s} of {role} has no score, and items there have the same value "
                f"in all units: {listed(list(map(str, names)))}. Leave them out of both sides, for example with "
                "`x.drop_sel(item=[...])`."
            )
    return reasons


def _trimmed(result: xr.Dataset, null: int) -> xr.Dataset:
    """Without the permutations after the first `null` that no pair of these layers has a score for: drawn for others.

    A pair with fewer scores than `null` has drawn all of them, so that nothing is cut where one is.
    """
    known = np.isfinite(result["null_score"].values)
    short = np.isfinite(result["score"].values) & (known.sum(axis=0) < null)
    used = np.flatnonzero(known.any(axis=(1, 2)))
    keep = len(known) if short.any() else max(null, used[-1] + 1 if len(used) else 0)
    return result.isel(permutation=slice(keep))


def _edge_share(alpha: xr.DataArray, alphas: tuple[float, ...]) -> xr.DataArray:
    """Share of the fits of each pair that chose the smallest or the largest penalty there is."""
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
    **overrides: Any,
) -> Any:
    """Alignment of all layer pairs; a directed metric predicts `y` from `x`.

    Args:
      x: Activations [layer, item, unit] or [item, unit], as a DataArray, a DataFrame (its index names the items), or an
        array.
      y: Activations of the same items. Item names, where both have them, must agree; `y` is brought to the
        order of `x`, as `vla.activations.labels.join` says. Or several targets, a mapping of names to activations:
        those of equal width share all that is prepared of `x`.
      metric: A name from `vla.list_metrics()`, or a list of different names; those that measure the same held-out
        predictions of ridge regression share them.
      protocol: "paper", or "khosla_lab" (raw targets, test-fold statistics): named defaults of the settings.
      seed: Seed of the outer folds and of the null's permutations, in 0..2**32 - 1.
      null: Number of scores with the correspondence of items shuffled; one permutation serves all layer pairs. They are
        all different, so there are fewer where no more are possible. Where some have no score, further ones are drawn
        (`vla.alignment.measure`). With groups, whole groups of equal size trade places, and items keep their order
        within a group; a group of which no other has the size stays where it is (`vla.alignment.permutations`).
      bootstrap: Number of draws for intervals over new items and new fits, even and 200 or so. Each two come from one
        random split of the items into halves, of whole groups where there are groups, both of which are scored anew;
        of R^2 and explained variance, from leaving out one part of the items. All layer pairs, and all calls with the
        same items and seed, use the same splits, so that differences between calls are paired. Ridge regression stops
        at 32 draws, which cost 32 scores of half the items, or 16 of nearly all.
        `vla.alignment.measure` has the reasons, `vla.alignment.resampled` the measured coverage.
      halves: Number of splits of the items into random halves, each of which is scored on its own.
      confidence: Of the intervals.
      show_progress: Show a bar with the time left.
      **overrides: For every metric, `groups`: one label per item, as a list in the order of the items, a Series by its
        index, a DataArray by its items, or a mapping from item to label; or "duplicates" to keep items together that
        are the same stimulus. Folds, halves, draws and the null take groups as wholes. For linear_predictivity, fields
        of `vla.metrics.RidgeSettings`: alphas, outer_folds, inner_cv, alpha_per_target, standardize_targets,
        test_statistics. For other metrics, the fields of their `vla.list_metrics()[name].settings`. Of a list of
        metrics, each is given those that it knows.

    Returns:
      A Dataset; of a list of metrics, a dict of Datasets by name; of several targets, a dict of those by name. It has
      `score` (x_layer, y_layer), and where it is known, `chance`, its mean over all orders of the items; with a null
      also `null_score` (permutation, x_layer, y_layer) and what `vla.alignment.significance.significance` makes of it:
      `p_value`, `p_max` (against the best of all pairs), `q_value`, `null_mean` and `calibrated`.
      With draws it has `resampled_score` (resample, x_layer, y_layer), `ci_low`, `ci_high` and `standard_error`; with
      halves `half_score` (split, half, x_layer, y_layer), `reliability` and `ceiling`
      (`vla.alignment.resampled.reliability`).
      Ridge regression adds, per fold, `fold_score`, `alpha` and `undefined`, the number of target units that
      were left out because they or their prediction are constant; and `edge_share`, the share of fits that chose the
      smallest or largest penalty there is, which may mean that a wider range is needed. A score is NaN where nothing
      is defined, as for a layer that is the same for every item. The attributes say how it was computed.

    Raises:
      ValueError: No metric, or one twice; unknown metric, protocol or setting; activations that are not finite; items
        that do not match or are too few; groups of which so few can trade places that no p-value could reach .05.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    check_metrics(names)
    groups = overrides.pop("groups", None)
    tasks = make_tasks(names, protocol, seed, null, overrides, bootstrap, halves, confidence)
    several = isinstance(y, Mapping) and not isinstance(y, xr.Dataset)
    if several and not y:
        raise ValueError("y is an empty mapping: give at least one set of activations by name.")
    x = as_activations(x, "x")
    targets = {name: join(x, as_activations(side, f"y[{name!r}]" if several else "y"))[1]
               for name, side in (y.items() if several else [("y", y)])}  # fmt: skip
    settled = {name: settle_groups(_grouped(tasks, groups, x, y), x, y) for name, y in targets.items()}
    found: dict[Any, dict[str, xr.Dataset]] = {name: {} for name in targets}
    for places in _sharing(tasks):
        for together, some in _alike({name: [own[i] for i in places] for name, own in settled.items()}, targets):
            _score(together, x, some, found, show_progress)
    found = {target: {name: results[name] for name in names} for target, results in found.items()}
    if isinstance(metric, str):
        alone = {name: results[metric] for name, results in found.items()}
        return alone if several else alone["y"]
    return found if several else found["y"]


def _grouped(tasks: list[Task], groups: Any, x: xr.DataArray, y: xr.DataArray) -> list[Task]:
    """The tasks on items in groups, whose labels are brought to the order of the items."""
    if groups is None:
        return tasks
    if not isinstance(groups, str):
        named = next((side for side in (x, y) if "item" in side.coords), x)
        groups = tuple(per_item(groups, named, "groups"))
    return [task.with_groups(groups) for task in tasks]


def _sharing(tasks: list[Task]) -> list[list[int]]:
    """Places of tasks in lists of those that share what is most of the work."""
    found: list[list[int]] = []
    for place, task in enumerate(tasks):
        for some in found:
            if share(tasks[some[0]], task):
                some.append(place)
                break
        else:
            found.append([place])
    return found


def _alike(
    tasks: dict[Any, list[Task]], targets: dict[Any, xr.DataArray]
) -> list[tuple[list[Task], dict[Any, xr.DataArray]]]:
    """Targets that can be scored as layers of one, with their tasks: of equal width and type, under the same groups."""
    found: list[tuple[tuple, list[Task], dict[Any, xr.DataArray]]] = []
    for name, y in targets.items():
        kind = (y.sizes["unit"], y.dtype, tasks[name][0].settings_text)
        for other, _, some in found:
            if other == kind:
                some[name] = y
                break
        else:
            found.append((kind, tasks[name], {name: y}))
    return [(own, some) for _, own, some in found]


def _score(
    tasks: list[Task],
    x: xr.DataArray,
    targets: dict[Any, xr.DataArray],
    found: dict[Any, dict[str, xr.Dataset]],
    show_progress: bool,
) -> None:
    """Score some targets as layers of one, by tasks that share work, and add to `found` what each would have alone."""
    sides = list(targets.values())
    values = same_precision(x.values, np.concatenate([y.values for y in sides]) if len(sides) > 1 else sides[0].values)
    cells = sum(steps(task, len(values[0]), len(values[1]), x.sizes["item"]) for task in tasks)
    with progress.bar(f"scoring {', '.join(task.metric.name for task in tasks)}", cells, show_progress) as advance:
        tables = measure_together(tasks, *values, advance)
    for task, measured in zip(tasks, tables, strict=True):
        start = 0
        for name, y in targets.items():
            own = measured.isel(y_layer=slice(start, start + y.sizes["layer"]))
            found[name][task.metric.name] = conclude(task, own, x, y)
            start += y.sizes["layer"]
