"""What is concluded from the scores of a whole table: names of layers, significance, how it was computed."""

from typing import Any

import numpy as np
import xarray as xr

from vla.alignment.inference import significance
from vla.alignment.resampled import interval, reliability
from vla.alignment.task import Task
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
        result = result.merge(significance(result, task.metric.perfect, task.lowest))
    if task.bootstrap:
        result = result.merge(interval(result["resampled_score"], task.confidence, task.lowest, task.metric.highest))
    if task.halves:
        result = result.merge(reliability(result["half_score"]))
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
    }
    return result.assign_coords(x_layer=x["layer"].values, y_layer=y["layer"].values).assign_attrs(attributes)


def _edge_share(alpha: xr.DataArray, alphas: tuple[float, ...]) -> xr.DataArray:
    """Share of the fits of each pair that chose the smallest or the largest penalty there is."""
    at_edge = xr.DataArray(np.isin(alpha.values, (alphas[0], alphas[-1])), dims=alpha.dims)
    return at_edge.mean([dim for dim in alpha.dims if dim not in ("x_layer", "y_layer")])
