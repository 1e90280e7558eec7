"""Labelled activations: an array (layer, item, unit) whose rows and layers carry names."""

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import xarray as xr

DIMS = ("layer", "item", "unit")


def label(values: np.ndarray, layers: Sequence[str], items: Sequence, name: str | None = None) -> xr.DataArray:
    """Name the layers and items of an array [layer, item, unit]."""
    return xr.DataArray(values, dims=DIMS, coords={"layer": list(layers), "item": list(items)}, name=name)


def check_items(items: Sequence, n_items: int) -> list:
    """Item names, one per stimulus and unique; the row numbers where none are given.

    Raises:
      ValueError: Another number of names than stimuli, or a name that occurs twice.
    """
    names = list(items)
    if len(names) != n_items:
        raise ValueError(f"{len(names)} item names for {n_items} stimuli: give one name per stimulus.")
    _refuse_repeats(names, "item")
    return names


def as_activations(x: xr.DataArray | np.ndarray, role: str) -> xr.DataArray:
    """Check activations and bring them to dims (layer, item, unit).

    Args:
      x: A DataArray with dims ("layer", "item", "unit") or ("item", "unit") in any order, or a plain array of
        [layer, item, unit] or [item, unit]. Integer and half-precision values become float32; float64 stays.
      role: What the array is called in messages.

    Raises:
      ValueError: Other dims, an empty axis, repeated names, or values that are not finite numbers; the message
        names the layer and the item.
    """
    if isinstance(x, xr.DataArray):
        if set(x.dims) not in ({"layer", "item", "unit"}, {"item", "unit"}):
            raise ValueError(f"{role} has dims {x.dims}; expected ('layer', 'item', 'unit') or ('item', 'unit').")
        array = x if "layer" in x.dims else x.expand_dims(layer=[str(x.name or "layer_0")])
        array = array.transpose(*DIMS)
    else:
        values = np.asarray(x)
        if values.ndim not in (2, 3):
            raise ValueError(f"{role} has shape {values.shape}; expected [layer, item, unit] or [item, unit].")
        array = xr.DataArray(values if values.ndim == 3 else values[None], dims=DIMS)
    if 0 in array.shape:
        raise ValueError(f"{role} has an empty axis: {dict(array.sizes)}.")
    if "layer" not in array.coords:
        array = array.assign_coords(layer=[f"layer_{i}" for i in range(array.sizes["layer"])])
    for axis in ("layer", "item"):
        if axis in array.coords:
            _refuse_repeats(array[axis].values.tolist(), f"{axis} of {role}")
    return array.copy(data=_finite(_as_float(array.values, role), array, role))


def join(x: xr.DataArray, y: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring two sets of activations to the same items in the same order, the order of `x`.

    Where both carry item names they must be the same names; where either does not, rows pair by position.

    Raises:
      ValueError: Different numbers of items, or different names.
    """
    if x.sizes["item"] != y.sizes["item"]:
        raise ValueError(
            f"x has {x.sizes['item']} items and y has {y.sizes['item']}: both must show the same items. "
            "Select the common ones first, for example with `x.sel(item=common)`."
        )
    if "item" not in x.coords or "item" not in y.coords:
        return x, y
    names_x, names_y = x["item"].values.tolist(), y["item"].values.tolist()
    if names_x == names_y:
        return x, y
    missing = sorted(set(map(str, names_x)) - set(map(str, names_y)))
    if missing or set(names_x) != set(names_y):
        raise ValueError(
            f"x and y show different items: {len(missing)} of x are not in y, for example {missing[:3]}. "
            "Extract both from the same items, or select the common ones first."
        )
    return x, y.sel(item=x["item"].values)


def _refuse_repeats(names: list, what: str) -> None:
    unique, counts = np.unique(np.asarray([str(name) for name in names]), return_counts=True)
    if np.any(counts > 1):
        raise ValueError(f"Names must be unique, but {what} {str(unique[counts > 1][0])!r} occurs more than once.")


def _as_float(values: np.ndarray, role: str) -> np.ndarray:
    if values.dtype == np.float64 or values.dtype == np.float32:
        return values
    if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        return values.astype(np.float64)
    if values.dtype.kind in "iuf" or values.dtype == ml_dtypes.bfloat16:
        return values.astype(np.float32)
    raise ValueError(f"{role} has values of type {values.dtype}; expected real numbers.")


def _finite(values: np.ndarray, array: xr.DataArray, role: str) -> np.ndarray:
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    layer, item, unit = (int(i) for i in np.argwhere(bad)[0])
    layer_name = array["layer"].values[layer]
    item_name = array["item"].values[item] if "item" in array.coords else item
    raise ValueError(
        f"{role} is not finite: {values[layer, item, unit]} at layer {layer_name!s}, item {item_name!s}, unit {unit} "
        f"({int(bad.sum())} such values in all). Find out why before scoring: a bfloat16 or float16 overflow is "
        "cured by extracting with dtype='float32'; items may also be left out by `x.drop_sel(item=[...])`."
    )
