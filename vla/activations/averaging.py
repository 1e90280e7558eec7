"""The mean of several exemplars' activations, item by item.

K exemplars, L layers, N items, D units.
"""

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from vla.activations.labels import as_activations, join


def average(exemplars: Iterable[Any], z_score_first: bool = False) -> xr.DataArray:
    """The mean over exemplars: of K sets of activations, one for each exemplar of the items.

    Args:
      exemplars: DataArrays with the same layers, items and units, such as activations of one model on the views of
        `vla.stimuli.caption_exemplars`. Rows are joined by item name.
      z_score_first: Bring each unit of each exemplar to mean 0 and standard deviation 1 (population's) over the items
        before averaging, so that no exemplar weighs more for its scale; a constant unit becomes 0. The statistics are
        those of all items given, test folds included.

    Returns:
      float32 DataArray (layer, item, unit), the items in the first exemplar's order.

    Raises:
      ValueError: no exemplars; other layers, items or units than the first's; values that are not finite.
    """
    last = collections.deque(running_means(exemplars, z_score_first), maxlen=1)
    if not last:
        raise ValueError("There are no exemplars to average: give at least one set of activations.")
    return last[0]


def running_means(exemplars: Iterable[Any], z_score_first: bool = False) -> Iterator[xr.DataArray]:
    """The mean of the first exemplar, of the first two, and so on to all of them.

    One set of activations is held at a time beside the sum, which is in float64; `exemplars` may be a generator that
    reads them from the store.

    Args:
      exemplars: As of `average`.
      z_score_first: As of `average`.

    Raises:
      ValueError: As `average`.
    """
    first, total = None, np.zeros(())
    for count, given in enumerate(exemplars, start=1):
        exemplar = as_activations(given, f"exemplar {count}")
        if first is None:
            first = exemplar
            total = np.zeros(first.shape)
        else:
            _, exemplar = _joined(first, exemplar, count)
        values = exemplar.values.astype(np.float64)
        total += _z_scored(values) if z_score_first else values
        yield first.copy(data=(total / count).astype(np.float32))


def _joined(first: xr.DataArray, other: xr.DataArray, count: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Both with the items in the first's order; refused if anything else differs."""
    layers, own = first["layer"].values.tolist(), other["layer"].values.tolist()
    if layers != own:
        raise ValueError(
            f"Exemplar {count} has the layers {own}, but the first has {layers}: extract all of them alike."
        )
    if first.sizes["unit"] != other.sizes["unit"]:
        raise ValueError(
            f"Exemplar {count} has {other.sizes['unit']} units, but the first has {first.sizes['unit']}: average "
            "activations of one model."
        )
    try:
        return join(first, other)
    except ValueError as error:
        raise ValueError(f"Exemplar {count} (y) beside the first (x): {error}") from error


def _z_scored(values: Float[np.ndarray, "L N D"]) -> Float[np.ndarray, "L N D"]:
    """Each unit of each layer at mean 0 and standard deviation 1 over the items; constant units at 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    # Rounding in the mean leaves a constant unit a deviation of some last digits: it must not be blown up to 1.
    constant = np.ptp(values, axis=1, keepdims=True) == 0
    deviation = np.where(constant, 1.0, centred.std(axis=1, keepdims=True))
    return np.where(constant, 0.0, centred / deviation)
