"""Draws each category of things from polygons, such that its colour and its action are visible."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from PIL import ImageDraw

INK = (30, 28, 34)
Colour = tuple[int, ...]
Number = int | float
Points = Sequence[tuple[Number, Number]]
GLASS = (186, 222, 240)
WOOD = (112, 72, 40)
LEAF = (50, 124, 42)
WHITE = (250, 250, 248)
BEAK = (242, 150, 34)
STEEL = (188, 188, 194)
WATER = (52, 122, 190)


@dataclasses.dataclass
class Pen:
    """Draws one thing in its own coordinates: x points where it faces, y down; its body spans -1 to 1.

    Attributes:
      canvas: The image, in a mode that blends.
      mask: The map of thing numbers; None if it is not needed.
      number: Number of the thing in the map.
      centre: Centre of the thing in pixels.
      radius: Half the extent of the thing in pixels.
      flipped: Whether it faces left.
      colour: Colour of the thing.
      action: Action of the thing, such as "fly".
      ink: Width of outlines in pixels.
      streak: Colour of motion streaks, visible on the ground of the scene.
    """

    canvas: ImageDraw.ImageDraw
    mask: ImageDraw.ImageDraw | None
    number: int
    centre: tuple[Number, Number]
    radius: Number
    flipped: bool
    colour: Colour
    action: str
    ink: int
    streak: Colour
    _cos, _sin = 1.0, 0.0

    def tilt(self, degrees: Number) -> None:
        """Rotate everything drawn from now on about the centre, forwards (the front goes down)."""
        self._cos, self._sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def shade(self, factor: Number) -> Colour:
        """The colour of the thing, darker for a factor below 1, lighter for a factor from 1 to 2."""
        if factor <= 1:
            return tuple(int(c * factor) for c in self.colour)
        return tuple(int(c + (255 - c) * (factor - 1)) for c in self.colour)

    def shape(self, points: Points, fill: Colour | None = None, outlined: bool = True) -> None:
        """Draw a filled polygon, by default in the colour of the thing."""
        self._draw("polygon", points, fill or self.colour, self.number)
        if outlined:
            # The outline option of PIL's polygon leaves gaps at the corners of wide outlines.
            self._draw("line", [*points, *points[:2]], INK, self.number, width=self.ink, joint="curve")

    def oval(
        self, x: Number, y: Number, rx: Number, ry: Number, fill: Colour | None = None, outlined: bool = True
    ) -> None:
        """Draw a filled ellipse."""
        self.shape(arc(x, y, rx, ry, 0, 360), fill, outlined)

    def line(self, points: Points, fill: Colour = INK, width: Number = 0.08) -> None:
        """Draw a line that is part of the thing."""
        self._draw("line", points, fill, self.number, width=self._pixels(width), joint="curve")

    def trace(self, points: Points, fill: Colour, width: Number = 0.09) -> None:
        """Draw a line that shows the action and is not part of the thing, such as steam."""
        self._draw("line", points, fill, None, width=self._pixels(width), joint="curve")

    def patch(self, points: Points, fill: Colour) -> None:
        """Draw a filled polygon that is not part of the thing, such as a splash."""
        self._draw("polygon", points, fill, None)

    def cover(self, points: Points, fill: Colour) -> None:
        """Draw a filled polygon that hides the thing, such as water in front of it."""
        self._draw("polygon", points, fill, 0)

    def _pixels(self, width: Number) -> int:
        return max(self.ink, round(width * self.radius))

    def _draw(self, form: str, points: Points, fill: Colour, number: int | None, **options: Any) -> None:
        """Draw a "polygon" or a "line", in the map with a number; None leaves the map unchanged."""
        cos, sin, r, side = self._cos, self._sin, self.radius, -1 if self.flipped else 1
        left, top = self.centre
        corners = [(left + side * r * (x * cos - y * sin), top + r * (x * sin + y * cos)) for x, y in points]
        getattr(self.canvas, form)(corners, fill, **options)
        if self.mask and number is not None:
            getattr(self.mask, form)(corners, number, **options)


_CIRCLE = [(math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in range(0, 361, 15)]


def arc(x: Number, y: Number, rx: Number, ry: Number, start: Number, end: Number) -> list[tuple[Number, Number]]:
    """Points on an ellipse, angles in degrees clockwise from the right."""
    if (start, end) == (0, 360):
        return [(x + rx * cos, y + ry * sin) for cos, sin in _CIRCLE]
    steps = max(4, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _house(pen: Pen) -> None:
    pen.shape([(0.35, -0.9), (0.6, -0.9), (0.6, -0.3), (0.35, -0.3)], pen.shade(0.6))
    pen.shape([(-0.75, -0.15), (0.75, -0.15), (0.75, 1), (-0.75, 1)])
    pen.shape([(-1, -0.12), (0, -0.95), (1, -0.12)], (96, 54, 46))
    pen.shape([(-0.2, 0.35), (0.2, 0.35), (0.2, 1), (-0.2, 1)], WOOD)
    for x in (-0.5, 0.5):
        pen.shape([(x - 0.17, 0.1), (x + 0.17, 0.1), (x + 0.17, 0.45), (x - 0.17, 0.45)], GLASS)


def _tree(pen: Pen) -> None:
    pen.shape([(-0.15, 0.1), (0.15, 0.1), (0.2, 1), (-0.2, 1)], WOOD)
    lobes = [(-0.42, -0.1), (0.42, -0.1), (0, -0.52)]
    for x, y in lobes:
        pen.oval(x, y, 0.5, 0.46)
    # Draw the crown again without outlines, so that the lobes do not look like balls.
    for x, y in [*lobes, (0, -0.15)]:
        pen.oval(x, y, 0.44, 0.4, outlined=False)
    for x, y in [(-0.35, -0.25), (0.1, -0.65), (0.45, -0.2)]:
        pen.oval(x, y, 0.15, 0.11, pen.shade(1.35), outlined=False)


def _flower(pen: Pen) -> None:
    pen.line([(0, -0.1), (0, 1)], LEAF, width=0.16)
    for side in (-1, 1):
        pen.shape([(0, 0.9), (0.3 * side, 0.42), (0.66 * side, 0.4), (0.45 * side, 0.76)], LEAF)
    for step in range(6):
        angle = math.radians(60 * step)
        pen.oval(0.4 * math.cos(angle), -0.42 + 0.4 * math.sin(angle), 0.27, 0.27)
    pen.oval(0, -0.42, 0.22, 0.22, (250, 214, 44) if pen.colour[2] > 80 or pen.colour[1] < 120 else (120, 72, 36))


def _car(pen: Pen) -> None:
    if pen.action == "speed":
        for y in (-0.2, 0.1, 0.4):
            pen.trace([(-1.7, y), (-1.1, y)], pen.streak, 0.12)
    pen.shape([(-0.62, 0.05), (-0.42, -0.5), (0.28, -0.5), (0.58, 0.05)])
    pen.shape([(-0.46, 0), (-0.32, -0.38), (-0.07, -0.38), (-0.07, 0)], GLASS)
    pen.shape([(0.05, 0), (0.05, -0.38), (0.22, -0.38), (0.43, 0)], GLASS)
    pen.shape([(-1, 0.02), (0.82, 0.02), (1, 0.2), (1, 0.6), (-1, 0.6)])
    pen.shape([(0.84, 0.16), (1, 0.2), (1, 0.34), (0.84, 0.34)], (255, 240, 150))
    for x in (-0.52, 0.52):
        pen.oval(x, 0.64, 0.32, 0.32, INK)
        pen.oval(x, 0.64, 0.14, 0.14, STEEL, outlined=False)


def _boat(pen: Pen) -> None:
    if pen.action == "sail":
        pen.line([(0, 0.4), (0, -1)], WOOD, width=0.1)
        pen.shape([(0.08, -0.95), (0.9, 0.22), (0.08, 0.22)], WHITE)
        pen.shape([(-0.08, -0.75), (-0.7, 0.22), (-0.08, 0.22)], WHITE)
    else:
        pen.shape([(-0.5, 0.4), (-0.5, -0.2), (0.2, -0.2), (0.38, 0.4)], WHITE)
        pen.shape([(-0.2, 0.1), (-0.2, -0.1), (0.14, -0.1), (0.2, 0.1)], GLASS)
        pen.shape([(-0.42, -0.2), (-0.42, -0.55), (-0.22, -0.55), (-0.22, -0.2)], pen.shade(0.8))
    pen.shape([(-1, 0.38), (1, 0.38), (0.68, 1), (-0.7, 1)])
    pen.patch([(-1.1, 1.05), (1.1, 1.05), (0.8, 0.86), (-0.8, 0.88)], (*WATER, 150))


def _plane(pen: Pen) -> None:
    if pen.action == "fly":
        pen.tilt(-12)
        pen.trace([(-1.5, 0.05), (-1.05, 0.05)], pen.streak, 0.1)
    else:
        for x in (-0.3, 0.55):
            pen.line([(x, 0.2), (x, 0.75)], STEEL, width=0.1)
            pen.oval(x, 0.84, 0.16, 0.16, INK)
    pen.shape([(-0.95, -0.75), (-0.68, -0.75), (-0.38, -0.05), (-0.85, 0.05)])
    pen.shape([(-0.95, -0.02), (-0.7, -0.16), (0.55, -0.2), (0.9, -0.08), (1, 0.1), (0.85, 0.26), (-0.45, 0.3)])
    pen.shape([(0.58, -0.14), (0.84, -0.06), (0.88, 0.04), (0.58, 0.04)], GLASS)
    for x in (-0.3, -0.02, 0.26):
        pen.oval(x, -0.03, 0.08, 0.08, GLASS, outlined=False)
    pen.shape([(0.2, 0.16), (-0.15, 0.16), (-0.6, 0.72), (-0.35, 0.75)], pen.shade(0.8))


def _ball(pen: Pen) -> None:
    if pen.action == "bounce":
        for x in (-0.5, 0, 0.5):
            pen.trace([(x, 1.0), (x, 1.4)], pen.streak, 0.1)
    if pen.action == "roll":
        for y in (-0.45, 0, 0.45):
            pen.trace([(-1.75, y), (-1.12 - abs(y) * 0.1, y)], pen.streak, 0.11)
        pen.tilt(40)
    pen.oval(0, 0, 0.94, 0.94)
    stripe = pen.shade(1.75) if sum(pen.colour) < 690 else (176, 176, 190)
    pen.shape([*arc(0, 0, 0.9, 0.3, 0, 180), *arc(0, 0, 0.9, 0.06, 180, 0)], stripe, outlined=False)
    pen.line(arc(0, 0.05, 0.92, 0.28, 5, 175), INK, width=0.05)
    pen.oval(-0.3, -0.5, 0.2, 0.14, pen.shade(1.8), outlined=False)
    if pen.action == "float":
        pen.tilt(0)
        pen.cover([(-1.1, 1.05), (-1.1, 0.6), (-0.4, 0.5), (0.3, 0.62), (1.1, 0.52), (1.1, 1.05)], WATER)


def _balloon(pen: Pen) -> None:
    pen.line([(0, 0.5), (0.12, 0.75), (-0.1, 0.95), (0.05, 1.15)], INK, width=0.05)
    pen.shape([(0, 0.38), (0.16, 0.62), (-0.16, 0.62)])
    pen.oval(0, -0.28, 0.66, 0.74)
    pen.oval(-0.24, -0.55, 0.13, 0.2, pen.shade(1.75), outlined=False)


def _kite(pen: Pen) -> None:
    flat = 0.5 if pen.action == "lie" else 1.0
    if pen.action == "fly":
        pen.tilt(18)
        pen.trace([(0, 0.05), (-0.25, 0.9), (-0.7, 1.8)], (240, 240, 240, 220), 0.05)
    else:
        pen.tilt(80)
    tail = [(0, 0.45), (0.16, 0.68), (-0.1, 0.88), (0.08, 1.1)]
    pen.line(tail, INK, width=0.06)
    for x, y in tail[1:]:
        pen.shape(
            [(x - 0.16, y - 0.09), (x + 0.16, y + 0.09), (x + 0.16, y - 0.09), (x - 0.16, y + 0.09)], pen.shade(0.8)
        )
    pen.shape([(0, -1), (0.68 * flat, -0.3), (0, 0.5), (-0.68 * flat, -0.3)])
    pen.shape([(0, -0.3), (0.68 * flat, -0.3), (0, 0.5)], pen.shade(1.5), outlined=False)
    pen.line([(0, -1), (0, 0.5)], INK, width=0.05)
    pen.line([(-0.68 * flat, -0.3), (0.68 * flat, -0.3)], INK, width=0.05)


def _cup(pen: Pen) -> None:
    if pen.action == "steam":
        for x in (-0.4, 0.0, 0.4):
            pen.trace([(x, -0.6), (x + 0.13, -0.85), (x - 0.1, -1.1), (x + 0.05, -1.4)], (255, 255, 255, 230), 0.12)
    if pen.action == "lie":
        pen.tilt(-82)
    pen.line(arc(0.6, 0.2, 0.34, 0.36, -90, 90), INK, width=0.34)
    pen.line(arc(0.6, 0.2, 0.34, 0.36, -90, 90), pen.colour, width=0.2)
    pen.shape([(-0.78, -0.45), (0.62, -0.45), (0.5, 1), (-0.66, 1)])
    pen.oval(-0.08, -0.45, 0.7, 0.18, (110, 70, 46) if pen.action == "steam" else pen.shade(0.55))


def _chair(pen: Pen) -> None:
    if pen.action == "lie":
        pen.tilt(-90)
    for x in (-0.5, -0.2, 0.32, 0.58):
        pen.line([(x, 0.2), (x, 0.98)], pen.shade(0.65) if pen.colour != INK else STEEL, width=0.16)
    pen.shape([(-0.66, -1), (-0.36, -1), (-0.36, 0.2), (-0.66, 0.2)])
    pen.shape([(-0.68, 0.05), (0.5, 0.05), (0.72, 0.32), (-0.68, 0.32)])
    pen.line([(-0.51, -0.8), (-0.51, -0.05)], pen.shade(0.65), width=0.06)


def _umbrella(pen: Pen) -> None:
    if pen.action == "lie":
        pen.tilt(112)
    pen.line([(0, -0.9), (0, 0.82), *arc(0.17, 0.82, 0.17, 0.17, 180, 0)], WOOD, width=0.12)
    hem = [point for x in (0.75, 0.25, -0.25, -0.75) for point in arc(x, 0, 0.25, 0.16, 0, -180)]
    pen.shape([*arc(0, 0, 1, 0.85, 180, 360), *hem])
    pen.shape([(0, -0.84), (0.3, -0.5), (0.46, -0.04), (0.04, -0.06)], pen.shade(1.3), outlined=False)
    for x in (-0.5, 0.0, 0.5):
        pen.line([(0, -0.85), (0.62 * x, -0.5), (x, 0)], INK, width=0.04)


def _bird(pen: Pen) -> None:
    flies = pen.action == "fly"
    if flies:
        pen.shape([(-0.2, 0.1), (-0.55, -0.9), (0.35, 0)], pen.shade(0.8))
    else:
        for x in (-0.1, 0.15):
            pen.line([(x, 0.5), (x, 0.96), (x + 0.2, 0.96)], BEAK, width=0.09)
    pen.shape([(-0.5, 0.1), (-1, -0.1), (-0.95, 0.35)])
    pen.shape([(0.74, -0.42), (1.1, -0.26), (0.74, -0.12)], BEAK)
    pen.oval(0, 0.16, 0.62, 0.4)
    pen.oval(0.52, -0.25, 0.32, 0.3)
    pen.oval(0.62, -0.3, 0.07, 0.07, WHITE if sum(pen.colour) < 200 else INK, outlined=False)
    if flies:
        pen.shape([(-0.3, 0.16), (0.0, -1), (0.35, 0.12)])
    else:
        pen.shape([(-0.5, 0.05), (0.2, 0.0), (0.1, 0.3), (-0.3, 0.36)], pen.shade(0.8))


def _fish(pen: Pen) -> None:
    if pen.action == "jump":
        for x, y in ((-0.9, 0.75), (-0.55, 1.0), (-0.1, 0.9), (-1.2, 1.05)):
            pen.patch(arc(x, y, 0.1, 0.14, 0, 360), (235, 246, 255, 240))
        pen.tilt(-48)
    if pen.action == "lie":
        pen.tilt(10)
    pen.shape([(-0.42, 0), (-1, -0.5), (-0.82, 0), (-1, 0.5)])
    pen.shape([(-0.15, -0.35), (0.1, -0.75), (0.4, -0.32)], pen.shade(0.8))
    pen.oval(0.2, 0, 0.78, 0.48)
    pen.line(arc(0.22, 0, 0.28, 0.4, -55, 55), INK, width=0.06)
    pen.oval(0.68, -0.12, 0.11, 0.11, WHITE)
    pen.oval(0.7, -0.12, 0.05, 0.05, INK, outlined=False)
    if pen.action == "swim":
        pen.cover([(-1.2, 0.78), (-1.2, 0.3), (-0.5, 0.2), (0.1, 0.34), (0.7, 0.2), (1.2, 0.3), (1.2, 0.78)], WATER)
        pen.trace([(-1.2, 0.3), (-0.5, 0.2), (0.1, 0.34), (0.7, 0.2), (1.2, 0.3)], (200, 226, 244), 0.1)


def _cat(pen: Pen) -> None:
    eye = (250, 226, 90) if sum(pen.colour) < 200 else INK
    if pen.action == "sit":
        pen.line([*arc(-0.55, 0.62, 0.32, 0.3, 60, 300)], pen.colour, width=0.2)
        pen.oval(-0.02, 0.5, 0.5, 0.52)
        pen.oval(0.2, 0.9, 0.2, 0.12)
        head = (0.08, -0.3)
    elif pen.action == "walk":
        pen.line([(-0.7, 0.1), (-0.95, -0.3), (-0.85, -0.75)], pen.colour, width=0.2)
        for x, lean in ((-0.6, -0.12), (-0.32, 0.14), (0.2, -0.12), (0.46, 0.14)):
            pen.line([(x, 0.3), (x + lean, 0.98)], INK, width=0.26)
            pen.line([(x, 0.3), (x + lean, 0.94)], pen.shade(0.85), width=0.17)
        pen.oval(-0.1, 0.22, 0.72, 0.34)
        head = (0.6, -0.22)
    else:
        pen.oval(-0.1, 0.55, 0.86, 0.44)
        pen.line(arc(-0.1, 0.62, 0.72, 0.32, 40, 170), INK, width=0.06)
        pen.line(arc(-0.1, 0.74, 0.78, 0.2, 30, 160), pen.shade(0.8), width=0.14)
        head = (0.5, 0.3)
    x, y = head
    for side in (-1, 1):
        pen.shape([(x + 0.12 * side, y - 0.25), (x + 0.36 * side, y - 0.62), (x + 0.42 * side, y - 0.08)])
    pen.oval(x, y, 0.42, 0.36)
    for side in (-1, 1):
        if pen.action == "sleep":
            pen.line([(x + 0.1 * side, y), (x + 0.28 * side, y + 0.02)], eye, width=0.06)
        else:
            pen.oval(x + 0.17 * side, y - 0.04, 0.08, 0.1, eye, outlined=False)
    pen.shape([(x - 0.07, y + 0.1), (x + 0.07, y + 0.1), (x, y + 0.18)], (236, 140, 150), outlined=False)


def _star(pen: Pen) -> None:
    turns = [math.radians(36 * step - 90) for step in range(10)]
    if pen.action == "fall":
        for x, y in ((-0.75, -0.35), (-0.45, -0.62), (-0.1, -0.85)):
            pen.trace([(x, y), (x - 0.75, y - 0.75)], (255, 248, 190, 200), 0.1)
    if pen.action == "hang":
        pen.line([(0, -0.95), (0, -1.5)], INK, width=0.06)
    if pen.action == "shine":
        for angle in turns[1::2]:
            x, y = math.cos(angle), math.sin(angle)
            pen.trace([(0.7 * x, 0.7 * y), (1.15 * x, 1.15 * y)], (255, 248, 190, 230), 0.09)
    reach = [1.0, 0.42] * 5
    pen.shape([(r * math.cos(a), r * math.sin(a)) for r, a in zip(reach, turns, strict=True)])


_ALL = (_ball, _balloon, _bird, _boat, _car, _cat, _chair, _cup, _fish, _flower, _house, _kite, _plane, _star, _tree)
SHAPES: dict[str, Callable[[Pen], None]] = {shape.__name__.removeprefix("_"): shape for shape in (*_ALL, _umbrella)}
