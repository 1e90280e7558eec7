"""Draws many scenes into PNG files, by more than one process where that pays."""

import io
import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
_CHUNK = 200

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


def write_pictures(orders: Sequence[Order], processes: int | None = None) -> None:
    """Draw scenes into files, each given as (file, scene, record or None); their folders have to be there.

    Args:
      orders: What to draw where.
      processes: How many processes draw; None for as many as pay. The files are the same for any number.
    """
    if processes is None:
        processes = min(os.cpu_count() or 1, 1 + len(orders) // WORTH_A_PROCESS)
    chunks = [orders[start : start + _CHUNK] for start in range(0, len(orders), _CHUNK)]
    if processes == 1:
        for chunk in chunks:
            _write(chunk)
        return
    # This process draws too, from the other end, while the others start.
    with ProcessPoolExecutor(processes - 1, multiprocessing.get_context("spawn")) as pool:
        others = [pool.submit(_write, chunk) for chunk in chunks]
        for chunk, other in zip(reversed(chunks), reversed(others), strict=True):
            if other.cancel():
                _write(chunk)
        for other in others:
            if not other.cancelled():
                other.result()


def _write(orders: Sequence[Order]) -> None:
    for path, scene, record in orders:
        path.write_bytes(encode(draw(scene), record))
