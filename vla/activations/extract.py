"""Stimuli through a model to labelled activations, in memory or into the store.

Axes: N items, R layers read, P pools, D units.
"""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from vla import devices, progress
from vla.activations.batches import BatchItems
from vla.activations.captions import caption_batches
from vla.activations.images import image_batches
from vla.activations.labels import check_items, label
from vla.activations.store import Recipe, Store, Writer
from vla.checks import WholeNumber, check_whole_number, listed
from vla.models.batch import Batch
from vla.models.model import Model
from vla.records import View

# Increased whenever the numbers of a model change, so that stored activations of older code are not reused.
NUMERICS_VERSION = 6

# Items that go through a model together, which an interrupted run may lose. Captions are packed within a group; a
# streamed model reads all its weights for every group.
_GROUP_ITEMS = {
    ("language", "in memory"): 1024,
    ("language", "streamed"): 8192,
    ("vision", "in memory"): 512,
    ("vision", "streamed"): 1024,
}

# A name or several for static checkers. At run time anything: `resolve_layers` and `resolve_pools` refuse it by name.
if TYPE_CHECKING:
    Names = str | Iterable[str]
else:
    Names = object

# Which layers, which items, and their activations.
Readout = tuple[slice, Int[np.ndarray, "N"], Float[np.ndarray, "P R N D"]]


def extract(
    model: Model,
    stimuli: object,
    pool: Names | None = None,
    layers: Names = "all",
    batch_size: WholeNumber | None = None,
    items: Iterable[Hashable] | None = None,
    show_progress: bool = False,
    workers: WholeNumber = 0,
) -> xr.DataArray:
    """Pooled activations of every stimulus at every requested layer.

    Args:
      model: From `vla.load_model`.
      stimuli: A list. Captions (str) for a language model; images for a vision model: paths, PIL images or uint8
        arrays [H, W, 3].
      pool: Vision "cls" (default) or "mean" over patches; language "mean" (default) over all tokens, "mean_no_bos" or
        "last"; or several of them, computed in one pass.
      layers: "all", "penultimate" (the block before the last), a layer name or several.
      batch_size: Images per forward pass, or rows of 128 tokens into which captions are packed; by default what suits
        the device. Results do not depend on it beyond float32 rounding.
      items: Names of the rows, each a string or a number; default 0..N-1.
      show_progress: Show a bar with rate and time left.
      workers: Processes that decode and preprocess images; 0 uses threads, which is enough unless the device waits for
        images.

    Returns:
      float32 DataArray with dims (layer, item, unit), or (pool, layer, item, unit) for several pools.

    Raises:
      ValueError: A model without weights, an unknown pool or layer, no stimuli, stimuli of the other modality, an
        empty caption, an unreadable image, activations that are not finite, or item names that do not fit; the message
        names the item.
    """
    inputs = _as_list(stimuli)
    names = list(range(len(inputs))) if items is None else check_items(items, len(inputs))
    layer_names, pools = resolve_layers(model, layers), resolve_pools(model, pool)
    values = np.empty((len(pools), len(layer_names), len(inputs), model.width), np.float32)
    with progress.bar(f"extracting {model.name}", len(inputs), show_progress) as advance:
        texts = [str(name) for name in names]
        for index, rows, readouts in read_out(model, inputs, texts, pools, layer_names, batch_size, workers, advance):
            values[:, index, rows] = readouts
    arrays = [label(array, layer_names, names, name=model.name) for array in values]
    several = not (pool is None or isinstance(pool, str))
    return xr.concat(arrays, xr.Variable("pool", list(pools))) if several else arrays[0]


