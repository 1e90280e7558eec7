"""Pictures to manipulate, and a mask that is held in memory."""

import dataclasses
import hashlib

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def smooth(width: int = 64, height: int = 48) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(
        np.stack([255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 9)], -1).astype(np.uint8)
    )


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@dataclasses.dataclass(frozen=True)
class Masks:
    """A segmentation of three columns: things, stuff, and what is neither."""

    width: int = 40
    height: int = 30
    things_to: int = 10
    stuff_to: int | None = 25

    def things(self) -> np.ndarray:
        return np.broadcast_to(np.arange(self.width) < self.things_to, (self.height, self.width)).copy()

    def stuff(self) -> np.ndarray | None:
        if self.stuff_to is None:
            return None
        columns = np.arange(self.width)
        return np.broadcast_to(
            (columns >= self.things_to) & (columns < self.stuff_to), (self.height, self.width)
        ).copy()

    def content(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()
