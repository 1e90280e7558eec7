"""The score store: one zarr group per table of scores, keyed by what determines it.

Layout under the root, a local directory or any URL that fsspec knows:

    <name>--<key>.zarr                       a finished table; `xarray.open_zarr` reads it without vla
    <name>--<key>.partial/block-0-8.npz      layers 0 to 7 of x with all layers of y
    <name>--<key>.<random>.tmp               a file on its way into a local folder

Every file is put in place whole, the root of a group last: what is there is finished. Two processes at the same table
do the same without harm.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping
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
NUMERICS_VERSION = 7

# File systems take names of 255 bytes; the key and the endings need some of them.
_LONGEST_WORDS = 160


@dataclasses.dataclass(frozen=True)
class ScoreRecipe:
    """Everything that determines a table of scores, and what it is called.

    Attributes:
      keys: Of the predictor's activations and of the target's: whatever determines the arrays.
      task: What is asked.
      words: For readers; they do not enter the key.
    """

    keys: tuple[str, str]
    task: Task
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """Content key: SHA-256 of the two sets of activations, what is asked, and the version of the numerics."""
        return canonical_hash({"keys": list(self.keys), "numerics_version": NUMERICS_VERSION, **self.task.determines()})

    @functools.cached_property
    def name(self) -> str:
        """Folder name: words for people, the first 16 digits of the key for uniqueness."""
        spoken = "--".join([*self.words.values(), self.task.metric.name])
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', spoken)[:_LONGEST_WORDS]}--{self.key[:16]}"


def score_recipe(
    keys: Any,
    metric: str = "linear_predictivity",
    protocol: str = "paper",
    seed: int = 42,
    null: int = 0,
    bootstrap: int = 0,
    halves: int = 0,
    confidence: float = 0.95,
    words: Mapping[str, str] | None = None,
    **overrides: Any,
) -> ScoreRecipe:
    """The recipe of `vla.score` with the same arguments on stored activations.

    Args:
      keys: Of x and of y, such as `vla.activations.store.Recipe.key`; where items were chosen, reordered or averaged
        since, a hash that says so.
      metric: As `vla.score`.
      protocol: As `vla.score`.
      seed: As `vla.score`.
      null: As `vla.score`.
      bootstrap: As `vla.score`.
      halves: As `vla.score`.
      confidence: As `vla.score`.
      words: What the two sides are called, for names and attributes.
      **overrides: As `vla.score`; groups as a list in the order of the items of x, or "duplicates".

    Raises:
      ValueError: As `vla.score`; keys that are no texts.
    """
    keys = keys if isinstance(keys, str) else tuple(keys)
    if isinstance(keys, str) or len(keys) != 2 or not all(isinstance(key, str) and key for key in keys):
        raise ValueError(f"keys={keys!r}: expected two texts, the key of x and the key of y.")
    (task,) = make_tasks([metric], protocol, seed, null, overrides, bootstrap, halves, confidence)
    return ScoreRecipe((keys[0], keys[1]), task, dict(words or {}))


# Format 2 because its consolidated metadata are part of the format, so that readers take them without a warning.
_ROOT = ".zmetadata"

_LAYERS = ("x_layer", "y_layer")


class ScoreStore:
    """Finished and unfinished tables of scores under one root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open the store at `root`, a local path or a URL such as `gs://bucket/folder`; nothing is created yet.

        Raises:
          ValueError: A kind of URL that fsspec does not know, or whose package is not installed.
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
        where = self.location(recipe)
        if not self.has(recipe):
            raise ValueError(f"No finished scores at {where}: run `python -m launch.score` with this config.")
        try:
            with xr.open_zarr(where, chunks=None) as group:
                result = group.load()
            result = result.assign_coords({axis: list(map(str, result[axis].values.tolist())) for axis in _LAYERS})
        except Exception as error:  # a broken file drives the readers into errors of every kind
            raise ValueError(f"{where} is damaged ({error}): delete that folder and score again.") from error
        # A chunk whose file is gone reads as NaN, zero or "", which may be true as well.
        if result.attrs.pop("content", None) != _content(result):
            raise ValueError(f"{where} is damaged (values are missing): delete that folder and score again.")
        return result

    def blocks(self, recipe: ScoreRecipe) -> set[tuple[int, int]]:
        """Which blocks of layers of x are there of an unfinished table: (start, stop)."""
        self._fs.invalidate_cache()
        names = [Path(str(path)).name for path in self._fs.find(self._partial(recipe))]
        parts = [name.removesuffix(".npz").split("-")[1:] for name in names if name.startswith("block-")]
        return {(int(start), int(stop)) for start, stop in parts}

    def write_block(self, recipe: ScoreRecipe, block: tuple[int, int], measured: xr.Dataset) -> None:
        """Keep what was measured of some layers.

        Raises:
          ValueError: The file system does not take it.
        """
        arrays = {f"{name}:{','.join(map(str, array.dims))}": array.values for name, array in measured.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._put(recipe, f"{self._partial(recipe)}/block-{block[0]}-{block[1]}.npz", buffer.getvalue())

    def read_block(self, recipe: ScoreRecipe, block: tuple[int, int]) -> xr.Dataset:
        """What `write_block` kept.

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
        """Make a table visible as finished, then remove its blocks.

        Raises:
          ValueError: The file system does not take it.
        """
        files: dict[str, Buffer] = {}
        # As objects, names are stored as strings of any length.
        names = {axis: result[axis].astype(object) for axis in _LAYERS}
        whole = result.assign_coords(names).assign_attrs(content=_content(result))
        whole.to_zarr(MemoryStore(files), zarr_format=2, consolidated=True)
        for key in sorted(files, key=lambda key: (key == _ROOT, key)):
            self._put(recipe, f"{self._base}/{recipe.name}.zarr/{key}", files[key].to_bytes())
        self.remove_blocks(recipe)

    def remove_blocks(self, recipe: ScoreRecipe) -> None:
        """Remove what there is of an unfinished table."""
        self._fs.invalidate_cache()
        if self._fs.exists(self._partial(recipe)):
            # Another process may be removing the same.
            with contextlib.suppress(OSError):
                self._fs.rm(self._partial(recipe), recursive=True)

    def _partial(self, recipe: ScoreRecipe) -> str:
        return f"{self._base}/{recipe.name}.partial"

    def _put(self, recipe: ScoreRecipe, path: str, data: bytes) -> None:
        """Put a file in place whole or not at all."""
        try:
            put_file(self._fs, path, data, f"{self._base}/{recipe.name}")
        except OSError as error:
            raise ValueError(
                f"Scores cannot be written to {path}: {error}. Make room, permit writing, or remove what is in the "
                "way, then run again: the blocks that are finished are kept."
            ) from error


def _content(result: xr.Dataset) -> str:
    """SHA-256 of the names of layers and of all values, whatever their order in the group."""
    names = {axis: list(map(str, result[axis].values.tolist())) for axis in _LAYERS}
    digest = hashlib.sha256(canonical_hash(names).encode())
    for name in sorted(map(str, result.data_vars)):
        digest.update(name.encode() + np.ascontiguousarray(result[name].values).tobytes())
    return digest.hexdigest()
