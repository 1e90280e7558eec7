"""Labelled activations: an array (layer, item, unit) whose rows and layers carry names."""

from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

import ml_dtypes
import numpy as np
import xarray as xr
from jaxtyping import Float

from vla.records import listed

DIMS = ("layer", "item", "unit")


def label(
    values: Float[np.ndarray, "layer item unit"], layers: Sequence[str], items: Sequence, name: str | None = None
) -> xr.DataArray:
    """Name the layers and items of an array."""
    return xr.DataArray(values, dims=DIMS, coords={"layer": list(layers), "item": list(items)}, name=name)


def check_items(items: Any, n_items: int) -> list:
    """Item names, one per stimulus and unique.

    Raises:
      ValueError: Another number of names than stimuli, a name that is neither string nor number, or one that occurs
        twice.
    """
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise ValueError(f"items={items!r} is one {type(items).__name__}; expected a list, one name per stimulus.")
    names = list(items)
    if len(names) != n_items:
        raise ValueError(f"{len(names)} item names for {n_items} stimuli: give one name per stimulus.")
    for name in names:
        if not isinstance(name, str | Number):
            raise ValueError(f"Item name {name!r} is a {type(name).__name__}; expected a string or a number.")
    _refuse_repeats(names, "item")
    return names


def as_activations(x: Any, role: str) -> xr.DataArray:
    """Check activations and bring them to dims (layer, item, unit).

    Args:
      x: A DataArray with dims ("layer", "item", "unit") or ("item", "unit") in any order, or a plain array of
        [layer, item, unit] or [item, unit]. Half-precision values and integers of up to 16 bits become float32, wider
        integers float64; float32 and float64 stay.
      role: What the array is called in messages.

    Returns:
      A DataArray whose layers have names; those without are called layer_0, layer_1, ...

    Raises:
      ValueError: Other dims, an empty axis, repeated names, or values that are not finite numbers; the message
        names the layer and the item.
    """
    array = _with_dims(x, role)
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

    Where both carry item names they must be the same names, compared as text: the store keeps them as text. Where
    either does not, rows pair by position.

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
    names_x, names_y = (list(map(str, array["item"].values.tolist())) for array in (x, y))
    rows = {name: row for row, name in enumerate(names_y)}
    missing = [name for name in names_x if name not in rows]
    if missing:
        extra = sorted(rows.keys() - set(names_x))
        raise ValueError(
            f"x and y show different items: {len(missing)} of x are not in y: {listed(missing)}; y has instead "
            f"{listed(extra)}. Extract both from the same items, or select the common ones first, for example with "
            "`x.sel(item=common)`."
        )
    return x, y.isel(item=[rows[name] for name in names_x])


def _with_dims(x: Any, role: str) -> xr.DataArray:
    """The values with dims (layer, item, unit), whatever they are."""
    if isinstance(x, xr.DataArray):
        if set(x.dims) not in ({"layer", "item", "unit"}, {"item", "unit"}):
            raise ValueError(f"{role} has dims {x.dims}; expected ('layer', 'item', 'unit') or ('item', 'unit').")
        # One layer chosen by `sel` keeps its name as a scalar.
        array = x if "layer" in x.dims else x.expand_dims("layer")
        return array.transpose(*DIMS)
    if np.ma.is_masked(x):
        raise ValueError(f"{role} has masked values: leave these items or units out, on both sides the same items.")
    if isinstance(x, xr.Dataset):
        raise ValueError(
            f"{role} is a Dataset with the variables {sorted(map(str, x))}; give one, such as {role}[name]."
        )
    try:
        values = np.asarray(x)
    except Exception as error:  # other libraries' arrays raise their own kinds
        raise ValueError(f"{role} is a {type(x).__name__} that is not read as an array: {error}") from error
    if values.ndim not in (2, 3):
        raise ValueError(f"{role} has shape {values.shape}; expected [layer, item, unit] or [item, unit].")
    return xr.DataArray(values if values.ndim == 3 else values[None], dims=DIMS)


def _refuse_repeats(names: list, what: str) -> None:
    unique, counts = np.unique(np.asarray([str(name) for name in names]), return_counts=True)
    if np.any(counts > 1):
        raise ValueError(f"Names must be unique, but {what} {str(unique[counts > 1][0])!r} occurs more than once.")


def _as_float(values: np.ndarray, role: str) -> np.ndarray:
    kind, width = values.dtype.kind, values.dtype.itemsize
    if values.dtype == ml_dtypes.bfloat16 or (kind == "f" and width <= 4) or (kind in "iu" and width <= 2):
        return values.astype(np.float32, copy=False)
    if kind in "iuf":
        return values.astype(np.float64, copy=False)
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
        "cured by loading the model with dtype='float32'; items may also be left out by `x.drop_sel(item=[...])`."
    )