def read_out(
    model: Model,
    stimuli: Sequence[object],
    names: Sequence[str],
    pools: tuple[str, ...],
    layers: tuple[str, ...],
    batch_size: WholeNumber | None = None,
    workers: WholeNumber = 0,
    advance: Callable[[float], None] = lambda items: None,
) -> Iterator[Readout]:
    """Pooled activations of all stimuli, in the order in which they are computed.

    Every layer of every item comes once: all layers of some items from a model in memory, one layer of some items from
    a streamed one, layer after layer.

    Args:
      model: The model.
      stimuli: Captions, or what `vla.stimuli.decode_image` takes.
      names: Name of each stimulus, for messages.
      pools: Any of the model's pools.
      layers: Layer names in canonical order.
      batch_size: Images per forward pass, or rows of 128 tokens, over all devices; rounded up to a multiple of the
        parts that a batch is split into.
      workers: Processes that decode images; 0 for threads of this process.
      advance: Called with the number of items just finished, or a fraction of it.

    Raises:
      ValueError: A model without weights; a stimulus that the model cannot take, or activations that are not finite,
        by name of the item.
    """
    model.check_weights()
    check_whole_number("batch_size", batch_size, other=[None])
    check_whole_number("workers", workers, 0, other=[None])
    size = None if batch_size is None else int(batch_size)
    batches: Iterable[tuple[Batch, BatchItems]]
    if model.modality == "language":
        batches = caption_batches(model, stimuli, names, pools, size)
    else:
        batches = image_batches(model, stimuli, names, size, int(workers))
    contents: list[BatchItems] = []

    def inputs() -> Iterator[Batch]:
        for batch, content in batches:
            contents.append(content)
            yield batch

    fraction = 1 / model.passes(layers)
    for index, number, readouts in model.read(inputs(), pools=pools, layers=layers):
        items = contents[number].items
        values = contents[number].vectors(readouts, len(pools))
        _check_finite(values, model, layers[index], [str(names[item]) for item in items])
        yield index, items, values
        advance(len(items) * fraction)


def _check_finite(
    values: Float[np.ndarray, "P R N D"], model: Model, layers: tuple[str, ...], names: list[str]
) -> None:
    """Refuse values that are not finite."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    layer = int(np.flatnonzero(bad.any(axis=(0, 2, 3)))[0])
    items = [names[item] for item in np.flatnonzero(bad[:, layer].any(axis=(0, 2)))]
    remedy = (
        "Load the model with dtype='float32'"
        if model.dtype != "float32"
        else "The weights are broken: download the checkpoint again"
    )
    raise ValueError(
        f"{model.name} gives {values[bad][0]} at layer {layers[layer]} for {len(items)} of the {len(names)} items of "
        f"a batch: {listed(items)}. {remedy}, or leave these items out."
    )


def recipe(model: Model, view: View, pool: str | None = None, layers: Names = "all") -> Recipe:
    """What determines the activations of a model on a view.

    Raises:
      ValueError: The view is of the other modality, is empty, or its ids are not unique, one per stimulus; an unknown
        pool or layer.
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
            # The commit, since a branch moves.
            **({"commit": model.commit} if model.commit else {}),
            "modality": model.modality,
            "view": view.name,
        },
        layers=resolve_layers(model, layers),
        items=view.ids,
        width=model.width,
        model_layers=model.layer_names,
    )


def resolve_layers(model: Model, layers: object) -> tuple[str, ...]:
    """Layer names in canonical order, from "all", "penultimate", a name or several; a ValueError for an unknown one."""
    if isinstance(layers, str) and layers == "all":
        return model.layer_names
    depth = len(model.layer_names) - 2
    aliases = {"penultimate": f"block_{depth - 1}"} if depth > 1 else {}
    requested = [layers] if isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    names = {aliases.get(str(name), str(name)) for name in requested}
    unknown = sorted(names - set(model.layer_names))
    if unknown or not names:
        raise ValueError(
            f"{model.name} has no layer {', '.join(map(repr, unknown)) or 'in an empty list'}; expected "
            f"{', '.join(map(repr, ['all', *aliases]))} or some of {', '.join(model.layer_names)}."
        )
    return tuple(name for name in model.layer_names if name in names)


def resolve_pool(model: Model, pool: object) -> str:
    """The pool, by default the model's first; a ValueError if the model's modality does not know it."""
    if pool is None:
        return model.pools[0]
    if pool not in model.pools:
        raise ValueError(
            f"pool={pool!r} is not known to {model.modality} models; expected one of {sorted(model.pools)}."
        )
    return str(pool)


def resolve_pools(model: Model, pools: object) -> tuple[str, ...]:
    """One pool or several, as a tuple without repetition; raises as `resolve_pool`, and for an empty list."""
    requested = list(pools) if isinstance(pools, Iterable) and not isinstance(pools, str) else [pools]
    if not requested:
        raise ValueError(f"pool is an empty list; expected some of {sorted(model.pools)}.")
    return tuple(dict.fromkeys(resolve_pool(model, pool) for pool in requested))


