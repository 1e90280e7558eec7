"""The activation store: one zarr group per model and view, keyed by what determines it.

Layout under the root, a local directory or any URL that fsspec knows:

    <name>--<key>.zarr           a finished group; `xarray.open_zarr` reads it without vla
    <name>--<key>.128.partial    a group that is being written, in chunks of 128 items
    <name>--<key>.<random>.tmp   a file on its way into a local group
"""

import json
import os
from typing import Any

import numpy as np
import xarray as xr

from vla.activations.labels import DIMS
from vla.activations.recipe import Recipe
from vla.activations.whole_files import open_root
from vla.activations.writer import ARRAY, Writer


class Store:
    """Finished and unfinished sets of activations under one root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open the store at `root`, a local path or a URL such as `gs://bucket/folder`; nothing is created yet.

        Raises:
          ValueError: A kind of URL that fsspec does not know, or whose package is not installed.
        """
        self._fs, self._base, self.root = open_root(root, "store")

    def location(self, recipe: Recipe) -> str:
        """Path or URL of the finished group of that recipe."""
        return f"{self.root}/{recipe.name}.zarr"

    def has(self, recipe: Recipe) -> bool:
        """Whether the activations of that recipe are finished."""
        return self.writer(recipe).finished

    def read(self, recipe: Recipe) -> xr.DataArray:
        """The finished activations of that recipe, with the group's attributes.

        Raises:
          ValueError: They are not in the store, or the group is damaged.
        """
        where = self.location(recipe)
        if not self.has(recipe):
            raise ValueError(f"No finished activations at {where}: run `python -m launch.extract` with this config.")
        try:
            with xr.open_zarr(where, chunks=None) as group:
                array, attributes = group[ARRAY].load(), group.attrs
            layers, items = (tuple(str(name) for name in array[axis].values) for axis in ("layer", "item"))
        except Exception as error:  # a broken file drives the readers into errors of every kind
            raise ValueError(f"{where} is damaged ({error}): delete that folder and extract again.") from error
        shape = (len(recipe.layers), len(recipe.items), recipe.width)
        if (layers, items) != (recipe.layers, recipe.items) or array.dims != DIMS or array.shape != shape:
            raise ValueError(f"{where} holds other layers or items than its key says: delete it and extract again.")
        # A chunk whose file is gone reads as NaN, which no finished group contains.
        if not np.isfinite(array.values).all():
            raise ValueError(f"{where} is damaged (chunks are missing): delete that folder and extract again.")
        named = array.assign_coords(layer=list(layers), item=list(items)).assign_attrs(attributes)
        return named.rename(recipe.words["model"])

    def names(self) -> list[str]:
        """Names of all finished groups, sorted."""
        if not self._fs.exists(self._base):
            return []
        folders = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._base, detail=False)]
        groups = [name for name in folders if name.endswith(".zarr")]
        return sorted(
            name.removesuffix(".zarr") for name in groups if self._fs.exists(f"{self._base}/{name}/zarr.json")
        )

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of a finished group of that name: what determines it, and what it is called."""
        return dict(json.loads(self._fs.cat_file(f"{self._base}/{name}.zarr/zarr.json")).get("attributes", {}))

    def writer(self, recipe: Recipe) -> Writer:
        """What writes that recipe, from the start or from where a killed run stopped."""
        return Writer(self._fs, self._base, recipe)
