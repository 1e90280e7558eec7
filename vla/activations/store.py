"""The activation store: one zarr group per model and view, keyed by what determines it.

Layout under the root, a local directory or any URL that fsspec knows:

    <name>--<key>.zarr           a finished group; `xarray.open_zarr` reads it without vla
    <name>--<key>.128.partial    a group that is being written, in chunks of 128 items
    <name>--<key>.<random>.tmp   a file that is being written into a local group
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import xarray as xr
import zarr
from fsspec.implementations.local import LocalFileSystem
from jaxtyping import Float
from zarr.abc.buffer import Buffer
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from vla.activations.labels import DIMS
from vla.files import open_root, put_file
from vla.records import canonical_hash

# File systems take names of 255 bytes; the key and the endings need some of them.
_LONGEST_WORDS = 160


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a set of activations, and its names.

    Attributes:
      determines: JSON values; recipes that agree in them, in layers and in items have equal activations.
      words: Further JSON values for readers, such as `model` and `view`; not part of the key.
      layers: Layer names in order.
      items: Item ids in order.
      width: Units per layer.
      model_layers: All layers of the model, if `layers` are only some of them; not part of the key.
    """

    determines: dict[str, Any]
    words: dict[str, Any]
    layers: tuple[str, ...]
    items: tuple[str, ...]
    width: int
    model_layers: tuple[str, ...] = ()

    @property
    def all_layers(self) -> "Recipe | None":
        """The recipe of all layers of the model; None if this one has all of them."""
        if not self.model_layers or self.model_layers == self.layers:
            return None
        return dataclasses.replace(self, layers=self.model_layers)

    @functools.cached_property
    def key(self) -> str:
        """Content key: SHA-256 of what determines the activations, layers and items included."""
        return canonical_hash({**self.determines, "layers": self.layers, "items": self.items})

    @functools.cached_property
    def name(self) -> str:
        """Folder name: model and view for readers, the first 16 digits of the key for uniqueness."""
        spoken = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{self.words['model']}--{self.words['view']}")
        return f"{spoken[:_LONGEST_WORDS]}--{self.key[:16]}"


# Items per chunk, the smallest share of a process.
CHUNK_ITEMS = 128

ARRAY = "activations"

_ROOT = "zarr.json"


class Writer:
    """Writes the group of one recipe; nothing looks finished before `publish`."""

    def __init__(self, fs: fsspec.AbstractFileSystem, base: str, recipe: Recipe) -> None:
        """Nothing is created yet; `base` is the root of the store in the file system."""
        self._fs, self._base, self._recipe = fs, base, recipe
        self._local = isinstance(fs, LocalFileSystem)
        self._group = f"{base}/{recipe.name}.zarr"
        # The chunk size is part of the name, since chunks of another size would not fit.
        self._partial = f"{base}/{recipe.name}.{CHUNK_ITEMS}.partial"

    @property
    def finished(self) -> bool:
        """Whether the finished group exists."""
        return self._fs.exists(f"{self._group}/{_ROOT}")

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """Rows (start, stop) of every chunk of items."""
        n = len(self._recipe.items)
        return [(start, min(start + CHUNK_ITEMS, n)) for start in range(0, n, CHUNK_ITEMS)]

    @property
    def pending(self) -> list[tuple[int, int]]:
        """Chunks not yet finished."""
        self._fs.invalidate_cache()
        files = set(self._fs.find(self._partial))
        return [
            chunk
            for chunk in self.chunks
            if not files.issuperset(f"{self._partial}/{key}" for key in _keys(chunk, self._recipe))
        ]

    def check_room(self) -> None:
        """Refuse, by a ValueError, to start what the disk cannot hold."""
        if not self._local:
            return
        unit = 4 * len(self._recipe.layers) * self._recipe.width
        needed = unit * sum(stop - start for start, stop in self.pending)
        folder = Path(self._base)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ValueError(
                f"Activations of {self._recipe.words['model']} on {self._recipe.words['view']} need "
                f"{needed / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB free. Make room, put the store "
                "elsewhere, or extract fewer layers."
            )

    def write(self, chunk: tuple[int, int], values: Float[np.ndarray, "layer item unit"], first: int = 0) -> None:
        """Write finite values of one of `chunks`, one file per layer, of neighbouring layers from the index `first` on.

        Raises:
          ValueError: The file system refuses it.
        """
        start, stop = chunk
        layers = slice(first, first + len(values))
        assert np.isfinite(values).all()
        self._in_memory.array[layers, start:stop] = values
        with self._writing():
            for key in _keys(chunk, self._recipe)[layers]:
                self._put(f"{self._partial}/{key}", self._in_memory.files.pop(key).to_bytes())

    def publish(self) -> None:
        """Make the finished group visible under its final name, then remove temporary files.

        Raises:
          ValueError: Chunks are missing, or the file system refuses it.
        """
        pending = self.pending
        if not self.finished:
            if pending:
                raise ValueError(
                    f"{len(pending)} of {len(self.chunks)} chunks of {self._group} are missing. If several "
                    "processes extract together, all of them must see the store."
                )
            with self._writing():
                self._publish_local() if self._local else self._publish_remote()
        self._clear()

    def _publish_local(self) -> None:
        for key, data in self._in_memory.metadata.items():
            self._put(f"{self._partial}/{key}", data)
        # Fails if another process has published the same group, which `_writing` checks.
        os.rename(self._partial, self._group)

    def _publish_remote(self) -> None:
        # Object stores have no rename; a group without its root zarr.json does not exist.
        for chunk in self.chunks:
            for key in _keys(chunk, self._recipe):
                self._fs.copy(f"{self._partial}/{key}", f"{self._group}/{key}")
        for key, data in self._in_memory.metadata.items():
            self._put(f"{self._group}/{key}", data)

    def _clear(self) -> None:
        """Remove everything else with the name of the finished group."""
        for path in map(str, self._fs.ls(self._base, detail=False)):
            name = path.rstrip("/").rsplit("/", 1)[-1]
            if name.startswith(f"{self._recipe.name}.") and name != f"{self._recipe.name}.zarr":
                # Another process may be removing the same.
                with contextlib.suppress(OSError):
                    self._fs.rm(path, recursive=True)

    def _put(self, path: str, data: bytes) -> None:
        """Write a file completely or not at all."""
        put_file(self._fs, path, data, f"{self._base}/{self._recipe.name}")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Ignore an error of the file system if another process has meanwhile finished the same group."""
        try:
            yield
        except OSError as error:
            if not self.finished:
                raise ValueError(
                    f"Activations cannot be written to {self._group}: {error}. Make room, permit writing, or remove "
                    "what is in the way, then run again: the chunks that are finished are kept."
                ) from error

    @functools.cached_property
    def _in_memory(self) -> "_InMemory":
        return _InMemory(self._recipe)


class _InMemory:
    """The group in memory, where zarr encodes it; its files are then written one by one.

    Attributes:
      files: Encoded files by key; writing to `array` adds to them.
      array: The activations, backed by `files`.
      metadata: All files but the chunks of `array`, the group's root last.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.files: dict[str, Buffer] = {}
        store = MemoryStore(self.files)
        title = f"Activations of {recipe.words['model']} on {recipe.words['view']}"
        group = zarr.create_group(
            store, attributes={"title": title, **recipe.words, **recipe.determines, "key": recipe.key}
        )
        self.array = group.create_array(
            ARRAY,
            shape=(len(recipe.layers), len(recipe.items), recipe.width),
            chunks=(1, min(CHUNK_ITEMS, len(recipe.items)), recipe.width),
            dtype="float32",
            fill_value=np.nan,
            compressors=[Crc32cCodec()],
            serializer=BytesCodec(),
            dimension_names=DIMS,
        )
        for axis, names in (("layer", recipe.layers), ("item", recipe.items)):
            data = np.array(names, dtype=np.dtypes.StringDType())
            group.create_array(axis, data=data, chunks=data.shape, compressors=[Crc32cCodec()], dimension_names=(axis,))
        with warnings.catch_warnings():
            # Consolidated metadata are not yet part of the specification: readers may ignore them, and xarray warns
            # about a group without.
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(store)
        keys = sorted(self.files, key=lambda key: (key == _ROOT, key))
        self.metadata = {key: self.files[key].to_bytes() for key in keys}


