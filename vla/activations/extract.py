"""Stimuli through a model to labelled activations in memory."""

import os
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import xarray as xr

from vla import progress
from vla.activations.batches import read_out
from vla.activations.labels import check_items, label
from vla.activations.store import Recipe
from vla.models import Model
from vla.records import View

# Raised whenever the numbers that a model gives change, so that stored activations of older code are not reused.
NUMERICS_VERSION = 6


def extract(
    model: Model,
    stimuli: Any,
    pool: Any = None,
    layers: Any = "all",
    batch_size: Any = None,
    items: Any = None,
    show_progress: bool = False,
    workers: Any = 0,
) -> xr.DataArray:
    """Pooled activations of every stimulus at every wanted layer.

    Args:
      model: From `vla.load_model`.
      stimuli: A list. Captions (str) for a language model; images for a vision model: paths, PIL images or uint8
        arrays [H, W, 3].
      pool: Vision "cls" (default) or "mean" over patches; language "mean" (default) over all tokens,
        "mean_no_bos" or "last"; or several of them, all taken from one pass.
      layers: "all", "penultimate" (the last block but one), a layer name or several.
      batch_size: Images per forward pass, or rows of 128 tokens into which captions are packed; by default what
        suits the device. Results do not depend on it beyond float32 rounding.
      items: Names of the rows, each a string or a number; default 0..N-1.
      show_progress: Show a bar with rate and time left.
      workers: Processes that decode and preprocess images; 0 does it in threads, which is enough unless the device
        waits for images.

    Returns:
      float32 DataArray with dims (layer, item, unit), or (pool, layer, item, unit) for several pools.

    Raises:
      ValueError: A model without weights, an unknown pool or layer, no stimuli, stimuli for the other modality, an
        empty caption, an unreadable image, activations that are not finite, or item names that do not fit; the
        message names the item.
    """
    stimuli = _listed(stimuli)
    names = list(range(len(stimuli))) if items is None else check_items(items, len(stimuli))
    several = not (pool is None or isinstance(pool, str))
    wanted, pools = resolve_layers(model, layers), resolve_pools(model, pool)
    values = np.empty((len(pools), len(wanted), len(stimuli), model.width), np.float32)
    with progress.bar(f"extracting {model.name}", len(stimuli), show_progress) as advance:
        said = [str(name) for name in names]
        for where, rows, read in read_out(model, stimuli, said, pools, wanted, batch_size, workers, advance):
            values[:, where, rows] = read
    labelled = [label(each, wanted, names, name=model.name) for each in values]
    return xr.concat(labelled, xr.Variable("pool", list(pools))) if several else labelled[0]


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
        words={
            "model": model.name,
            "source": model.source,
            # A branch is another commit tomorrow.
            **({"commit": model.commit} if model.commit else {}),
            "modality": model.modality,
            "view": view.name,
        },
        layers=resolve_layers(model, layers),
        items=view.ids,
        width=model.width,
        model_layers=model.layer_names,
    )


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


def resolve_pool(model: Model, pool: Any) -> str:
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


def resolve_pools(model: Model, pools: Any) -> tuple[str, ...]:
    """One pool or several, as a tuple without repetition.

    Raises:
      ValueError: As `resolve_pool`; none at all.
    """
    asked = [pools] if pools is None or isinstance(pools, str) else list(pools)
    if not asked:
        raise ValueError(f"pool is an empty list; expected some of {sorted(model.pools)}.")
    return tuple(dict.fromkeys(resolve_pool(model, pool) for pool in asked))


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
