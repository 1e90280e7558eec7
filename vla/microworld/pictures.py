"""Draws many scenes into PNG files, by more than one process where that pays."""

import contextlib
import functools
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from vla.microworld.drawing import draw
from vla.microworld.scenes import Scene
from vla.stimuli.generators.picture_file import CHUNK

# A process takes some seconds to start, in which another draws more than a thousand pictures.
WORTH_A_PROCESS = 4000
_CHUNK = 100

Order = tuple[Path, Scene, dict[str, Any] | None]


def encode(pixels: UInt8[np.ndarray, "H W 3"], record: dict[str, Any] | None = None) -> bytes:
    """A picture as PNG, quickly and without loss; with a record of what it was drawn from, as generated ones have."""
    text = None
    if record is not None:
        text = PngImagePlugin.PngInfo()
        text.add_itxt(CHUNK, json.dumps(record, ensure_ascii=False))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", pnginfo=text, compress_level=1)
    return data.getvalue()


@contextlib.contextmanager
def helper(pictures: int) -> Iterator[Executor | None]:
    """A second process, where there are two cores and so many pictures that it pays; else None."""
    if pictures < WORTH_A_PROCESS or (os.cpu_count() or 1) < 2:
        yield None
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def write_pictures(
    orders: Sequence[Order], pool: Executor | None = None, advance: Callable[[int], None] = lambda pictures: None
) -> None:
    """Draw scenes into files, each given as (file, scene, record or None); their folders have to be there.

    Args:
      orders: What to draw where.
      pool: Other processes that draw from the one end while this one draws from the other; the files are the same
        without.
      advance: Called with the number of pictures just drawn, from any thread.
    """

    def drawn(other: Future[None], *, count: int) -> None:
        if not other.cancelled() and not other.exception():
            advance(count)

    chunks = [orders[start : start + _CHUNK] for start in range(0, len(orders), _CHUNK)]
    others = [pool.submit(_write, chunk) for chunk in chunks] if pool else [None] * len(chunks)
    for chunk, other in zip(chunks, others, strict=True):
        if other is not None:
            other.add_done_callback(functools.partial(drawn, count=len(chunk)))
    for chunk, other in zip(reversed(chunks), reversed(others), strict=True):
        if other is None or other.cancel():
            _write(chunk)
            advance(len(chunk))
    for other in others:
        if other is not None and not other.cancelled():
            other.result()


def _write(orders: Sequence[Order]) -> None:
    for path, scene, record in orders:
        path.write_bytes(encode(draw(scene), record))
