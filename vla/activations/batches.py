"""Stimuli through a model, batch by batch, to pooled activations of every item.

N items, R layers read, P pools, D units.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vla.activations.captions import caption_batches
from vla.activations.images import image_batches
from vla.activations.places import Places
from vla.checks import check_whole_number, listed
from vla.models import Model
from vla.models.batch import Batch

# Which layers, which items, and their activations.
Read = tuple[slice, Int[np.ndarray, "N"], Float[np.ndarray, "P R N D"]]


def read_out(
    model: Model,
    stimuli: Sequence[Any],
    names: Sequence[str],
    pools: tuple[str, ...],
    layers: tuple[str, ...],
    batch_size: Any = None,
    workers: Any = 0,
    advance: Callable[[float], None] = lambda items: None,
) -> Iterator[Read]:
    """Pooled activations of all stimuli, in the order in which they come about.

    Every layer of every item comes once: all layers of some items from a model that is held, one layer of some items
    from one that is streamed, whose layers come one after another.

    Args:
      model: The model.
      stimuli: Captions, or whatever `vla.stimuli.decode_image` takes.
      names: One per stimulus, for messages.
      pools: Some of the model's pools.
      layers: Layer names in canonical order.
      batch_size: Images per forward pass, or rows of 128 tokens, over all devices; rounded up to a multiple of the
        parts that a batch is split into.
      workers: Processes that decode images; 0 for threads of this process.
      advance: Called with the number of items just finished, or with a part of it.

    Raises:
      ValueError: A model without weights; a stimulus the model cannot take, by name; activations that are not finite,
        by layer and item.
    """
    model.check_weights()
    check_whole_number("batch_size", batch_size, other=[None])
    check_whole_number("workers", workers, 0, other=[None])
    size = None if batch_size is None else int(batch_size)
    given: Iterable[tuple[Batch, Places]]
    if model.modality == "language":
        given = caption_batches(model, stimuli, names, pools, size)
    else:
        given = image_batches(model, stimuli, names, size, int(workers))
    places: list[Places] = []

    def batches() -> Iterator[Batch]:
        for batch, where in given:
            places.append(where)
            yield batch

    part = 1 / model.passes(layers)
    for where, number, read in model.read(batches(), pools=pools, layers=layers):
        items = places[number].items
        values = places[number].vectors(read, len(pools))
        _check_finite(values, model, layers[where], [str(names[item]) for item in items])
        yield where, items, values
        advance(len(items) * part)


def _check_finite(
    values: Float[np.ndarray, "P R N D"], model: Model, layers: tuple[str, ...], names: list[str]
) -> None:
    """Refuse values that are no numbers as soon as they appear."""
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
