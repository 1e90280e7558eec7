"""Batches of images, decoded and preprocessed ahead of the device.

N items, B images of a batch, C channels, H rows, W columns.
"""

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
from vla.activations.places import Places, even_size
from vla.models import Model
from vla.models.batch import Images
from vla.stimuli import decode_image
from vla.stimuli.images import has_image_suffix, not_an_image

# Images per forward pass on each device: on a CPU few, whose hidden states stay in its caches.
_PASS_IMAGES = {"cpu": 2, "accelerator": 64}

# Images of shapes that come rarely wait for company; what waits is held in memory.
_WAITING_BATCHES = 8

_MOST_THREADS = 8

Preprocess = Callable[[Sequence[Any]], list[np.ndarray]]
Work = Callable[[Any, str], tuple[str, np.ndarray]]


def image_batches(
    model: Model, images: Sequence[Any], names: Sequence[str], batch_size: int | None = None, workers: int = 0
) -> Iterator[tuple[Images, Places]]:
    """All images, each in one batch of images of one size.

    Args:
      model: A vision model.
      images: Whatever `vla.stimuli.decode_image` takes, or sources that can be opened.
      names: One per image, for messages.
      batch_size: Images in a batch; by default what suits the device.
      workers: Processes that decode and preprocess; 0 does it in threads of this process.

    Raises:
      ValueError: An image that cannot be read or taken, by name.
    """
    _refuse_captions(model, images, names)
    groups = devices.groups(model.mesh)
    most = _PASS_IMAGES["cpu" if devices.on_cpu() else "accelerator"] * groups if batch_size is None else batch_size
    size = even_size(len(images), most, groups)
    waiting: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = {}
    with _decoders(model.processor, workers) as (executor, work):
        tasks = ((images[row], names[row]) for row in range(len(images)))
        for row, (name, pixels) in enumerate(_ahead(executor, work, tasks, 2 * size)):
            assert name == names[row]
            # Processors that keep the aspect ratio give images of several shapes; each batch has one.
            rows, batch = waiting.setdefault(pixels.shape, ([], []))
            rows.append(row)
            batch.append(pixels)
            held = sum(len(rows) for rows, _ in waiting.values())
            if len(rows) == size or held >= _WAITING_BATCHES * size:
                fullest = max(waiting, key=lambda shape: len(waiting[shape][0]))
                yield _batch(*waiting.pop(fullest), size)
    for rows, batch in waiting.values():
        yield _batch(rows, batch, size)


def _refuse_captions(model: Model, images: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse strings that are captions rather than paths."""
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


def _batch(rows: list[int], images: list[np.ndarray], size: int) -> tuple[Images, Places]:
    """A batch, filled up with its last image so that every batch has a compiled shape."""
    pixels = np.stack(images + images[-1:] * (size - len(images)))
    return Images(pixels), Places(np.array(rows), np.arange(len(rows)), np.zeros(len(rows), np.int64))


@contextlib.contextmanager
def _decoders(process: Preprocess, workers: int) -> Iterator[tuple[Executor, Work]]:
    """What decodes, and the function to give it: threads, or processes each with the preprocessing of its own."""
    if workers:
        # A fork of a process that computes with threads may stop for ever.
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
    """The item's name and what the network takes for its image."""
    picture = decode_image(image, name)
    try:
        return name, process([picture])[0]
    except ValueError as error:
        raise ValueError(f"item {name!r}: {error}") from error


_own: list[Preprocess] = []


def _prepare(process: Preprocess) -> None:
    """Keep the preprocessing that a worker process is given when it starts."""
    _own.append(process)


def _in_worker(image: Any, name: str) -> tuple[str, np.ndarray]:
    """The same in a worker process."""
    return _pixels(_own[0], image, name)


def _ahead(
    executor: Executor, work: Work, tasks: Iterable[tuple[Any, str]], depth: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Results in order, with at most `depth` of them computed ahead; after an error no further work starts."""
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