def _keys(chunk: tuple[int, int], recipe: Recipe) -> list[str]:
    """The files of a chunk of items, one per layer, as zarr names them."""
    return [f"{ARRAY}/c/{layer}/{chunk[0] // CHUNK_ITEMS}/0" for layer in range(len(recipe.layers))]


class Store:
    """Finished and unfinished sets of activations under one root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open the store at `root`, a local path or a URL such as `gs://bucket/folder`; nothing is created yet.

        Raises:
          ValueError: A URL that fsspec does not know, or whose package is not installed.
        """
        self._fs, self._base, self.root = open_root(root, "store")

    def location(self, recipe: Recipe) -> str:
        """Path or URL of the finished group with these activations, or where it will be."""
        return f"{self.root}/{self._stored(recipe).name}.zarr"

    def has(self, recipe: Recipe) -> bool:
        """Whether the activations of that recipe are finished, on their own or with all layers of the model."""
        return self.writer(self._stored(recipe)).finished

    def read(self, recipe: Recipe) -> xr.DataArray:
        """The finished activations of that recipe, with the group's attributes.

        Layers that were not extracted on their own are read from the group of all layers of the model.

        Raises:
          ValueError: They are not in the store, or the group is damaged.
        """
        stored, location = self._stored(recipe), self.location(recipe)
        if not self.writer(stored).finished:
            raise ValueError(f"No finished activations at {location}: run `python -m launch.extract` with this config.")
        try:
            with xr.open_zarr(location, chunks=None) as group:
                layers, items = (tuple(str(name) for name in group[axis].values) for axis in ("layer", "item"))
                numbers = [layers.index(layer) for layer in recipe.layers if layer in layers]
                array, attributes = group[ARRAY].isel(layer=numbers).load(), group.attrs
        except Exception as error:  # readers raise errors of every type on a broken file
            raise ValueError(f"{location} is damaged ({error}): delete that folder and extract again.") from error
        shape = (len(recipe.layers), len(recipe.items), recipe.width)
        if (layers, items) != (stored.layers, recipe.items) or array.dims != DIMS or array.shape != shape:
            raise ValueError(f"{location} holds other layers or items than its key says: delete it and extract again.")
        # A missing chunk reads as NaN, which no finished group contains.
        if not np.isfinite(array.values).all():
            raise ValueError(f"{location} is damaged (chunks are missing): delete that folder and extract again.")
        named = array.assign_coords(layer=list(recipe.layers), item=list(items)).assign_attrs(attributes)
        return named.rename(recipe.words["model"])

    def _stored(self, recipe: Recipe) -> Recipe:
        """The recipe of the group to read: its own, or that of all layers if only that is finished."""
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
        """The attributes of a finished group: what determines it, and its words."""
        return dict(json.loads(self._fs.cat_file(f"{self._base}/{name}.zarr/zarr.json")).get("attributes", {}))

    def writer(self, recipe: Recipe) -> Writer:
        """The writer of that recipe; it resumes an interrupted run."""
        return Writer(self._fs, self._base, recipe)
