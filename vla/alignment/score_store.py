"""The score store: one zarr group per table of scores, keyed by what determines it.

Layout under the root, a local directory or any URL that fsspec knows:

    <name>--<key>.zarr                       a finished table; `xarray.open_zarr` reads it without vla
    <name>--<key>.partial/block-0-8.npz      layers 0 to 7 of x with all layers of y
    <name>--<key>.<random>.tmp               a file that is being written to a local folder

Files are written atomically and the root of a group last, so whatever exists is complete. Several processes may score
the same table: they write the same files.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.abc.buffer import Buffer
from zarr.storage import MemoryStore

from vla.alignment.task import Task, make_tasks
from vla.files import open_root, put_file
from vla.records import canonical_hash

# Raised whenever some score would come out otherwise, so that stored ones are computed anew.
NUMERICS_VERSION = 8

# Names of files have at most 255 bytes, which the key and the endings share.
_LONGEST_TITLE = 160


@dataclasses.dataclass(frozen=True)
class ScoreRecipe:
    """All that determines a table of scores, and its name.

    Attributes:
      keys: Keys of the activations of the predictor and of the target.
      task: The scoring task.
      labels: Names of the two sides, for people; not part of the key.
    """

    keys: tuple[str, str]
    task: Task
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 of the keys of the activations, the task and the version of the numerics."""
        return canonical_hash({"keys": list(self.keys), "numerics_version": NUMERICS_VERSION, **self.task.determines()})

    @functools.cached_property
    def name(self) -> str:
        """Folder name: names for people, then the first 16 digits of the key."""
        title = "--".join([*self.labels.values(), self.task.metric.name])
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', title)[:_LONGEST_TITLE]}--{self.key[:16]}"


def score_recipe(
    keys: Sequence[str],
    metric: str = "linear_predictivity",
    protocol: str = "paper",
    seed: int = 42,
    null: int = 0,
    bootstrap: int = 0,
    halves: int = 0,
    confidence: float = 0.95,
    labels: Mapping[str, str] | None = None,
    **overrides: Any,
) -> ScoreRecipe:
    """The recipe of `vla.score` with the same arguments on stored activations; see there for the others.

    Args:
      keys: Key of x and key of y, such as `vla.activations.store.Recipe.key`. If items were selected, reordered or
        averaged since, the key is a hash that includes this.
      labels: Names of the two sides, for the folder name and the attributes.
      **overrides: Settings; `groups` is a list in the order of the items of x, or "duplicates".

    Raises:
      ValueError: As `vla.score`, or keys that are not two strings.
    """
    if isinstance(keys, str) or len(keys) != 2 or not all(isinstance(key, str) and key for key in keys):
        raise ValueError(f"keys={keys!r}: expected two strings, the key of x and the key of y.")
    (task,) = make_tasks([metric], protocol, seed, null, overrides, bootstrap, halves, confidence)
    return ScoreRecipe((keys[0], keys[1]), task, dict(labels or {}))


# zarr format 2, because there consolidated metadata are part of the format and readers do not warn.
_ROOT = ".zmetadata"

_LAYERS = ("x_layer", "y_layer")


