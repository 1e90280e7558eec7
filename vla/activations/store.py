"""The activation store: one zarr group per model and view, keyed by what determines it.

Layout under the root, a local directory or any URL that fsspec knows:

    <name>--<key>.zarr                a finished group; `xarray.open_zarr` reads it without vla
    <name>--<key>.partial/data.zarr   a group being written
    <name>--<key>.partial/done/<i>    an empty file per finished chunk of items
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import fsspec
import fsspec.core
import numpy as np
import xarray as xr
import zarr
from fsspec.implementations.local import LocalFileSystem
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.storage import FsspecStore, LocalStore

from vla.activations.labels import DIMS
from vla.records import canonical_hash, listed

# Items per chunk: what a kill can cost, and the unit in which batches are formed.
CHUNK_ITEMS = 256

ARRAY = "activations"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a set of activations, and what they are called.

    Attributes:
      determines: JSON values; two recipes with equal ones have equal activations.
      words: Further JSON values for readers, such as names; they do not enter the key.
      layers: Layer names in order.
      items: Item ids in order.
      width: Units per layer.
    """

    determines: dict[str, Any]
    words: dict[str, Any]
    layers: tuple[str, ...]
    items: tuple[str, ...]
    width: int

    @property
    def key(self) -> str:
        """Content key: SHA-256 of what determines the activations, layers and items included."""
        return canonical_hash({**self.determines, "layers": self.layers, "items": self.items})

    @property
    def name(self) -> str:
        """Folder name: model and view for people, the first 16 digits of the key for uniqueness."""
        spoken = f"{self.words['model']}--{self.words['view']}"
        return re.sub(r"[^A-Za-z0-9._-]+", "_", spoken) + f"--{self.key[:16]}"


class Store:
    """Finished and unfinished sets of activations under one root."""

    def __init__(self, root: str) -> None:
        """Open the store at `root`, a local path or a URL such as `gs://bucket/folder`; nothing is created yet."""
        self.root = str(root).rstrip("/")
        self._fs, self._base = fsspec.core.url_to_fs(self.root)

    def location(self, recipe: Recipe) -> str:
        """Path or URL of the finished group of that recipe."""
        return f"{self.root}/{recipe.name}.zarr"

    def has(self, recipe: Recipe) -> bool:
        """Whether the activations of that recipe are finished."""
        return self._fs.exists(f"{self._base}/{recipe.name}.zarr/zarr.json")

    def read(self, recipe: Recipe) -> xr.DataArray:
        """The finished activations of that recipe, with the group's attributes.

        Raises:
          ValueError: They are not in the store, or the group is damaged.
        """
        where = self.location(recipe)
        if not self.has(recipe):
            raise ValueError(f"No finished activations at {where}: run `python -m launch.extract` with this config.")
        try:
            with xr.open_zarr(where, chunks=None, consolidated=False) as group:
                array = group[ARRAY].load()
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"{where} is damaged ({error}): delete that folder and extract again.") from error
        names = {axis: [str(name) for name in array[axis].values] for axis in ("layer", "item")}
        if (*names["layer"],) != recipe.layers or (*names["item"],) != recipe.items:
            raise ValueError(f"{where} holds other layers or items than its key says: delete it and extract again.")
        return array.assign_coords(names).assign_attrs(group.attrs)

    def names(self) -> list[str]:
        """Names of all finished groups, sorted."""
        if not self._fs.exists(self._base):
            return []
        folders = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._base, detail=False)]
        finished = [name for name in folders if self._fs.exists(f"{self._base}/{name}/zarr.json")]
        return sorted(name.removesuffix(".zarr") for name in finished if name.endswith(".zarr"))

    def writer(self, recipe: Recipe) -> "Writer":
        """Start, or take up where a killed run stopped, the writing of that recipe."""
        return Writer(self._fs, self._base, recipe)


