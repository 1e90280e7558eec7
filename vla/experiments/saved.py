"""Models known by activations that other software has saved: one file per view."""

import functools
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vla.activations.labels import as_activations
from vla.checks import listed
from vla.experiments.experiment import Layers
from vla.experiments.names import name_and_source, penultimate
from vla.files import file_hash
from vla.records import Modality, View, canonical_hash

ENDINGS = (".npy", ".npz", ".zarr")


def is_saved(model: str) -> bool:
    """Whether a model of a study is a file of activations."""
    return model.endswith(ENDINGS)


class SavedModel:
    """A model known by its activations alone.

    The source is a file, or a pattern such as "mine/{view}.npz", in which `{view}` is replaced by the name of the view:
    "original", "grayscale", "rotation-15", "caption_1" for the second caption, "caption_0-nouns". A file without
    `{view}` has the original view only.

    `.npz`: `activations` [layer, item, unit] or [item, unit], `items` (the ids) and optionally `layers` (names).
    `.npy`: the array; the ids are in a text file beside it, `name.ids.txt`, one per line.
    `.zarr`: as the activation store writes them.
    """

    def __init__(self, model: str, modality: Modality) -> None:
        """Nothing is read yet."""
        name, self.source = name_and_source(model)
        path = Path(self.source)
        default = path.parent.name if "{view}" in path.name else path.name.rsplit(".", 1)[0]
        self.name = name if self.source != model else default
        self.modality: Modality = modality
        # Cached for one study: the file can change before the next one.
        self._hash = functools.cache(_hash)
        self._shape = functools.cache(_shape)

    def key(self, view: View) -> str:
        """Hash of the file and of the items of the view."""
        return canonical_hash(["saved", self._hash(self._path(view)), list(view.ids)])

    def group(self, view: View, layers: Layers) -> str:
        """The file of the view."""
        return str(self._path(view))

    def has(self, view: View, layers: Layers) -> bool:
        """Whether the file of the view exists."""
        try:
            return self._path(view).exists()
        except ValueError:
            return False

    def read(self, view: View, layers: Layers) -> xr.DataArray:
        """The activations of the items of the view, in its order.

        Raises:
          ValueError: A missing or unreadable file, or missing items.
        """
        path = self._path(view)
        array = as_activations(_read(path), str(path))
        if "item" not in array.coords:
            raise ValueError(
                f"{path} does not name its items: add their ids, as `items` of an .npz file or, for an .npy file, one "
                f"per line in {path.stem}.ids.txt beside it"
            )
        names = list(map(str, array["item"].values.tolist()))
        rows = {name: row for row, name in enumerate(names)}
        lacking = [id for id in view.ids if id not in rows]
        if lacking:
            raise ValueError(
                f"{path} lacks {len(lacking)} of the {len(view.ids)} items of {view.name}: {listed(lacking)}. Save "
                "them too, or remove them from the dataset"
            )
        array = array.isel(item=[rows[id] for id in view.ids]).assign_coords(item=list(view.ids))
        return array.sel(layer=list(_selected(array["layer"].values.tolist(), layers))).rename(self.name)

    def layers(self, view: View, layers: Layers) -> tuple[str, ...]:
        """Names of these layers, in the order of the file."""
        return _selected(self._shape(self._path(view))[0], layers)

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
                    f"{self.source} has the original view only, not {view.name}: name the files by view, as in "
                    f"mine/{{view}}{Path(self.source).suffix}"
                )
            return Path(self.source).expanduser()
        return Path(self.source.replace("{view}", "original" if plain else name)).expanduser()


def _selected(saved: Sequence[str], layers: Layers) -> tuple[str, ...]:
    """The requested layers of those in a file.

    Raises:
      ValueError: A layer that the file does not have.
    """
    known = tuple(map(str, saved))
    if layers == "all":
        return known
    names = (layers,) if isinstance(layers, str) else layers
    wanted = {penultimate(known) if name == "penultimate" else name for name in names}
    if unknown := sorted(wanted - set(known)):
        raise ValueError(f"no layer {', '.join(unknown)} is saved; the file has {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _shape(path: Path) -> tuple[tuple[str, ...], int]:
    """Names of the layers in a file, and number of units of a layer."""
    array = as_activations(_read(path), str(path))
    return tuple(map(str, array["layer"].values.tolist())), array.sizes["unit"]


def _hash(path: Path) -> str:
    if path.is_dir():
        return canonical_hash({str(p.relative_to(path)): file_hash(p) for p in sorted(path.rglob("*")) if p.is_file()})
    ids = _ids_file(path)
    # With other ids the rows are activations of other items.
    return canonical_hash([file_hash(path), file_hash(ids)]) if ids.exists() else file_hash(path)


def _ids_file(path: Path) -> Path:
    """The text file that names the rows of an .npy file."""
    return path.with_name(f"{path.stem}.ids.txt")


def _read(path: Path) -> xr.DataArray:
    try:
        if path.suffix == ".zarr":
            with xr.open_zarr(path, chunks=None) as group:
                return group["activations"].load()
        if path.suffix == ".npy":
            ids = _ids_file(path)
            items = ids.read_text(encoding="utf-8").splitlines() if ids.exists() else None
            return _labelled(np.load(path), items, None)
        with np.load(path, allow_pickle=False) as file:
            return _labelled(file["activations"], file.get("items"), file.get("layers"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as activations: {error}. Expected an array [layer, item, unit] or [item, unit], in "
            "an .npz file as `activations` beside `items`"
        ) from error


def _labelled(values: np.ndarray, items: Iterable[str | bytes] | None, layers: Iterable[str] | None) -> xr.DataArray:
    array = values if values.ndim == 3 else values[None]
    coords: dict[str, list[str]] = {}
    if items is not None:
        coords["item"] = [item.decode() if isinstance(item, bytes) else str(item) for item in items]
    if layers is not None:
        coords["layer"] = [str(layer) for layer in layers]
    return xr.DataArray(array, dims=("layer", "item", "unit"), coords=coords)