class ScoreStore:
    """Finished and unfinished tables of scores under one root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open the store at `root`, a local path or a URL such as `gs://bucket/folder`; this creates nothing.

        Raises:
          ValueError: A URL scheme that fsspec does not know, or whose package is not installed.
        """
        self._fs, self._base, self.root = open_root(root, "score store")

    def location(self, recipe: ScoreRecipe) -> str:
        """Path or URL of the finished table of that recipe."""
        return f"{self.root}/{recipe.name}.zarr"

    def has(self, recipe: ScoreRecipe) -> bool:
        """Whether the table of that recipe is finished."""
        self._fs.invalidate_cache()
        return self._fs.exists(f"{self._base}/{recipe.name}.zarr/{_ROOT}")

    def read(self, recipe: ScoreRecipe) -> xr.Dataset:
        """The finished table of that recipe.

        Raises:
          ValueError: It is not in the store, or it is damaged.
        """
        path = self.location(recipe)
        if not self.has(recipe):
            raise ValueError(f"No finished scores at {path}: run `python -m launch.score` with this config.")
        try:
            with xr.open_zarr(path, chunks=None) as group:
                result = group.load()
            result = result.assign_coords(_layer_names(result))
        except Exception as error:  # a broken file makes the readers raise many types of errors
            raise ValueError(f"{path} is damaged ({error}): delete that folder and score again.") from error
        # A missing chunk is read as NaN, zero or "", which can be valid values too.
        if result.attrs.pop("content", None) != _content(result):
            raise ValueError(f"{path} is damaged (values are missing): delete that folder and score again.")
        return result

    def blocks(self, recipe: ScoreRecipe) -> set[tuple[int, int]]:
        """The blocks of layers of x that an unfinished table has: (start, stop)."""
        self._fs.invalidate_cache()
        names = [Path(str(path)).name for path in self._fs.find(self._partial(recipe))]
        parts = [name.removesuffix(".npz").split("-")[1:] for name in names if name.startswith("block-")]
        return {(int(start), int(stop)) for start, stop in parts}

    def write_block(self, recipe: ScoreRecipe, block: tuple[int, int], measured: xr.Dataset) -> None:
        """Store the measurements of a block of layers.

        Raises:
          ValueError: The file cannot be written.
        """
        arrays = {f"{name}:{','.join(map(str, array.dims))}": array.values for name, array in measured.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._put(recipe, f"{self._partial(recipe)}/block-{block[0]}-{block[1]}.npz", buffer.getvalue())

    def read_block(self, recipe: ScoreRecipe, block: tuple[int, int]) -> xr.Dataset:
        """The measurements stored by `write_block`.

        Raises:
          ValueError: The file is damaged.
        """
        path = f"{self._partial(recipe)}/block-{block[0]}-{block[1]}.npz"
        try:
            with np.load(io.BytesIO(self._fs.cat_file(path))) as arrays:
                named = [(key.split(":"), arrays[key]) for key in arrays.files]
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}): delete that file and score again.") from error
        return xr.Dataset({name: (dims.split(","), values) for (name, dims), values in named})

    def write(self, recipe: ScoreRecipe, result: xr.Dataset) -> None:
        """Store a finished table, then remove its blocks.

        Raises:
          ValueError: A file cannot be written.
        """
        files: dict[str, Buffer] = {}
        # As objects, names are stored as strings of any length.
        names = {axis: result[axis].astype(object) for axis in _LAYERS}
        table = result.assign_coords(names).assign_attrs(content=_content(result))
        table.to_zarr(MemoryStore(files), zarr_format=2, consolidated=True)
        for key in sorted(files, key=lambda key: (key == _ROOT, key)):
            self._put(recipe, f"{self._base}/{recipe.name}.zarr/{key}", files[key].to_bytes())
        self.remove_blocks(recipe)

    def remove_blocks(self, recipe: ScoreRecipe) -> None:
        """Remove the blocks of an unfinished table."""
        self._fs.invalidate_cache()
        if self._fs.exists(self._partial(recipe)):
            # Another process may be removing the same folder.
            with contextlib.suppress(OSError):
                self._fs.rm(self._partial(recipe), recursive=True)

    def _partial(self, recipe: ScoreRecipe) -> str:
        return f"{self._base}/{recipe.name}.partial"

    def _put(self, recipe: ScoreRecipe, path: str, data: bytes) -> None:
        """Write a file atomically."""
        try:
            put_file(self._fs, path, data, f"{self._base}/{recipe.name}")
        except OSError as error:
            raise ValueError(
                f"Scores cannot be written to {path}: {error}. Make room, permit writing, or remove what is in the "
                "way, then run again: finished blocks are kept."
            ) from error


def _layer_names(result: xr.Dataset) -> dict[str, list[str]]:
    return {axis: list(map(str, result[axis].values.tolist())) for axis in _LAYERS}


def _content(result: xr.Dataset) -> str:
    """SHA-256 of the layer names and of all values, independent of the order of variables."""
    digest = hashlib.sha256(canonical_hash(_layer_names(result)).encode())
    for name in sorted(map(str, result.data_vars)):
        digest.update(name.encode() + np.ascontiguousarray(result[name].values).tobytes())
    return digest.hexdigest()
