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
        """Path or URL of the finished group that has these activations, or where it will be."""
        return f"{self.root}/{self._stored(recipe).name}.zarr"

    def has(self, recipe: Recipe) -> bool:
        """Whether the activations of that recipe are finished, alone or among those of all layers of the model."""
        return self.writer(self._stored(recipe)).finished

    def read(self, recipe: Recipe) -> xr.DataArray:
        """The finished activations of that recipe, with the group's attributes.

        Layers that were not extracted by themselves are read from the group of all layers of the model.

        Raises:
          ValueError: They are not in the store, or the group is damaged.
        """
        stored, where = self._stored(recipe), self.location(recipe)
        if not self.writer(stored).finished:
            raise ValueError(f"No finished activations at {where}: run `python -m launch.extract` with this config.")
        try:
            with xr.open_zarr(where, chunks=None) as group:
                layers, items = (tuple(str(name) for name in group[axis].values) for axis in ("layer", "item"))
                numbers = [layers.index(layer) for layer in recipe.layers if layer in layers]
                array, attributes = group[ARRAY].isel(layer=numbers).load(), group.attrs
        except Exception as error:  # readers raise errors of every type on a broken file
            raise ValueError(f"{where} is damaged ({error}): delete that folder and extract again.") from error
        shape = (len(recipe.layers), len(recipe.items), recipe.width)
        if (layers, items) != (stored.layers, recipe.items) or array.dims != DIMS or array.shape != shape:
            raise ValueError(f"{where} holds other layers or items than its key says: delete it and extract again.")
        # A missing chunk reads as NaN, which no finished group contains.
        if not np.isfinite(array.values).all():
            raise ValueError(f"{where} is damaged (chunks are missing): delete that folder and extract again.")
        named = array.assign_coords(layer=list(recipe.layers), item=list(items)).assign_attrs(attributes)
        return named.rename(recipe.words["model"])

    def _stored(self, recipe: Recipe) -> Recipe:
        """The recipe of the group to read: its own; where that is not finished, the one of all layers if that is."""
        every = recipe.all_layers
        if every is None or self.writer(recipe).finished or not self.writer(every).finished:
            return recipe
        return every

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
