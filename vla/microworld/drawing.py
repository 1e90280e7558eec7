"""Draws a scene: its things, outlined, on its ground."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from vla.microworld.scenes import Scene, Thing
from vla.microworld.textures import ground

SIDE = 64
# Drawn this much larger, then averaged down: smooth edges.
OVERSAMPLING = 4
RGB = {
    "black": (38, 38, 42),
    "blue": (44, 92, 214),
    "brown": (134, 84, 44),
    "green": (36, 132, 52),
    "orange": (244, 138, 30),
    "pink": (246, 140, 184),
    "purple": (136, 62, 176),
    "red": (216, 40, 38),
    "white": (248, 248, 246),
    "yellow": (250, 214, 44),
}
INK = (28, 26, 30)
GLASS = (178, 220, 240)
WOOD = (112, 72, 40)
LEAF = (52, 128, 44)
Number = int | float
Points = Sequence[tuple[Number, Number]]


def draw(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of 64 × 64 pixels."""
    large = Image.fromarray(ground(scene.stuff, SIDE * OVERSAMPLING, scene.grain))
    for thing in scene.things:
        _DRAWERS[thing.kind](_Pen(ImageDraw.Draw(large), thing, large.width))
    return large.resize((SIDE, SIDE), Image.Resampling.BOX)


@dataclasses.dataclass(frozen=True)
class _Pen:
    """Draws in a thing's own coordinates: x to the right, y downwards, both from -1 to 1."""

    canvas: ImageDraw.ImageDraw
    thing: Thing
    side: int

    @property
    def colour(self) -> tuple[int, int, int]:
        return RGB[self.thing.colour]

    def at(self, points: Points) -> list[tuple[float, float]]:
        thing = self.thing
        return [((thing.x + x * thing.radius) * self.side, (thing.y + y * thing.radius) * self.side) for x, y in points]

    def shape(self, points: Points, fill: tuple[int, int, int]) -> None:
        corners = self.at(points)
        self.canvas.polygon(corners, fill)
        # A polygon's own outline has open corners when it is wide.
        self.canvas.line([*corners, *corners[:2]], INK, width=OVERSAMPLING, joint="curve")

    def oval(self, x: Number, y: Number, rx: Number, ry: Number, fill: tuple[int, int, int]) -> None:
        self.shape(arc(x, y, rx, ry, 0, 360), fill)

    def line(self, points: Points, fill: tuple[int, int, int] = INK, width: Number = 0.1) -> None:
        pixels = max(OVERSAMPLING, round(width * self.thing.radius * self.side))
        self.canvas.line(self.at(points), fill, width=pixels, joint="curve")


