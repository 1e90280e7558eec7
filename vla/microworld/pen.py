"""Draws shapes in a thing's own coordinates, on a picture and, if there is one, on a map of what is where."""

import math
from collections.abc import Sequence

from PIL import ImageDraw

INK = (30, 28, 34)
Colour = tuple[int, ...]
Number = int | float
Points = Sequence[tuple[Number, Number]]


class Pen:
    """Draws for one thing: x to the right (the way it faces), y downwards, both from -1 to 1 on its body.

    Attributes:
      colour: The thing's colour.
      action: What the thing does, such as "fly".
      streak: The colour of the streaks behind what moves, which has to show on the ground.
    """

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        mask: ImageDraw.ImageDraw | None,
        number: int,
        centre: tuple[Number, Number],
        radius: Number,
        flipped: bool,
        colour: Colour,
        action: str,
        ink: int,
        streak: Colour,
    ):
        """Hold the pen.

        Args:
          canvas: The picture, in a mode that blends.
          mask: The map of what is where; None where nobody asks.
          number: What the thing is called in the map.
          centre: The thing's centre in pixels.
          radius: Half the thing's extent in pixels.
          flipped: Whether it faces left.
          colour: Its colour.
          action: What it does.
          ink: Width of outlines in pixels.
          streak: Colour of the streaks behind what moves.
        """
        self._canvas, self._mask, self._number = canvas, mask, number
        self._x, self._y = centre
        self._radius, self._ink = radius, ink
        self._side = -1 if flipped else 1
        self._cos, self._sin = 1.0, 0.0
        self.colour, self.action, self.streak = colour, action, streak

    def tilt(self, degrees: Number) -> None:
        """From now on draw turned about the centre, forwards, so that a nose goes down."""
        self._cos, self._sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def shade(self, factor: Number) -> Colour:
        """The thing's colour, darker (below 1) or lighter (above 1)."""
        if factor <= 1:
            return tuple(int(c * factor) for c in self.colour)
        return tuple(int(c + (255 - c) * (factor - 1)) for c in self.colour)

    def shape(self, points: Points, fill: Colour | None = None, outlined: bool = True) -> None:
        """A filled polygon, in the thing's colour if no other is given."""
        corners = self._at(points)
        self._canvas.polygon(corners, fill or self.colour)
        if outlined:
            # A polygon's own outline has open corners when it is wide.
            self._canvas.line([*corners, *corners[:2]], INK, width=self._ink, joint="curve")
        if self._mask:
            self._mask.polygon(corners, self._number)
            if outlined:
                self._mask.line([*corners, *corners[:2]], self._number, width=self._ink, joint="curve")

    def oval(
        self, x: Number, y: Number, rx: Number, ry: Number, fill: Colour | None = None, outlined: bool = True
    ) -> None:
        """A filled ellipse."""
        self.shape(arc(x, y, rx, ry, 0, 360), fill, outlined)

    def line(self, points: Points, fill: Colour = INK, width: Number = 0.08) -> None:
        """A line that is part of the thing."""
        corners, pixels = self._at(points), max(self._ink, round(width * self._radius))
        self._canvas.line(corners, fill, width=pixels, joint="curve")
        if self._mask:
            self._mask.line(corners, self._number, width=pixels, joint="curve")

    def trace(self, points: Points, fill: Colour, width: Number = 0.09) -> None:
        """A line that shows what the thing does and is no part of it, such as steam."""
        self._canvas.line(self._at(points), fill, width=max(self._ink, round(width * self._radius)), joint="curve")

    def patch(self, points: Points, fill: Colour) -> None:
        """A filled polygon that is no part of the thing, such as its shadow or a wave before it."""
        self._canvas.polygon(self._at(points), fill)

    def cover(self, points: Points, fill: Colour) -> None:
        """A filled polygon in front of the thing that hides it, such as water."""
        corners = self._at(points)
        self._canvas.polygon(corners, fill)
        if self._mask:
            self._mask.polygon(corners, 0)

    def _at(self, points: Points) -> list[tuple[Number, Number]]:
        """Pixels of some points."""
        cos, sin, r, side = self._cos, self._sin, self._radius, self._side
        return [(self._x + side * r * (x * cos - y * sin), self._y + r * (x * sin + y * cos)) for x, y in points]


_CIRCLE = [(math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in range(0, 361, 15)]


def arc(x: Number, y: Number, rx: Number, ry: Number, start: Number, end: Number) -> list[tuple[Number, Number]]:
    """Points along an ellipse, angles in degrees clockwise from the right."""
    if (start, end) == (0, 360):
        return [(x + rx * cos, y + ry * sin) for cos, sin in _CIRCLE]
    steps = max(4, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]
