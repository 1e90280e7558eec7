"""What is concluded from the scores of a whole table: names of layers, significance, how it was computed."""

import warnings
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from vla.alignment.inference import significance
from vla.alignment.permutations import Permutations
from vla.alignment.resampled import interval, reliability
from vla.alignment.task import Task
from vla.records import canonical_hash, listed


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