class Writer:
    """Writes one group chunk by chunk; nothing looks finished before `publish`."""

    def __init__(self, fs: fsspec.AbstractFileSystem, base: str, recipe: Recipe) -> None:
        """Open the unfinished group, or create it."""
        self._fs, self._recipe = fs, recipe
        self._final = f"{base}/{recipe.name}.zarr"
        self._partial = f"{base}/{recipe.name}.partial"
        self._data = f"{self._partial}/data.zarr"
        plan = f"{self._partial}/plan.json"
        self._local = isinstance(fs, LocalFileSystem)
        store = LocalStore(self._data) if self._local else FsspecStore.from_mapper(fs.get_mapper(self._data))
        if not fs.exists(plan):
            self._create(store)
            # The plan comes last: a group without it was cut off while being created, and is created again.
            with fs.open(plan, "w") as file:
                json.dump({"key": recipe.key, "chunk_items": CHUNK_ITEMS}, file)
        self._array = zarr.open_array(store, path=ARRAY, mode="r+")

    def _create(self, store: zarr.abc.store.Store) -> None:
        r = self._recipe
        if self._fs.exists(self._partial):
            self._fs.rm(self._partial, recursive=True)
        self._fs.makedirs(f"{self._partial}/done", exist_ok=True)
        group = zarr.create_group(store, attributes={**r.words, **r.determines, "key": r.key})
        group.create_array(
            ARRAY,
            shape=(len(r.layers), len(r.items), r.width),
            chunks=(1, min(CHUNK_ITEMS, len(r.items)), r.width),
            dtype="float32",
            fill_value=np.nan,
            compressors=[Crc32cCodec()],
            serializer=BytesCodec(),
            dimension_names=DIMS,
        )
        for axis, names in (("layer", r.layers), ("item", r.items)):
            data = np.array(names, dtype=np.dtypes.StringDType())
            group.create_array(axis, data=data, chunks=data.shape, compressors=None, dimension_names=(axis,))

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """Rows (start, stop) of every chunk of items."""
        n = len(self._recipe.items)
        return [(start, min(start + CHUNK_ITEMS, n)) for start in range(0, n, CHUNK_ITEMS)]

    @property
    def pending(self) -> list[tuple[int, int]]:
        """Chunks not yet finished."""
        return [chunk for chunk in self.chunks if not self._fs.exists(self._mark(chunk))]

    def _mark(self, chunk: tuple[int, int]) -> str:
        return f"{self._partial}/done/{chunk[0]}"

    def write(self, chunk: tuple[int, int], values: np.ndarray) -> None:
        """Write one chunk [layer, item, unit] and mark it finished.

        Raises:
          ValueError: Values that are not finite, named by layer and item; nothing of the chunk is written.
        """
        bad = ~np.isfinite(values)
        if bad.any():
            layer, item, _ = (int(i) for i in np.argwhere(bad)[0])
            names = [self._recipe.items[chunk[0] + i] for i in sorted(set(np.argwhere(bad)[:, 1].tolist()))]
            raise ValueError(
                f"{self._recipe.words['model']} gives {values[bad][0]} at layer {self._recipe.layers[layer]} for "
                f"{len(names)} items: {listed(names)}. In bfloat16 try dtype='float32'; else check the weights."
            )
        self._array[:, chunk[0] : chunk[1], :] = values
        self._fs.touch(self._mark(chunk))

    def publish(self) -> None:
        """Make the finished group visible under its final name, all at once."""
        assert not self.pending, "publish before every chunk is finished"
        if self._local:
            # Another process may have published the same bytes in the meantime.
            with contextlib.suppress(FileExistsError):
                self._fs.mv(self._data, self._final, recursive=True)
        else:
            self._copy_metadata_last()
        self._fs.rm(self._partial, recursive=True)

    def _copy_metadata_last(self) -> None:
        # Object stores have no rename; without its root zarr.json a group does not exist.
        root = f"{self._data}/zarr.json"
        files = sorted(self._fs.find(self._data), key=lambda path: str(path).endswith(root))
        for path in files:
            self._fs.copy(path, self._final + str(path)[str(path).index(self._data) + len(self._data) :])
