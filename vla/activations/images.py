"""Batches of images, decoded and preprocessed ahead of the device."""

import contextlib
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from vla import devices
from vla.activations.batches import BatchItems, even_batch_size
from vla.models.batch import Images
from vla.models.model import Model
from vla.stimuli.images import decode_image, has_image_suffix, not_an_image

# Images per forward pass on each device; on a CPU few, so that hidden states fit its caches.
_PASS_IMAGES = {"cpu": 2, "accelerator": 64}

# Images of rare shapes wait in memory until a batch is full or so many batches wait.
_WAITING_BATCHES = 8

_MOST_THREADS = 8

Preprocess = Callable[[Sequence[Any]], list[np.ndarray]]
Work = Callable[[Any, str], tuple[str, np.ndarray]]


def image_batches(
    model: Model, images: Sequence[object], names: Sequence[str], batch_size: int | None = None, workers: int = 0
) -> Iterator[tuple[Images, BatchItems]]:
    """All images, each in one batch of images of one size, by default of as many as suits the device.

    `workers` are processes that decode and preprocess; 0 does it in threads of this process.

    Raises:
      ValueError: An image that cannot be read, or that the model cannot take; the message names it.
    """
    _refuse_captions(model, images, names)
    groups = devices.groups(model.mesh)
    most = _PASS_IMAGES["cpu" if devices.on_cpu() else "accelerator"] * groups if batch_size is None else batch_size
    size = even_batch_size(len(images), most, groups)
    waiting: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = {}
    with _decoders(model.processor, workers) as (executor, work):
        tasks = ((images[row], names[row]) for row in range(len(images)))
        for row, (name, pixels) in enumerate(_ahead(executor, work, tasks, 2 * size)):
            assert name == names[row]
            # Processors that keep the aspect ratio give images of several shapes; each batch has a single one.
            rows, batch = waiting.setdefault(pixels.shape, ([], []))
            rows.append(row)
            batch.append(pixels)
            waiting_images = sum(len(rows) for rows, _ in waiting.values())
            if len(rows) == size or waiting_images >= _WAITING_BATCHES * size:
                fullest = max(waiting, key=lambda shape: len(waiting[shape][0]))
                yield _batch(*waiting.pop(fullest), size)
    for rows, batch in waiting.values():
        yield _batch(rows, batch, size)


def _refuse_captions(model: Model, images: Sequence[object], names: Sequence[str]) -> None:
    """Refuse strings that are captions instead of paths."""
    strings = [(name, image) for name, image in zip(names, images, strict=True) if isinstance(image, str)]
    missing = [(name, string) for name, string in strings if not not_an_image(string) and not os.path.exists(string)]
    captions = [(name, string) for name, string in missing if len(string.split()) > 1 and not has_image_suffix(string)]
    if captions:
        name, caption = captions[0]
        raise ValueError(
            f"{len(captions)} of the {len(images)} stimuli are captions, such as {caption[:60]!r} of item {name!r}, "
            f"but {model.name} is a vision model: use a language model, or give images, as paths, PIL images or uint8 "
            "arrays [H, W, 3]."
        )
    if strings and len(missing) == len(images):
        raise ValueError(
            f"None of the {len(images)} strings names a file, for example {images[0]!r}: {model.name} is a "
            "vision model and takes images, as paths, PIL images or uint8 arrays [H, W, 3]."
        )


def _batch(rows: list[int], images: list[np.ndarray], size: int) -> tuple[Images, BatchItems]:
    """A batch, padded with its last image so that few shapes are compiled."""
    pixels = np.stack(images + images[-1:] * (size - len(images)))
    return Images(pixels), BatchItems(np.array(rows), np.arange(len(rows)), np.zeros(len(rows), np.int64))


@contextlib.contextmanager
def _decoders(process: Preprocess, workers: int) -> Iterator[tuple[Executor, Work]]:
    """An executor, and the function that it runs: threads, or processes with their own copy of the preprocessing."""
    if workers:
        # A fork of a process with threads may deadlock.
        spawned = multiprocessing.get_context("spawn")
        executor: Executor = ProcessPoolExecutor(workers, spawned, _prepare, (process,))
        work: Work = _in_worker
    else:
        executor = ThreadPoolExecutor(min(_MOST_THREADS, max(2, devices.cores())))
        work = functools.partial(_pixels, process)
    try:
        yield executor, work
    except BrokenProcessPool as error:
        raise ValueError(
            f"the {workers} worker processes that decode images ended ({error}). A script that starts processes needs "
            "`if __name__ == '__main__':` around what it runs; workers=0 decodes in threads"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _pixels(process: Preprocess, image: Any, name: str) -> tuple[str, np.ndarray]:
    """The item's name and its pixels."""
    decoded = decode_image(image, name)
    try:
        return name, process([decoded])[0]
    except ValueError as error:
        raise ValueError(f"item {name!r}: {error}") from error


_process_of_worker: list[Preprocess] = []


def _prepare(process: Preprocess) -> None:
    """Store the preprocessing in a new worker process."""
    _process_of_worker.append(process)


def _in_worker(image: Any, name: str) -> tuple[str, np.ndarray]:
    """As `_pixels`, in a worker process."""
    return _pixels(_process_of_worker[0], image, name)


def _ahead(
    executor: Executor, work: Work, tasks: Iterable[tuple[Any, str]], depth: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Results in order, at most `depth` of them computed ahead; after an error no further work starts."""
    pending = []
    try:
        for task in tasks:
            pending.append(executor.submit(work, *task))
            if len(pending) > depth:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()
    finally:
        for future in pending:
            future.cancel()
