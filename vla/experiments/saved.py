"""Activations that other software saved, as a model: one file for each view."""

import functools
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vla.activations.labels import as_activations
from vla.checks import listed
from vla.experiments.experiment import Layers
from vla.experiments.naming import named
from vla.experiments.penultimate import penultimate
from vla.files import file_hash
from vla.records import Modality, View, canonical_hash

ENDINGS = (".npy", ".npz", ".zarr")


def is_saved(given: str) -> bool:
    """Whether a source is a file of activations."""
    return given.endswith(ENDINGS)


class SavedModel:
    """A model known by its activations alone.

    The source is a file, or a pattern with `{view}`, such as "mine/{view}.npz", for which the name of the view is put:
    "original", "grayscale", "rotation-15", "caption_1" for the second caption, "caption_0-nouns". A file
    without `{view}` shows the original view alone.

    `.npz`: `activations` [layer, item, unit] or [item, unit], `items` (the ids) and, if wanted, `layers` (names).
    `.npy`: the array; the ids one a line in a text file beside it, `name.ids.txt`.
    `.zarr`: as the activation store writes them.
    """

    def __init__(self, given: str, modality: Modality) -> None:
        """Nothing is read yet."""
        name, self.source = named(given)
        stem = Path(self.source)
        own = stem.parent.name if "{view}" in stem.name else stem.name.rsplit(".", 1)[0]
        self.name = name if self.source != given else own
        self.modality: Modality = modality
        # Looked at once for every study: a file may be another by the next one.
        self._hash = functools.cache(_hash)
        self._shape = functools.cache(_shape)

    def key(self, view: View) -> str:
        """Hash of the file and of the view's items."""
        return canonical_hash(["saved", self._hash(self._path(view)), list(view.ids)])

    def group(self, view: View, layers: Layers) -> str:
        """Where the activations are."""
        return str(self._path(view))

    def has(self, view: View, layers: Layers) -> bool:
        """Whether there is a file for the view."""
        try:
            return self._path(view).exists()
        except ValueError:
            return False

    def read(self, view: View, layers: Layers) -> xr.DataArray:
        """The view's items, in its order.

        Raises:
          ValueError: No file, a file that is not understood, or items that it lacks.
        """
        path = self._path(view)
        array = as_activations(_read(path), str(path))
        if "item" not in array.coords:
            raise ValueError(
                f"{path} does not say which row is which item: give their ids, as `items` of an .npz file or, beside "
                f"an .npy file, one a line in {path.stem}.ids.txt"
            )
        names = list(map(str, array["item"].values.tolist()))
        rows = {name: row for row, name in enumerate(names)}
        lacking = [id for id in view.ids if id not in rows]
        if lacking:
            raise ValueError(
                f"{path} lacks {len(lacking)} of the {len(view.ids)} items of {view.name}: {listed(lacking)}. Save "
                "them as well, or leave them out of the dataset"
            )
        array = array.isel(item=[rows[id] for id in view.ids]).assign_coords(item=list(view.ids))
        return array.sel(layer=list(_chosen(array["layer"].values.tolist(), layers))).rename(self.name)

    def layers(self, view: View, layers: Layers) -> tuple[str, ...]:
        """Names of these layers, in the order of the file."""
        return _chosen(self._shape(self._path(view))[0], layers)

    def width(self, view: View) -> int:
        """Units of a layer."""
        return self._shape(self._path(view))[1]

    def facts(self) -> dict[str, Any]:
        """Name, modality and source."""
        return {
            "name": self.name,
            "modality": self.modality,
            "source": self.source,
            "fingerprint": "",
            "layers": [],
            "width": None,
            "pool": "as saved",
        }

    def _path(self, view: View) -> Path:
        name = view.name.split("/", 1)[-1].replace("/", "-")
        plain = name in ("original", "caption_0")
        if "{view}" not in self.source:
            if not plain:
                raise ValueError(
                    f"{self.source} shows one view alone, not {view.name}: name its files by view, as in "
                    f"mine/{{view}}{Path(self.source).suffix}"
                )
            return Path(self.source).expanduser()
        return Path(self.source.replace("{view}", "original" if plain else name)).expanduser()


def _chosen(names: Sequence[Any], layers: Layers) -> tuple[str, ...]:
    """The layers asked for, of those in a file.

    Raises:
      ValueError: The file does not have one of them.
    """
    known = tuple(map(str, names))
    if layers == "all":
        return known
    wanted = {penultimate(known) if name == "penultimate" else name for name in _listed(layers)}
    if unknown := sorted(wanted - set(known)):
        raise ValueError(f"no layer {', '.join(unknown)} is saved; there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _listed(layers: Layers) -> tuple[str, ...]:
    return (layers,) if isinstance(layers, str) else layers


def _shape(path: Path) -> tuple[tuple[str, ...], int]:
    """Names of the layers in a file, and units of a layer; its activations are read once."""
    array = as_activations(_read(path), str(path))
    return tuple(map(str, array["layer"].values.tolist())), array.sizes["unit"]


def _hash(path: Path) -> str:
    if path.is_dir():
        return canonical_hash({str(p.relative_to(path)): file_hash(p) for p in sorted(path.rglob("*")) if p.is_file()})
    beside = _ids_of(path)
    # Other names of its rows are other activations of the items.
    return canonical_hash([file_hash(path), file_hash(beside)]) if beside.exists() else file_hash(path)


def _ids_of(path: Path) -> Path:
    """The text file that names the rows of an .npy file."""
    return path.with_name(f"{path.stem}.ids.txt")


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".zarr":
            with xr.open_zarr(path, chunks=None) as group:
                return group["activations"].load()
        if path.suffix == ".npy":
            beside = _ids_of(path)
            ids = beside.read_text(encoding="utf-8").splitlines() if beside.exists() else None
            return _labelled(np.load(path), ids, None)
        with np.load(path, allow_pickle=False) as file:
            return _labelled(file["activations"], file.get("items"), file.get("layers"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as activations: {error}. Expected an array [layer, item, unit] or [item, unit], in "
            "an .npz file as `activations` beside `items`"
        ) from error


def _labelled(values: np.ndarray, items: Any, layers: Any) -> xr.DataArray:
    array = values if values.ndim == 3 else values[None]
    coords: dict[str, list[str]] = {}
    if items is not None:
        coords["item"] = [item.decode() if isinstance(item, bytes) else str(item) for item in items]
    if layers is not None:
        coords["layer"] = [str(layer) for layer in layers]
    return xr.DataArray(array, dims=("layer", "item", "unit"), coords=coords)
