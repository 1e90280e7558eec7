"""Batches of stimuli through a model: bucketed captions, images decoded ahead of the device.

N items, R layers read, B batch, T tokens, D units.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float

from vla import devices
from vla.models import Model
from vla.records import listed
from vla.stimuli import decode_image

DEFAULT_BATCH = {"language": 32, "vision": 16}

# Captions are padded to a multiple of this many tokens: few shapes to compile, little padding to compute.
_BUCKET_TOKENS = 16

_DECODING_THREADS = 4

# Images of shapes that come rarely wait for company; what waits is held in memory.
_WAITING_BATCHES = 8


def read_out(
    model: Model,
    stimuli: Sequence[Any],
    names: Sequence[str],
    pool: str,
    layers: tuple[str, ...],
    batch_size: Any = None,
    advance: Callable[[int], None] = lambda items: None,
) -> Float[np.ndarray, "R N D"]:
    """Pooled activations of all stimuli, in their order.

    Args:
      model: The model.
      stimuli: Captions, or whatever `vla.stimuli.decode_image` takes.
      names: One per stimulus, for messages.
      pool: One of the model's pools.
      layers: Layer names in canonical order.
      batch_size: Stimuli per forward pass over all devices; rounded up to a multiple of their number.
      advance: Called with the number of items just finished.

    Raises:
      ValueError: A stimulus the model cannot take, by name; activations that are not finite, by layer and item.
    """
    if batch_size is None:
        batch_size = DEFAULT_BATCH[model.modality]
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}: expected a whole number of at least 1.")
    size = min(int(batch_size), len(stimuli))
    size = -(-size // devices.device_count()) * devices.device_count()
    values = np.empty((len(layers), len(stimuli), model.width), np.float32)
    batches = _captions if model.modality == "language" else _images
    for rows, batch, mask in batches(model, stimuli, names, size):
        # A short batch is filled by repeating its last row, so that every batch has a compiled shape.
        fill = np.minimum(np.arange(size), len(rows) - 1)
        batch = devices.split_leading(batch[fill])
        mask = None if mask is None else devices.split_leading(mask[fill])
        out = model.readouts(batch, pool=pool, layers=layers, mask=mask)
        values[:, rows] = _finite(devices.to_host(out)[:, : len(rows)], model, layers, [names[row] for row in rows])
        advance(len(rows))
    return values


def _finite(
    values: Float[np.ndarray, "R B D"], model: Model, layers: tuple[str, ...], names: list[str]
) -> Float[np.ndarray, "R B D"]:
    """The values; refuse those that are no numbers as soon as they appear."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    layer = int(np.flatnonzero(bad.any(axis=(1, 2)))[0])
    items = [name for name, is_bad in zip(names, bad[layer].any(axis=1), strict=True) if is_bad]
    remedy = (
        "Load the model with dtype='float32'"
        if model.dtype != "float32"
        else "The weights are broken: download the checkpoint again"
    )
    raise ValueError(
        f"{model.name} gives {values[bad][0]} at layer {layers[layer]} for {len(items)} of the {len(names)} items of "
        f"a batch: {listed(items)}. {remedy}, or leave these items out."
    )


def _captions(
    model: Model, captions: Sequence[Any], names: Sequence[str], size: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Batches of captions of similar length: (rows, token ids [B, T], mask [B, T]), padded on the right."""
    named = list(zip(names, captions, strict=True))
    for name, caption in named:
        if not isinstance(caption, str):
            raise ValueError(
                f"item {name!r} is a {type(caption).__name__}, but {model.name} is a language model: give captions, "
                "each a str."
            )
    empty = [name for name, caption in named if not caption.strip()]
    if empty:
        raise ValueError(
            f"{len(empty)} captions are empty, of items {listed(empty)}: give each item a caption or leave it out."
        )
    tokens = [_of_item(model, caption, name) for name, caption in named]
    bucket = [-(-len(ids) // _BUCKET_TOKENS) for ids in tokens]
    order = sorted(range(len(tokens)), key=lambda row: (bucket[row], row))
    for rows in _runs(order, bucket, size):
        # A caption as long as the position table must not be padded beyond it.
        length = min(bucket[rows[0]] * _BUCKET_TOKENS, model.max_length or np.inf)
        batch = np.zeros((len(rows), int(length)), np.int32)
        mask = np.zeros(batch.shape, bool)
        for place, row in enumerate(rows):
            batch[place, : len(tokens[row])] = tokens[row]
            mask[place, : len(tokens[row])] = True
        yield rows, batch, mask


def _images(
    model: Model, images: Sequence[Any], names: Sequence[str], size: int
) -> Iterator[tuple[list[int], np.ndarray, None]]:
    """Batches of images: (rows, pixels [B, C, H, W], None); decoded by threads while the device computes."""
    if all(isinstance(image, str) for image in images) and not any(os.path.exists(image) for image in images):
        raise ValueError(
            f"None of the {len(images)} strings given names a file, for example {images[0]!r}: {model.name} is a "
            "vision model and takes images, as paths, PIL images or uint8 arrays [H, W, 3]."
        )

    def pixels(row: int) -> np.ndarray:
        return _of_item(model, decode_image(images[row], names[row]), names[row])

    with ThreadPoolExecutor(_DECODING_THREADS) as threads:
        waiting: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = {}
        for row, image in enumerate(_ahead(threads, pixels, range(len(images)), 2 * size)):
            # Processors that keep the aspect ratio give images of several shapes; each batch has one.
            rows, batch = waiting.setdefault(image.shape, ([], []))
            rows.append(row)
            batch.append(image)
            held = sum(len(rows) for rows, _ in waiting.values())
            if len(rows) == size or held >= _WAITING_BATCHES * size:
                fullest = max(waiting, key=lambda shape: len(waiting[shape][0]))
                rows, batch = waiting.pop(fullest)
                yield rows, np.stack(batch), None
        for rows, batch in waiting.values():
            yield rows, np.stack(batch), None


def _ahead(threads: ThreadPoolExecutor, work: Callable[[int], Any], todo: Iterable[int], depth: int) -> Iterator[Any]:
    """Results in order, with at most `depth` of them computed ahead; after an error no further work starts."""
    pending = []
    try:
        for task in todo:
            pending.append(threads.submit(work, task))
            if len(pending) > depth:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()
    finally:
        for future in pending:
            future.cancel()


def _runs(order: list[int], bucket: list[int], size: int) -> Iterator[list[int]]:
    """Rows of one bucket at a time, at most `size` of them."""
    run: list[int] = []
    for row in order:
        if run and (len(run) == size or bucket[row] != bucket[run[0]]):
            yield run
            run = []
        run.append(row)
    yield run


def _of_item(model: Model, stimulus: Any, name: str) -> np.ndarray:
    try:
        return model.preprocess([stimulus])[0]
    except ValueError as error:
        raise ValueError(f"item {name!r}: {error}") from error
