"""Scenes to learn from, drawn once and kept: pictures, what is in them, captions.

N scenes, K entries of a label.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vla import progress
from vla.microworld.captions import describe
from vla.microworld.drawing import SIDE, draw
from vla.microworld.labels import NAMES, labels
from vla.microworld.once import make_once
from vla.microworld.scenes import scene

# Raised whenever the same seed would give other pictures, labels or captions.
VERSION = 2

# Arrays of labels that are kept, as `vla.microworld.labels` has them; of "counts" the sum.
KEPT = ("stuff", "weather", "things", "colours", "coloured_things")
ATTRIBUTES: dict[str, tuple[str, ...]] = {**{name: NAMES[name] for name in KEPT}, "count": ("1", "2", "3")}


@dataclasses.dataclass(frozen=True)
class Material:
    """Scenes as a training takes them.

    Attributes:
      pictures: RGB.
      labels: By names of ATTRIBUTES: uint8 [N, K], 1 for what is there; of stuff, weather and count one is.
      captions: Those of each scene.
    """

    pictures: UInt8[np.ndarray, "N H W 3"]
    labels: dict[str, np.ndarray]
    captions: tuple[tuple[str, ...], ...]

    def part(self, rows: slice) -> "Material":
        """Some of the scenes."""
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Material(self.pictures[rows], labels, self.captions[rows])


def material(folder: Path, n: int, world_seed: int, show_progress: bool = False) -> Material:
    """The first `n` scenes for training of a seed, drawn unless `folder` has them; 1,000 are 12 MB.

    None of them is described like a scene of the study.

    Raises:
      ValueError: The folder holds something else.
    """

    def fill(draft: Path) -> None:
        pictures = np.lib.format.open_memmap(draft / "pictures.npy", "w+", np.uint8, (n, SIDE, SIDE, 3))
        told: list[dict[str, np.ndarray]] = []
        captions = []
        with progress.bar("drawing scenes", n, show_progress) as advance:
            for index in range(n):
                what = scene(world_seed, index, "training")
                pictures[index] = draw(what)
                told.append(_attributes(labels(what)))
                captions.append([caption.text for caption in describe(what)])
                advance(1)
        pictures.flush()
        arrays = {name: np.stack([each[name] for each in told]) for name in ATTRIBUTES}
        np.savez(draft / "labels.npz", allow_pickle=False, **arrays)
        (draft / "captions.json").write_text(json.dumps(captions), encoding="utf-8")

    recipe = {"what": "training scenes", "n": n, "seed": world_seed, "version": VERSION}
    place = make_once(folder, recipe, fill)
    with np.load(place / "labels.npz") as kept:
        attributes = {name: kept[name] for name in ATTRIBUTES}
    captions = json.loads((place / "captions.json").read_text(encoding="utf-8"))
    return Material(np.load(place / "pictures.npy", mmap_mode="r"), attributes, tuple(map(tuple, captions)))


def _attributes(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Zeros and ones for each attribute of a scene."""
    count = int(found["counts"].sum())
    told = {name: np.asarray(found[name]) for name in KEPT} | {"count": np.array(count - 1)}
    return {
        name: (value if value.ndim else np.arange(len(ATTRIBUTES[name])) == value).astype(np.uint8)
        for name, value in told.items()
    }
