"""Extraction into the store, group by group of items, which several processes can share.

N items, R layers, P pools, D units.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vla import devices, progress
from vla.activations.batches import read_out
from vla.activations.extract import recipe, resolve_pools
from vla.activations.store import Recipe, Store, Writer
from vla.models import Model
from vla.records import View

# Items that go through a model together: what a kill can cost. Captions are packed, and begin alike, within a group.
# A streamed model reads all its weights for every group.
_GROUP_ITEMS = {
    ("language", "held"): 1024,
    ("language", "streamed"): 8192,
    ("vision", "held"): 512,
    ("vision", "streamed"): 1024,
}


def extract_to_store(
    model: Model,
    view: View,
    store: Store,
    pool: str | None = None,
    layers: Any = "all",
    batch_size: Any = None,
    show_progress: bool = False,
    workers: Any = 0,
) -> Recipe:
    """Extract a view into the store unless it is there; an interrupted run resumes at the group it had reached.

    Layers that are stored with all layers of the model are not extracted again: they are read from there.

    Where several processes have joined (`vla.devices.join`), each does its share, and all return when everything is
    done; the store must be where all of them see it.

    Returns:
      The recipe, with which `store.read` finds the activations.

    Raises:
      ValueError: As `extract`, or no room for what is to be written; what was finished before the error is kept, and
        nothing looks finished.
    """
    return extract_pools_to_store(model, view, store, (pool,), layers, batch_size, show_progress, workers)[0]


def extract_pools_to_store(
    model: Model,
    view: View,
    store: Store,
    pools: Sequence[str | None],
    layers: Any = "all",
    batch_size: Any = None,
    show_progress: bool = False,
    workers: Any = 0,
) -> tuple[Recipe, ...]:
    """The same for several pools in one pass; one recipe for each of them, in their order."""
    recipes = tuple(recipe(model, view, pool, layers) for pool in pools)
    writers = {wanted.key: store.writer(wanted) for wanted in recipes}
    missing = [wanted for wanted in {wanted.key: wanted for wanted in recipes}.values() if not store.has(wanted)]
    if missing:
        _extract(model, view, missing, [writers[wanted.key] for wanted in missing], batch_size, show_progress, workers)
    number, _ = devices.this_process()
    devices.wait_for_all("extracted")
    if number == 0:
        for wanted in recipes:
            # Layers that are stored with all others have no group of their own.
            if writers[wanted.key].finished or not store.has(wanted):
                writers[wanted.key].publish()
    devices.wait_for_all("published")
    return recipes


def _extract(
    model: Model,
    view: View,
    recipes: Sequence[Recipe],
    writers: Sequence[Writer],
    batch_size: Any,
    show_progress: bool,
    workers: Any,
) -> None:
    """This process's share of the groups of which something is missing."""
    layers = recipes[0].layers
    pools = resolve_pools(model, [wanted.determines["pool"] for wanted in recipes])
    number, count = devices.this_process()
    groups = _groups(writers[0].chunks, _GROUP_ITEMS[model.modality, "streamed" if model.streams else "held"], count)
    pending = [set(writer.pending) for writer in writers]
    todo = [group for group in groups[number::count] if any(left.intersection(group) for left in pending)]
    needed = 0
    for writer in writers:
        needed = writer.check_room(needed)
    total = sum(group[-1][1] - group[0][0] for group in groups[number::count])
    with progress.bar(f"extracting {model.name} on {view.name}", total, show_progress) as advance:
        advance(total - sum(group[-1][1] - group[0][0] for group in todo))
        for group in todo:
            if all(writer.finished for writer in writers):
                break  # another process was faster
            start, stop = group[0][0], group[-1][1]
            sink = _Sink(writers, group, len(layers))
            stimuli, names = view.stimuli[start:stop], view.ids[start:stop]
            for read in read_out(model, stimuli, names, pools, layers, batch_size, workers, advance):
                sink.take(*read)


def _groups(chunks: list[tuple[int, int]], items: int, processes: int) -> list[list[tuple[int, int]]]:
    """Neighbouring chunks of about so many items together, and no fewer groups than processes if there are chunks.

    The groups of a number of processes are always the same ones: a caption's company must not depend on what a run
    before has left over, or a resumed run would end with other last digits.
    """
    one = chunks[0][1] - chunks[0][0]
    size = max(1, min(items // one, len(chunks) // processes))
    return [chunks[i : i + size] for i in range(0, len(chunks), size)]


class _Sink:
    """Collects what is read of a group and writes every layer as soon as it is complete."""

    def __init__(self, writers: Sequence[Writer], group: list[tuple[int, int]], layers: int) -> None:
        self._writers, self._group = writers, group
        self._start, self._items = group[0][0], group[-1][1] - group[0][0]
        self._waiting: dict[int, Float[np.ndarray, "P N D"]] = {}
        self._left = [self._items] * layers

    def take(self, layers: slice, items: Int[np.ndarray, "M"], values: Float[np.ndarray, "P R M D"]) -> None:
        """Take what was read of some items at some layers."""
        P, _, _, D = values.shape
        for layer, read in zip(range(len(self._left))[layers], values.swapaxes(0, 1), strict=True):
            if layer not in self._waiting:
                self._waiting[layer] = np.empty((P, self._items, D), np.float32)
            self._waiting[layer][:, items] = read
            self._left[layer] -= len(items)
            if not self._left[layer]:
                whole = self._waiting.pop(layer)
                for writer, pooled in zip(self._writers, whole, strict=True):
                    for start, stop in self._group:
                        writer.write((start, stop), pooled[None, start - self._start : stop - self._start], layer)
