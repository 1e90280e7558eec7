"""Draws a scene: background, light, shadows and things; as pixels, as PNG files, and as a map of its things.

Axis letters: H height, W width.
"""

import contextlib
import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from vla.microworld.placement import feet
from vla.microworld.scenes import Group, Scene
from vla.microworld.shapes import SHAPES, Pen, arc
from vla.microworld.textures import ground, horizon
from vla.microworld.world import airborne
from vla.stimuli.generators.image_files import png

SIDE = 64
# Things are drawn this many times larger and averaged down, for smooth edges. Backgrounds need less.
OVERSAMPLING, GROUND_OVERSAMPLING = 4, 2
RGB = {
    "black": (36, 36, 40),
    "blue": (40, 88, 216),
    "brown": (132, 80, 42),
    "green": (34, 134, 54),
    "orange": (244, 134, 26),
    "pink": (246, 138, 184),
    "purple": (134, 60, 178),
    "red": (216, 38, 38),
    "white": (248, 248, 246),
    "yellow": (250, 214, 40),
}
# Motion streaks are white, on snow dark: white ones would be invisible.
_STREAK, _DARK_STREAK = (250, 250, 250, 210), (112, 124, 150, 220)
# Factors of red, green and blue in each weather.
LIGHT = {None: (1.0, 1.0, 1.0), "sunny": (1.03, 1.02, 0.98), "cloudy": (0.9, 0.92, 0.95), "sunset": (1.02, 0.94, 0.89)}

# A new process takes a few seconds to start, in which this one draws more than a thousand images.
MIN_IMAGES_FOR_PROCESS = 4000
_CHUNK = 100

# A file, the scene to draw into it, and the record to write into the file.
ImageTask = tuple[Path, Scene, Mapping[str, object] | None]


@dataclasses.dataclass(frozen=True)
class DrawnImage:
    """An RGB image of a scene, the number of the thing at each pixel, and where it is above the horizon.

    Things are counted from 1 in the order of the groups; 0 is the background. Above the horizon are sky, the wall above
    a floor, or the brick wall above its pavement.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    things: UInt8[np.ndarray, "H W"]
    upper: Bool[np.ndarray, "H W"]


def draw(scene: Scene) -> UInt8[np.ndarray, "64 64 3"]:
    """The scene as an RGB image of 64 × 64 pixels."""
    return _pixels(scene, None)


def draw_with_map(scene: Scene) -> DrawnImage:
    """The image of a scene with the map of its things; a thing owns the pixels that it covers by at least half."""
    large = SIDE * OVERSAMPLING
    mask = Image.new("L", (large, large))
    pixels = _pixels(scene, ImageDraw.Draw(mask))
    blocks = np.asarray(mask).reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING)
    things = np.zeros((SIDE, SIDE), np.uint8)
    for number in range(1, 1 + sum(group.count for group in scene.groups)):
        things[(blocks == number).mean(axis=(1, 3)) >= 0.5] = number
    upper = np.arange(SIDE)[:, None] < horizon(scene.stuff, SIDE)
    return DrawnImage(pixels, things, np.broadcast_to(upper, (SIDE, SIDE)))


def encode(pixels: UInt8[np.ndarray, "H W 3"], record: Mapping[str, object] | None = None) -> bytes:
    """An image as PNG, with the record of its origin that generated images carry; compressed fast, not small."""
    return png(Image.fromarray(pixels), record, compress_level=1)


@contextlib.contextmanager
def drawing_process(n_images: int) -> Iterator[Executor | None]:
    """A second process to draw `n_images` images; None if this machine has one core or the start does not pay off."""
    if n_images < MIN_IMAGES_FOR_PROCESS or (os.cpu_count() or 1) < 2:
        yield None
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def write_images(
    tasks: Sequence[ImageTask], pool: Executor | None = None, advance: Callable[[int], None] = lambda n_images: None
) -> None:
    """Draw scenes into PNG files, whose folders exist.

    A pool draws from the start of `tasks` while this process draws from the end; the files are the same without it.
    `advance` gets the number of images just drawn, from any thread.
    """
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    futures = [pool.submit(_write, chunk) if pool else Future() for chunk in chunks]
    for chunk, future in zip(chunks, futures, strict=True):
        future.add_done_callback(lambda _, chunk=chunk: advance(len(chunk)))
    for chunk, future in zip(reversed(chunks), reversed(futures), strict=True):
        # A chunk that can still be cancelled was not started: this process draws it.
        if future.cancel():
            _write(chunk)
    for future in futures:
        if not future.cancelled():
            future.result()


def _write(tasks: Sequence[ImageTask]) -> None:
    for path, scene, record in tasks:
        path.write_bytes(encode(draw(scene), record))


def _pixels(scene: Scene, mask: ImageDraw.ImageDraw | None) -> UInt8[np.ndarray, "64 64 3"]:
    """The image of a scene; the numbers of its things are drawn into `mask`, at OVERSAMPLING times the size."""
    rng = np.random.default_rng(scene.grain)
    side = SIDE * GROUND_OVERSAMPLING
    light, sun = rng.uniform(0.05, 0.14), rng.choice((-1.0, 1.0))
    background = np.clip(ground(scene.stuff, scene.weather, side, rng), 0, 255).astype(np.uint8)
    large = SIDE * OVERSAMPLING
    image = Image.fromarray(background).resize((large, large), Image.Resampling.NEAREST)
    canvas = ImageDraw.Draw(image, "RGBA")
    streak = _DARK_STREAK if scene.stuff == "snow" else _STREAK
    members = [(group, spot) for group in scene.groups for spot in group.spots]
    # Things with lower feet are nearer and drawn later.
    back_to_front = sorted(enumerate(members, start=1), key=lambda each: each[1][1].y + each[1][1].radius)
    tones = rng.uniform(0.92, 1.06, size=(len(members), 1)) * np.ones(3)
    for number, (group, spot) in back_to_front:
        colour = tuple(int(min(255, tone * c)) for tone, c in zip(tones[number - 1], RGB[group.colour], strict=True))
        centre = (spot.x * large, spot.y * large)
        radius = spot.radius * large
        _draw_shadow(canvas, scene, group, centre, radius, sun * large * 0.02)
        thing = (mask, number, centre, radius, spot.flipped, colour, group.action)
        SHAPES[group.category](Pen(canvas, *thing, OVERSAMPLING - 1, streak))
    small = np.asarray(image.reduce(OVERSAMPLING), np.float32)
    # One side of the scene is brighter than the other.
    slope = 1 + light * sun * np.linspace(-1, 1, SIDE, dtype=np.float32)
    tint = np.array(LIGHT[scene.weather], np.float32)
    return np.clip(small * slope[None, :, None] * tint + 0.5, 0, 255).astype(np.uint8)


def _draw_shadow(
    canvas: ImageDraw.ImageDraw, scene: Scene, group: Group, centre: tuple[float, float], radius: float, shift: float
) -> None:
    """Draw the shadow below a thing, shifted away from the light; things in the air or at sea have none."""
    x, y = centre
    if scene.stuff == "sea" or (airborne(scene.stuff, group.action) and group.action != "bounce"):
        return
    down = (1.9 if group.action == "bounce" else 0.97 * feet(group.category, group.action)) * radius
    canvas.polygon(arc(x - 3 * shift, y + down, 0.95 * radius, 0.17 * radius, 0, 360), (0, 0, 0, 80))
