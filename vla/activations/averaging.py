"""The mean of the activations of several exemplars, item by item.

Axes: L layers, N items, D units.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float

from vla.activations.labels import as_activations, join


def running_means(exemplars: Iterable[xr.DataArray], z_score_first: bool = False) -> Iterator[xr.DataArray]:
    """The mean of the first exemplar, of the first two, and so on to all: float32 DataArrays (layer, item, unit).

    Memory holds one set of activations and the sum, in float64; `exemplars` may be a generator that reads the store.

    Args:
      exemplars: Arrays with the same layers, items and units, such as activations of one model on the views of
        `vla.stimuli.caption_exemplars`. Rows are joined by item name, in the order of the first.
      z_score_first: Standardise each unit of each exemplar to mean 0 and (population) standard deviation 1 over the
        items before averaging, so that the scale of an exemplar does not matter; a constant unit becomes 0. The
        statistics include all items, also those of test folds.

    Raises:
      ValueError: Layers, items or units that differ from the first's; values that are not finite.
    """
    first, total = None, np.zeros(())
    for count, values in enumerate(exemplars, start=1):
        exemplar = as_activations(values, f"exemplar {count}")
        if first is None:
            first = exemplar
            total = np.zeros(first.shape)
        else:
            _, exemplar = _joined(first, exemplar, count)
        array = exemplar.values.astype(np.float64)
        total += _z_scored(array) if z_score_first else array
        yield first.copy(data=(total / count).astype(np.float32))


def _joined(first: xr.DataArray, other: xr.DataArray, count: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Both with the items in the first's order; a ValueError if anything else differs."""
    layers, other_layers = first["layer"].values.tolist(), other["layer"].values.tolist()
    if layers != other_layers:
        raise ValueError(
            f"Exemplar {count} has the layers {other_layers}, but the first has {layers}: extract all of them alike."
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
    """Each unit of each layer standardised over the items; constant units become 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    # Rounding in the mean gives a constant unit a tiny deviation, which must not be scaled up to 1.
    constant = np.ptp(values, axis=1, keepdims=True) == 0
    deviation = np.where(constant, 1.0, centred.std(axis=1, keepdims=True))
    return np.where(constant, 0.0, centred / deviation)
