"""Draws a scene: its things with their shadows on its ground, in its light, and a map of what is where.

Axis letters: H height, W width.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from vla.microworld.pen import Pen, arc
from vla.microworld.placing import feet
from vla.microworld.scenes import Group, Scene
from vla.microworld.shapes import SHAPES
from vla.microworld.textures import ground, horizon
from vla.microworld.world import airborne

SIDE = 64
# Things are drawn this much larger, then averaged down: smooth edges. Grounds need less.
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
# Streaks behind what moves are white, but on snow nobody would see them.
_STREAK, _DARK_STREAK = (250, 250, 250, 210), (112, 124, 150, 220)
# What the light does to red, green and blue.
LIGHT = {None: (1.0, 1.0, 1.0), "sunny": (1.03, 1.02, 0.98), "cloudy": (0.9, 0.92, 0.95), "sunset": (1.02, 0.94, 0.89)}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A drawing and what is where in it.

    Attributes:
      pixels: The picture.
      things: 0 where no thing is, else the thing's number, counted from 1, group by group.
      upper: True above the horizon: sky, or the wall over a floor; the brick wall over its pavement.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    things: UInt8[np.ndarray, "H W"]
    upper: np.ndarray


def draw(scene: Scene) -> UInt8[np.ndarray, "64 64 3"]:
    """The scene as an RGB picture of 64 × 64 pixels."""
    return _pixels(scene, None)


def draw_with_map(scene: Scene) -> Drawn:
    """The scene's picture with the map of what is where: a pixel is of a thing that covers at least half of it."""
    large = SIDE * OVERSAMPLING
    mask = Image.new("L", (large, large))
    pixels = _pixels(scene, ImageDraw.Draw(mask))
    blocks = np.asarray(mask).reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING)
    things = np.zeros((SIDE, SIDE), np.uint8)
    for number in range(1, 1 + sum(group.count for group in scene.groups)):
        things[(blocks == number).mean(axis=(1, 3)) >= 0.5] = number
    upper = np.arange(SIDE)[:, None] < horizon(scene.stuff, SIDE)
    return Drawn(pixels, things, np.broadcast_to(upper, (SIDE, SIDE)))


def _pixels(scene: Scene, mask: ImageDraw.ImageDraw | None) -> UInt8[np.ndarray, "64 64 3"]:
    rng = np.random.default_rng(scene.grain)
    side = SIDE * GROUND_OVERSAMPLING
    light, sun = rng.uniform(0.05, 0.14), rng.choice((-1.0, 1.0))
    below = np.clip(ground(scene.stuff, scene.weather, side, rng), 0, 255).astype(np.uint8)
    large = SIDE * OVERSAMPLING
    picture = Image.fromarray(below).resize((large, large), Image.Resampling.NEAREST)
    canvas = ImageDraw.Draw(picture, "RGBA")
    streak = _DARK_STREAK if scene.stuff == "snow" else _STREAK
    members = [(group, spot) for group in scene.groups for spot in group.spots]
    numbered = sorted(enumerate(members, start=1), key=lambda each: each[1][1].y + each[1][1].radius)
    tones = rng.uniform(0.92, 1.06, size=(len(members), 1)) * np.ones(3)
    for number, (group, spot) in numbered:
        colour = tuple(int(min(255, tone * c)) for tone, c in zip(tones[number - 1], RGB[group.colour], strict=True))
        centre = (spot.x * large, spot.y * large)
        pen = Pen(
            canvas,
            mask,
            number,
            centre,
            spot.radius * large,
            spot.flipped,
            colour,
            group.action,
            OVERSAMPLING - 1,
            streak,
        )
        _shadow(canvas, scene, group, centre, spot.radius * large, sun * large * 0.02)
        SHAPES[group.kind](pen)
    small = np.asarray(picture.reduce(OVERSAMPLING), np.float32)
    slope = 1 + light * sun * np.linspace(-1, 1, SIDE, dtype=np.float32)
    tint = np.array(LIGHT[scene.weather], np.float32)
    return np.clip(small * slope[None, :, None] * tint + 0.5, 0, 255).astype(np.uint8)


def _shadow(
    canvas: ImageDraw.ImageDraw, scene: Scene, group: Group, centre: tuple[float, float], radius: float, shift: float
) -> None:
    """The shadow that a thing casts: beneath it, away from the light."""
    x, y = centre
    if scene.stuff == "sea" or (airborne(scene.stuff, group.action) and group.action != "bounce"):
        return
    down = (1.9 if group.action == "bounce" else 0.97 * feet(group.kind, group.action)) * radius
    canvas.polygon(arc(x - 3 * shift, y + down, 0.95 * radius, 0.17 * radius, 0, 360), (0, 0, 0, 80))
