"""The scenes that models learn from: images, labels and captions, drawn once and kept; and their augmentation.

Axes: N scenes, K entries of a label, B images, S side.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vla import progress
from vla.microworld.captions import describe
from vla.microworld.drawing import SIDE, draw
from vla.microworld.make_once import make_once
from vla.microworld.scenes import Scene, scene
from vla.microworld.world import CATEGORIES, COLOURS, STUFF, WEATHER

# Raise it whenever the same seed would give other images, labels or captions.
VERSION = 2

# What models are trained on and probed for: the labels of each attribute of a scene.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "stuff": tuple(STUFF),
    "weather": ("none", *WEATHER),
    "things": tuple(CATEGORIES),
    "colours": COLOURS,
    "coloured_things": tuple(f"{colour} {name}" for name, colours in CATEGORIES.items() for colour in colours),
    "count": ("1", "2", "3"),
}

# Largest shift in pixels. Images are not mirrored, because captions distinguish left and right.
SHIFT = 4
# Largest change of brightness and contrast, and of each colour channel.
LIGHT, TINT = 0.15, 0.05


@dataclasses.dataclass(frozen=True)
class TrainingScenes:
    """Scenes as arrays.

    Attributes:
      images: RGB images.
      labels: By name of ATTRIBUTES: uint8 [N, K], 1 where true; exactly one of stuff, weather and count is.
      captions: The captions of each scene.
    """

    images: UInt8[np.ndarray, "N H W 3"]
    labels: dict[str, np.ndarray]
    captions: tuple[tuple[str, ...], ...]

    def part(self, rows: slice) -> "TrainingScenes":
        """A slice of the scenes."""
        labels = {name: values[rows] for name, values in self.labels.items()}
        return TrainingScenes(self.images[rows], labels, self.captions[rows])


def training_scenes(folder: Path, n: int, world_seed: int, show_progress: bool = False) -> TrainingScenes:
    """The first `n` training scenes of a seed, drawn unless `folder` has them; 1,000 scenes take 12 MB.

    No evaluation scene has the same description as one of them.

    Raises:
      ValueError: The folder holds something else.
    """

    def fill(draft: Path) -> None:
        images = np.lib.format.open_memmap(draft / "pictures.npy", "w+", np.uint8, (n, SIDE, SIDE, 3))
        attributes: list[dict[str, np.ndarray]] = []
        captions = []
        with progress.bar("drawing scenes", n, show_progress) as advance:
            for index in range(n):
                sampled = scene(world_seed, index, "training")
                images[index] = draw(sampled)
                attributes.append(_attributes(sampled))
                captions.append([caption.text for caption in describe(sampled)])
                advance(1)
        images.flush()
        arrays = {name: np.stack([each[name] for each in attributes]) for name in ATTRIBUTES}
        np.savez(draft / "labels.npz", allow_pickle=False, **arrays)
        (draft / "captions.json").write_text(json.dumps(captions), encoding="utf-8")

    recipe = {"what": "training scenes", "n": n, "seed": world_seed, "version": VERSION}
    path = make_once(folder, recipe, fill)
    with np.load(path / "labels.npz") as file:
        attributes = {name: file[name] for name in ATTRIBUTES}
    captions = json.loads((path / "captions.json").read_text(encoding="utf-8"))
    return TrainingScenes(np.load(path / "pictures.npy", mmap_mode="r"), attributes, tuple(map(tuple, captions)))


def _attributes(scene: Scene) -> dict[str, np.ndarray]:
    """The attributes of a scene: for each label of ATTRIBUTES, 1 if it is true of the scene, else 0."""
    present = {
        "stuff": [scene.stuff],
        "weather": [scene.weather or "none"],
        "things": [group.category for group in scene.groups],
        "colours": [group.colour for group in scene.groups],
        "coloured_things": [f"{group.colour} {group.category}" for group in scene.groups],
        "count": [str(sum(group.count for group in scene.groups))],
    }
    return {name: np.isin(labels, present[name]).astype(np.uint8) for name, labels in ATTRIBUTES.items()}


def jittered(images: UInt8[np.ndarray, "B S S 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "B S S 3"]:
    """Each image shifted at random, its border repeated, with random changes of brightness, contrast and tint."""
    B, S = images.shape[:2]
    padded = np.pad(np.asarray(images), ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    for i, (y, x) in enumerate(rng.integers(0, 2 * SHIFT + 1, size=(B, 2))):
        shifted[i] = padded[i, y : y + S, x : x + S]
    values = shifted.astype(np.float32)
    contrast = 1 + LIGHT * rng.uniform(-1, 1, (B, 1, 1, 1))
    brightness = 255 * LIGHT * rng.uniform(-1, 1, (B, 1, 1, 1))
    tint = 255 * TINT * rng.uniform(-1, 1, (B, 1, 1, 3))
    mean = values.mean((1, 2, 3), keepdims=True)
    return np.clip((values - mean) * contrast + mean + brightness + tint, 0, 255).astype(np.uint8)