def _as_list(stimuli: object) -> list[object]:
    """The stimuli as a list; refuse what Python would take apart or reorder silently."""
    # An array of a single image would pass as a list of its rows.
    image = isinstance(stimuli, np.ndarray) and stimuli.dtype.kind not in "OU" and stimuli.ndim != 4
    if image or isinstance(stimuli, str | bytes | os.PathLike) or not isinstance(stimuli, Iterable):
        raise ValueError(
            f"stimuli is one {type(stimuli).__name__}; expected a list of captions or of images, such as [stimulus]."
        )
    if isinstance(stimuli, Mapping | Set):
        raise ValueError(
            f"stimuli is a {type(stimuli).__name__}; expected a list, whose order is that of the rows. Names of the "
            "rows are given as items=."
        )
    inputs = list(stimuli)
    if not inputs:
        raise ValueError("There are no stimuli: give at least one.")
    return inputs


def extract_to_store(
    model: Model,
    view: View,
    store: Store,
    pool: str | None = None,
    layers: Names = "all",
    batch_size: WholeNumber | None = None,
    show_progress: bool = False,
    workers: WholeNumber = 0,
) -> Recipe:
    """Extract a view into the store unless it is finished there; an interrupted run resumes at the next group of items.

    Layers that are stored with all layers of the model are not extracted again: they are read from there.

    If several processes have joined (`vla.devices.join`), each extracts its share, and all return when everything is
    finished; the store must be visible to all of them.

    Returns:
      The recipe, with which `store.read` finds the activations.

    Raises:
      ValueError: As `extract`, or a disk that is too small; what was finished before the error is kept, and nothing
        looks finished.
    """
    entry = recipe(model, view, pool, layers)
    writer = store.writer(entry)
    if not store.has(entry):
        _extract_share(model, view, entry, writer, batch_size, show_progress, workers)
    process, _ = devices.this_process()
    devices.wait_for_all("extracted")
    # Layers that are stored with all others have no group of their own.
    if process == 0 and (writer.finished or not store.has(entry)):
        writer.publish()
    devices.wait_for_all("published")
    return entry


def _extract_share(
    model: Model,
    view: View,
    entry: Recipe,
    writer: Writer,
    batch_size: WholeNumber | None,
    show_progress: bool,
    workers: WholeNumber,
) -> None:
    """Extract this process's share of the unfinished groups."""
    process, processes = devices.this_process()
    most = _GROUP_ITEMS[model.modality, "streamed" if model.streams else "in memory"]
    share = _groups(writer.chunks, most, processes)[process::processes]
    pending = set(writer.pending)
    unfinished = [group for group in share if pending.intersection(group)]
    writer.check_room()
    total = sum(group[-1][1] - group[0][0] for group in share)
    with progress.bar(f"extracting {model.name} on {view.name}", total, show_progress) as advance:
        advance(total - sum(group[-1][1] - group[0][0] for group in unfinished))
        for group in unfinished:
            if writer.finished:
                break  # another process was faster
            start, stop = group[0][0], group[-1][1]
            collector = _Collector(writer, group, len(entry.layers))
            inputs, pools = (view.stimuli[start:stop], view.ids[start:stop]), (entry.determines["pool"],)
            for readout in read_out(model, *inputs, pools, entry.layers, batch_size, workers, advance):
                collector.take(*readout)


def _groups(chunks: list[tuple[int, int]], items: int, processes: int) -> list[list[tuple[int, int]]]:
    """Neighbouring chunks of about so many items together, and at least as many groups as processes if possible.

    The groups depend only on the number of processes: captions are packed within a group, so that a resumed run with
    other groups would end with other last digits.
    """
    chunk_items = chunks[0][1] - chunks[0][0]
    size = max(1, min(items // chunk_items, len(chunks) // processes))
    return [chunks[i : i + size] for i in range(0, len(chunks), size)]


class _Collector:
    """Collects the readouts of a group and writes every layer as soon as it is complete."""

    def __init__(self, writer: Writer, group: list[tuple[int, int]], layers: int) -> None:
        self._writer, self._group = writer, group
        self._start, self._items = group[0][0], group[-1][1] - group[0][0]
        self._incomplete: dict[int, Float[np.ndarray, "N D"]] = {}
        self._missing = [self._items] * layers

    def take(self, layers: slice, items: Int[np.ndarray, "M"], values: Float[np.ndarray, "1 R M D"]) -> None:
        """Take the readout of some items at some layers."""
        for layer, pooled in zip(range(len(self._missing))[layers], values[0], strict=True):
            if layer not in self._incomplete:
                self._incomplete[layer] = np.empty((self._items, pooled.shape[-1]), np.float32)
            self._incomplete[layer][items] = pooled
            self._missing[layer] -= len(items)
            if not self._missing[layer]:
                array = self._incomplete.pop(layer)
                for start, stop in self._group:
                    self._writer.write((start, stop), array[None, start - self._start : stop - self._start], layer)
