"""Labelled activations: an array (layer, item, unit) whose rows and layers carry names."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from scipy.spatial.distance import squareform

from vla.checks import listed

DIMS = ("layer", "item", "unit")

# Attribute of activations from a DataFrame with pandas' default index 0..N-1.
_DEFAULT_INDEX = "default_index"


def label(
    values: Float[np.ndarray, "layer item unit"],
    layers: Sequence[str],
    items: Sequence[Hashable],
    name: str | None = None,
) -> xr.DataArray:
    """Name the layers and items of an array."""
    return xr.DataArray(values, dims=DIMS, coords={"layer": list(layers), "item": list(items)}, name=name)


def check_items(items: object, n_items: int) -> list[Any]:
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


def as_activations(x: object, role: str) -> xr.DataArray:
    """Check activations and give them the dims (layer, item, unit).

    Args:
      x: A DataArray with dims ("layer", "item", "unit") or ("item", "unit") in any order; a DataFrame [item, unit] or a
        Series [item] of a single unit, whose index names the items; or an array [layer, item, unit] or [item, unit].
        Half-precision values and integers of up to 16 bits become float32, wider integers float64; float32 and float64
        stay.
      role: Name of the array in messages.

    Returns:
      A DataArray whose layers have names, by default layer_0, layer_1, ... A DataFrame with the default index 0..N-1
      gives items without names.

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


def rdm(distances: object, items: Sequence[Hashable] | None = None) -> xr.DataArray:
    """Distances between items, of human judgments or of brains, as the target of `vla.score`.

    The metrics that follow from distances take them: `vla.score(x, vla.rdm(d), metric="rsa")`, and with "cka" (of
    Gaussian kernels too) and "mutual_knn". RSA compares them as they are, whatever `dissimilarity` it takes of `x`; CKA
    takes them as Euclidean distances; mutual k-NN as who is near.

    Args:
      distances: Dissimilarities [item, item] or [layer, item, item], such as of several subjects or regions: an array,
        a DataFrame whose index names the items, a DataArray, or the condensed vector of `scipy.spatial.distance.pdist`.
        Symmetric, 0 on the diagonal, not negative.
      items: Names of the items, for distances without names.

    Returns:
      Activations (layer, item, unit) whose units are the items, with the attribute `rdm`.

    Raises:
      ValueError: Other shapes; values that are not symmetric, negative, not finite, or not 0 on the diagonal.
    """
    if not isinstance(distances, pd.DataFrame | xr.DataArray) and np.ndim(np.asarray(distances)) == 1:
        distances = squareform(np.asarray(distances, np.float64))
    if isinstance(distances, xr.DataArray):
        array = as_activations(distances.rename(dict(zip(distances.dims[-2:], ("item", "unit"), strict=True))), "rdm")
    else:
        array = as_activations(distances, "rdm")
    if items is not None:
        array = array.assign_coords(item=check_items(items, array.sizes["item"]))
    values = array.values.astype(np.float64)
    if values.shape[1] != values.shape[2]:
        raise ValueError(f"rdm has shape {values.shape[1:]}; expected as many columns as items.")
    size = np.abs(values).max()
    for wrong, words in (
        (np.abs(values - values.swapaxes(1, 2)) > 1e-6 * size, "not symmetric"),
        (values < 0, "negative (a similarity s becomes a distance as s.max() - s)"),
        (np.abs(values * np.eye(values.shape[1])) > 1e-6 * size, "not 0 on the diagonal"),
    ):
        if wrong.any():
            layer, row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"rdm is {words}, at layer {layer}, items {row} and {column}: give distances between items."
            )
    values = (values + values.swapaxes(1, 2)) / 2 * (1 - np.eye(values.shape[1]))
    return array.drop_vars("unit", errors="ignore").copy(data=values).drop_attrs().assign_attrs(rdm=True)