def arc(x: Number, y: Number, rx: Number, ry: Number, start: Number, end: Number) -> list[tuple[float, float]]:
    """Points along an ellipse, angles in degrees clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / 36) for step in range(37)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _house(pen: _Pen) -> None:
    pen.shape([(-0.75, -0.15), (0.75, -0.15), (0.75, 1), (-0.75, 1)], pen.colour)
    pen.shape([(-1, -0.15), (0, -1), (1, -0.15)], (92, 52, 44))
    pen.shape([(-0.2, 0.35), (0.2, 0.35), (0.2, 1), (-0.2, 1)], WOOD)
    for x in (-0.5, 0.5):
        pen.shape([(x - 0.16, 0.1), (x + 0.16, 0.1), (x + 0.16, 0.42), (x - 0.16, 0.42)], GLASS)


def _tree(pen: _Pen) -> None:
    pen.shape([(-0.16, 0.1), (0.16, 0.1), (0.2, 1), (-0.2, 1)], WOOD)
    lobes = [(-0.45, -0.1), (0.45, -0.1), (0, -0.52)]
    for x, y in lobes:
        pen.oval(x, y, 0.5, 0.46, pen.colour)
    # The crown again without outline, or the lobes look like balls.
    for x, y in [*lobes, (0, -0.15)]:
        pen.canvas.polygon(pen.at(arc(x, y, 0.44, 0.4, 0, 360)), pen.colour)


def _car(pen: _Pen) -> None:
    if pen.thing.action == "speeding":
        for y in (-0.2, 0.1, 0.4):
            pen.line([(-1.5, y), (-1.08, y)], (70, 140, 230), width=0.12)
    pen.shape([(-0.55, 0), (-0.35, -0.5), (0.3, -0.5), (0.55, 0)], pen.colour)
    pen.shape([(-0.42, -0.02), (-0.28, -0.38), (-0.05, -0.38), (-0.05, -0.02)], GLASS)
    pen.shape([(0.05, -0.02), (0.05, -0.38), (0.24, -0.38), (0.42, -0.02)], GLASS)
    pen.shape([(-1, 0), (0.85, 0), (1, 0.15), (1, 0.42), (-1, 0.42)], pen.colour)
    for x in (-0.52, 0.52):
        pen.oval(x, 0.42, 0.24, 0.24, INK)
        pen.oval(x, 0.42, 0.1, 0.1, (190, 190, 190))


def _boat(pen: _Pen) -> None:
    if pen.thing.action == "sailing":
        pen.line([(0, 0.3), (0, -1)], WOOD, width=0.1)
        pen.shape([(0.08, -0.95), (0.85, 0.1), (0.08, 0.1)], RGB["white"])
        pen.shape([(-0.08, -0.75), (-0.65, 0.1), (-0.08, 0.1)], RGB["white"])
    else:
        pen.shape([(-0.4, 0.3), (-0.4, -0.15), (0.25, -0.15), (0.35, 0.3)], RGB["white"])
        pen.oval(-0.05, 0.06, 0.12, 0.12, GLASS)
    pen.shape([(-1, 0.25), (1, 0.25), (0.65, 0.75), (-0.7, 0.75)], pen.colour)


def _ball(pen: _Pen) -> None:
    if pen.thing.action == "bouncing":
        pen.canvas.polygon(pen.at(arc(0, 1.5, 0.55, 0.14, 0, 360)), (70, 66, 62))
        for x in (-0.5, 0, 0.5):
            pen.line([(x, 0.95), (x, 1.2)], INK, width=0.07)
    pen.oval(0, 0, 0.8, 0.8, pen.colour)
    pen.line(arc(0, -0.95, 0.95, 0.95, 40, 140), INK, width=0.07)
    pen.line(arc(0, 0.95, 0.95, 0.95, 220, 320), INK, width=0.07)


def _cup(pen: _Pen) -> None:
    if pen.thing.action == "steaming":
        for x in (-0.45, -0.1, 0.25):
            pen.line([(x, -0.55), (x + 0.12, -0.75), (x - 0.08, -0.95), (x + 0.05, -1.2)], (236, 236, 240), 0.11)
    pen.line(arc(0.62, 0.2, 0.34, 0.34, -90, 90), INK, width=0.34)
    pen.line(arc(0.62, 0.2, 0.34, 0.34, -90, 90), pen.colour, width=0.2)
    pen.shape([(-0.75, -0.35), (0.6, -0.35), (0.5, 0.85), (-0.65, 0.85)], pen.colour)
    pen.oval(-0.075, -0.35, 0.675, 0.16, (96, 60, 40))


def _bird(pen: _Pen) -> None:
    if pen.thing.action == "flying":
        pen.shape([(-0.25, 0.05), (-0.45, -0.95), (0.3, 0)], pen.colour)
    else:
        for x in (-0.1, 0.15):
            pen.line([(x, 0.4), (x, 0.9), (x + 0.18, 0.9)], (230, 140, 40), width=0.08)
    pen.shape([(-0.5, 0.05), (-1, -0.2), (-0.95, 0.3)], pen.colour)
    pen.shape([(0.75, -0.4), (1.1, -0.25), (0.75, -0.12)], (244, 150, 30))
    pen.oval(0, 0.1, 0.62, 0.36, pen.colour)
    pen.oval(0.55, -0.25, 0.3, 0.28, pen.colour)
    pen.oval(0.62, -0.3, 0.05, 0.05, RGB["white"] if pen.thing.colour == "black" else INK)
    if pen.thing.action == "flying":
        pen.shape([(-0.25, 0.1), (0.05, -1), (0.35, 0.1)], pen.colour)
    else:
        pen.line(arc(-0.1, 0, 0.35, 0.26, 20, 160), INK, width=0.07)


def _fish(pen: _Pen) -> None:
    pen.shape([(-0.45, 0), (-1, -0.5), (-0.85, 0), (-1, 0.5)], pen.colour)
    pen.shape([(-0.1, -0.35), (0.15, -0.75), (0.4, -0.3)], pen.colour)
    pen.oval(0.2, 0, 0.78, 0.46, pen.colour)
    pen.line(arc(0.2, 0, 0.3, 0.4, -55, 55), INK, width=0.07)
    pen.oval(0.68, -0.12, 0.08, 0.08, INK)


def _star(pen: _Pen) -> None:
    turns = [math.radians(36 * step - 90) for step in range(10)]
    reach = [1.0, 0.42] * 5
    pen.shape([(r * math.cos(a), r * math.sin(a)) for r, a in zip(reach, turns, strict=True)], pen.colour)
    if pen.thing.action == "shining":
        for angle in turns[1::2]:
            x, y = math.cos(angle), math.sin(angle)
            pen.line([(0.75 * x, 0.75 * y), (1.1 * x, 1.1 * y)], (250, 240, 170), width=0.08)
    else:
        pen.line([(0, -1), (0, -1.5)], INK, width=0.07)


def _flower(pen: _Pen) -> None:
    pen.line([(0, -0.1), (0, 1)], LEAF, width=0.14)
    for side in (-1, 1):
        pen.shape([(0, 0.85), (0.3 * side, 0.4), (0.62 * side, 0.38), (0.45 * side, 0.72)], LEAF)
    for step in range(6):
        angle = math.radians(60 * step)
        pen.oval(0.36 * math.cos(angle), -0.4 + 0.36 * math.sin(angle), 0.25, 0.25, pen.colour)
    pen.oval(0, -0.4, 0.2, 0.2, RGB["brown"] if pen.thing.colour == "yellow" else RGB["yellow"])


def _umbrella(pen: _Pen) -> None:
    pen.line([(0, -0.9), (0, 0.8), *arc(0.17, 0.8, 0.17, 0.17, 180, 0)], WOOD, width=0.11)
    hem = [point for x in (0.75, 0.25, -0.25, -0.75) for point in arc(x, 0, 0.25, 0.16, 0, -180)]
    pen.shape([*arc(0, 0, 1, 0.85, 180, 360), *hem], pen.colour)
    for x in (-0.5, 0.5):
        pen.line([(0, -0.85), (0.62 * x, -0.5), (x, 0)], INK, width=0.05)


def _balloon(pen: _Pen) -> None:
    pen.line([(0, 0.5), (0.12, 0.75), (-0.1, 1), (0.05, 1.3)], INK, width=0.06)
    pen.shape([(0, 0.4), (0.14, 0.62), (-0.14, 0.62)], pen.colour)
    pen.oval(0, -0.25, 0.62, 0.75, pen.colour)
    pen.line(arc(0, -0.25, 0.4, 0.52, 195, 260), (255, 255, 255), width=0.1)


_DRAWERS: dict[str, Callable[[_Pen], None]] = {
    "ball": _ball,
    "balloon": _balloon,
    "bird": _bird,
    "boat": _boat,
    "car": _car,
    "cup": _cup,
    "fish": _fish,
    "flower": _flower,
    "house": _house,
    "star": _star,
    "tree": _tree,
    "umbrella": _umbrella,
}
