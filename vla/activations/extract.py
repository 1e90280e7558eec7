"""Stimuli through a model to labelled activations, in memory or in the store."""

import os
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import xarray as xr

from vla import progress
from vla.activations.batches import read_out
from vla.activations.labels import check_items, label
from vla.activations.recipe import Recipe
from vla.activations.store import Store
from vla.models import Model
from vla.records import View

# Raised whenever the numbers that a model gives change, so that stored activations of older code are not reused.
NUMERICS_VERSION = 1


def extract(
    model: Model,
    stimuli: Any,
    pool: str | None = None,
    layers: Any = "all",
    batch_size: Any = None,
    items: Any = None,
    show_progress: bool = False,
) -> xr.DataArray:
    """Pooled activations of every stimulus at every wanted layer.

    Args:
      model: From `vla.load_model`.
      stimuli: A list. Captions (str) for a language model; images for a vision model: paths, PIL images or uint8
        arrays [H, W, 3].
      pool: Vision "cls" (default) or "mean" over patches; language "mean" (default) over all tokens,
        "mean_no_bos" or "last".
      layers: "all", "penultimate" (the last block but one), a layer name or several.
      batch_size: Stimuli per forward pass; results do not depend on it beyond float32 rounding.
      items: Names of the rows, each a string or a number; default 0..N-1.
      show_progress: Show a bar with rate and time left.

    Returns:
      float32 DataArray with dims (layer, item, unit).

    Raises:
      ValueError: An unknown pool or layer, no stimuli, stimuli for the other modality, an empty caption, an
        unreadable image, activations that are not finite, or item names that do not fit; the message names the
        item.
    """
    stimuli = _listed(stimuli)
    names = list(range(len(stimuli))) if items is None else check_items(items, len(stimuli))
    wanted, pool = resolve_layers(model, layers), resolve_pool(model, pool)
    with progress.bar(f"extracting {model.name}", len(stimuli), show_progress) as advance:
        values = read_out(model, stimuli, [str(name) for name in names], pool, wanted, batch_size, advance)
    return label(values, wanted, names, name=model.name)


def recipe(model: Model, view: View, pool: str | None = None, layers: Any = "all") -> Recipe:
    """What determines the activations of a model on a view.

    Raises:
      ValueError: The view is for the other modality, is empty, or its ids are not unique or not one per stimulus; an
        unknown pool or layer.
    """
    if view.modality != model.modality:
        raise ValueError(f"{view.name} is a view for {view.modality}, but {model.name} is a {model.modality} model.")
    check_items(view.ids, len(view.stimuli))
    if not view.ids:
        raise ValueError(f"{view.name} has no items: give at least one.")
    return Recipe(
        determines={
            "model_fingerprint": model.fingerprint,
            "view_content": view.content,
            "pool": resolve_pool(model, pool),
            "dtype": model.dtype,
            "numerics_version": NUMERICS_VERSION,
        },
        words={"model": model.name, "source": model.source, "modality": model.modality, "view": view.name},
        layers=resolve_layers(model, layers),
        items=view.ids,
        width=model.width,
    )


def extract_to_store(
    model: Model,
    view: View,
    store: Store,
    pool: str | None = None,
    layers: Any = "all",
    batch_size: Any = None,
    show_progress: bool = False,
) -> Recipe:
    """Extract a view into the store unless it is there; a killed run continues at the chunk it had reached.

    Returns:
      The recipe, with which `store.read` finds the activations.

    Raises:
      ValueError: As `extract`; what was finished before the error is kept, and nothing looks finished.
    """
    wanted = recipe(model, view, pool, layers)
    writer = store.writer(wanted)
    pending = [] if writer.finished else writer.pending
    with progress.bar(f"extracting {model.name} on {view.name}", len(view.ids), show_progress) as advance:
        advance(len(view.ids) - sum(stop - start for start, stop in pending))
        for start, stop in pending:
            if writer.finished:
                break  # another process was faster
            values = read_out(
                model,
                view.stimuli[start:stop],
                view.ids[start:stop],
                wanted.determines["pool"],
                wanted.layers,
                batch_size,
                advance,
            )
            writer.write((start, stop), values)
    writer.publish()
    return wanted


def resolve_layers(model: Model, layers: Any) -> tuple[str, ...]:
    """Layer names in canonical order.

    Raises:
      ValueError: An unknown name; the message lists the known ones.
    """
    if isinstance(layers, str) and layers == "all":
        return model.layer_names
    depth = len(model.layer_names) - 2
    spoken = {"penultimate": f"block_{depth - 1}"} if depth > 1 else {}
    asked = [layers] if isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    names = {spoken.get(str(name), str(name)) for name in asked}
    unknown = sorted(names - set(model.layer_names))
    if unknown or not names:
        raise ValueError(
            f"{model.name} has no layer {', '.join(map(repr, unknown)) or 'in an empty list'}; expected "
            f"{', '.join(map(repr, ['all', *spoken]))} or some of {', '.join(model.layer_names)}."
        )
    return tuple(name for name in model.layer_names if name in names)


def resolve_pool(model: Model, pool: str | None) -> str:
    """The pool, by default the model's first.

    Raises:
      ValueError: The model's modality does not know it.
    """
    if pool is None:
        return model.pools[0]
    if pool not in model.pools:
        raise ValueError(
            f"pool={pool!r} is not known to {model.modality} models; expected one of {sorted(model.pools)}."
        )
    return pool


def _listed(stimuli: Any) -> list[Any]:
    """The stimuli as a list; refuse what Python would take apart or reorder without a word."""
    # An array of one picture would pass as a list of its rows.
    picture = isinstance(stimuli, np.ndarray) and stimuli.dtype.kind not in "OU" and stimuli.ndim != 4
    if picture or isinstance(stimuli, str | bytes | os.PathLike) or not isinstance(stimuli, Iterable):
        raise ValueError(
            f"stimuli is one {type(stimuli).__name__}; expected a list of captions or of images, such as [stimulus]."
        )
    if isinstance(stimuli, Mapping | Set):
        raise ValueError(
            f"stimuli is a {type(stimuli).__name__}; expected a list, whose order is that of the rows. Names of the "
            "rows are given as items=."
        )
    stimuli = list(stimuli)
    if not stimuli:
        raise ValueError("There are no stimuli: give at least one.")
    return stimuli