def join(x: xr.DataArray, y: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Two sets of activations with the same items in the same order, that of `x`.

    If both have item names, they must have the same names, compared as text because the store keeps text. If one has
    none (an array), rows pair by position. A DataFrame with the default index, beside items with names, is read by its
    index: the names must be 0..N-1 in any order.

    Raises:
      ValueError: Different numbers of items, or different names.
    """
    if x.sizes["item"] != y.sizes["item"]:
        raise ValueError(
            f"x has {x.sizes['item']} items and y has {y.sizes['item']}: both must show the same items. "
            "Select the common ones first, for example with `x.sel(item=common)`."
        )
    if "item" in x.coords and "item" not in y.coords:
        y = _by_default_index(y, "y", x, "x")
    elif "item" in y.coords and "item" not in x.coords:
        x = _by_default_index(x, "x", y, "y")
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
    order = [rows[name] for name in names_x]
    return x, y.isel(item=order, unit=order) if y.attrs.get("rdm") else y.isel(item=order)


def per_item(values: Any, items: xr.DataArray, role: str) -> list[Any]:
    """A value for every item, in the order of the items.

    Args:
      values: A mapping from item to value, which may hold further items; a Series, by its index; a DataArray with dim
        "item", by its item names; or a list, array or column, in the order of the items. Names are compared as text. A
        Series with the default index 0..N-1 is refused beside items with other names. A DataArray without item names
        is in the order of the items. If the items have no names, a Series or DataArray is in their order, and a
        mapping is by their numbers from 0.
      items: Activations of the items, from `as_activations`.
      role: Name of the values in messages.

    Raises:
      ValueError: Another number of values than items, or values of other items.
    """
    count = items.sizes["item"]
    names = [str(name) for name in items["item"].values.tolist()] if "item" in items.coords else None
    if isinstance(values, pd.DataFrame):
        if values.shape[1] != 1:
            raise ValueError(f"{role} has {values.shape[1]} columns: give one, such as {role}=frame['column'].")
        values = values.iloc[:, 0]
    if isinstance(values, Mapping):
        labels, column, names = list(values), list(values.values()), names or [str(row) for row in range(count)]
        extra = True
    elif isinstance(values, pd.Series):
        labels, extra = list(values.index), False
        if _is_default(values.index) and names is not None and sorted(names) != sorted(map(str, labels)):
            raise ValueError(_default_index(role, names))
        column = values.tolist()
    elif isinstance(values, xr.DataArray):
        if values.dims != ("item",):
            raise ValueError(f"{role} has dims {values.dims}; expected ('item',).")
        labels, extra = (values["item"].values.tolist() if "item" in values.coords else None), False
        column = values.values.tolist()
    else:
        array = np.asarray(values)
        if array.shape != (count,):
            raise ValueError(f"{role} has shape {array.shape}; expected one label per item, ({count},).")
        return array.tolist()
    if not extra and len(column) != count:
        raise ValueError(f"{role} has {len(column)} labels for {count} items: give one label per item.")
    if labels is None or names is None:
        return column
    texts = [str(label) for label in labels]
    _refuse_repeats(texts, f"item of {role}")
    rows = dict(zip(texts, column, strict=True))
    missing = [name for name in names if name not in rows]
    if missing:
        raise ValueError(
            f"{role} has no label for {len(missing)} of the {count} items: {listed(missing)}; it has labels for "
            f"{listed(sorted(rows.keys() - set(names)) or texts)}. Label them by the same item names."
        )
    return [rows[name] for name in names]


def _is_default(index: pd.Index) -> bool:
    """Whether an index is pandas' default."""
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def _default_index(role: str, names: Sequence[str]) -> str:
    return (
        f"{role} has the default index 0..{len(names) - 1}, but the items are called {listed(list(names))}: give "
        f"{role} the same names as index, or pass {role}.to_numpy() if its rows are in the order of the items."
    )


def _by_default_index(side: xr.DataArray, role: str, other: xr.DataArray, name: str) -> xr.DataArray:
    """Activations whose default index serves as item names, since the other side has names."""
    if not side.attrs.get(_DEFAULT_INDEX):
        return side
    names = [str(item) for item in other["item"].values.tolist()]
    numbers = list(range(side.sizes["item"]))
    if sorted(names) != sorted(map(str, numbers)):
        raise ValueError(_default_index(role, names))
    return side.assign_coords(item=numbers)


def _of_frame(x: pd.DataFrame | pd.Series, role: str) -> xr.DataArray:
    """Values of a DataFrame or Series, with its index as item names unless it is the default."""
    frame = x.to_frame() if isinstance(x, pd.Series) else x
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError(f"{role} has an index of {frame.index.nlevels} levels: give one name per item.")
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
            raise ValueError(
                f"{role} has the column {column!r} of type {dtype}; expected numbers: leave it out, or make it the "
                "index if it names the items."
            )
    dtypes = {str(dtype) for dtype in frame.dtypes}
    plain = all(isinstance(dtype, np.dtype) for dtype in frame.dtypes)
    values = frame.to_numpy() if plain and len(dtypes) <= 1 else frame.to_numpy(np.float64, na_value=np.nan)
    array = xr.DataArray(values[None], dims=DIMS)
    if _is_default(frame.index):
        return array.assign_attrs({_DEFAULT_INDEX: True})
    names = [name if isinstance(name, str | Number) else str(name) for name in frame.index]
    numbers = all(isinstance(name, Number) for name in names)
    return array.assign_coords(item=("item", names if numbers else list(map(str, names))))


def _with_dims(x: Any, role: str) -> xr.DataArray:
    """The values with dims (layer, item, unit)."""
    if isinstance(x, xr.DataArray):
        if set(x.dims) not in ({"layer", "item", "unit"}, {"item", "unit"}):
            raise ValueError(f"{role} has dims {x.dims}; expected ('layer', 'item', 'unit') or ('item', 'unit').")
        # A single layer chosen by `sel` keeps its name as a scalar.
        array = x if "layer" in x.dims else x.expand_dims("layer")
        return array.transpose(*DIMS)
    if isinstance(x, pd.DataFrame | pd.Series):
        return _of_frame(x, role)
    if np.ma.is_masked(x):
        raise ValueError(f"{role} has masked values: leave these items or units out, on both sides the same items.")
    if isinstance(x, xr.Dataset):
        raise ValueError(
            f"{role} is a Dataset with the variables {sorted(map(str, x))}; give one, such as {role}[name]."
        )
    try:
        values = np.asarray(x)
    except Exception as error:  # arrays of other libraries raise other errors
        raise ValueError(f"{role} is a {type(x).__name__} that is not read as an array: {error}") from error
    if values.ndim not in (2, 3):
        raise ValueError(f"{role} has shape {values.shape}; expected [layer, item, unit] or [item, unit].")
    return xr.DataArray(values if values.ndim == 3 else values[None], dims=DIMS)


def _refuse_repeats(names: list, what: str) -> None:
    unique, counts = np.unique(np.asarray([str(name) for name in names]), return_counts=True)
    if np.any(counts > 1):
        raise ValueError(f"Names must be unique, but {what} {str(unique[counts > 1][0])!r} occurs more than once.")


def _as_float(values: np.ndarray, role: str) -> np.ndarray:
    code, width = values.dtype.kind, values.dtype.itemsize
    if values.dtype == ml_dtypes.bfloat16 or (code == "f" and width <= 4) or (code in "iu" and width <= 2):
        return values.astype(np.float32, copy=False)
    if code in "iuf":
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
        "avoided by loading the model with dtype='float32'; items may also be left out by `x.drop_sel(item=[...])`."
    )
