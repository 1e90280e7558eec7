"""Where the things of a scene are, so that what is said of their places is so."""

import dataclasses
from collections.abc import Sequence
from random import Random

from vla.microworld.world import airborne

RELATIONS = ("left of", "right of", "behind", "in front of", "above", "below")
_INVERSE: dict[str, str] = dict(
    zip(RELATIONS, ("right of", "left of", "in front of", "behind", "below", "above"), strict=True)
)
# Half the extent of a small and of a big thing, by how many things there are; the two never meet.
RADII = {1: (0.14, 0.24), 2: (0.13, 0.2), 3: (0.12, 0.17)}
# How far below its centre a thing touches the ground, in radii, where that is not its whole radius.
_FEET = {
    ("chair", "lie"): 0.7,
    ("cup", "lie"): 0.76,
    ("fish", "lie"): 0.46,
    ("kite", "lie"): 0.36,
    ("umbrella", "lie"): 0.85,
}
_ROADSIDE = ("house", "tree")
_COLUMNS = {"left": 0.28, "middle": 0.5, "right": 0.72}
_OF_THREE = {"left": 0.19, "middle": 0.5, "right": 0.81}


@dataclasses.dataclass(frozen=True)
class Spot:
    """Where one thing is drawn.

    Attributes:
      x: Centre, from 0 (left edge) to 1.
      y: Centre, from 0 (upper edge) to 1.
      radius: Half its extent, in widths of the scene.
      flipped: Whether it faces left, not right.
    """

    x: float
    y: float
    radius: float
    flipped: bool


@dataclasses.dataclass(frozen=True)
class Body:
    """What matters of a group for its place: what its members are, whether small, what they do, how many they are."""

    kind: str
    size: str
    action: str
    count: int


def inverse(relation: str) -> str:
    """The relation read from the other end: of "behind", "in front of"."""
    return _INVERSE[relation]


def high(stuff: str, action: str) -> bool:
    """Whether a thing that does this there is up in the air, and does not only leave the ground for a moment."""
    return airborne(stuff, action) and action not in ("bounce", "jump")


def feet(kind: str, action: str) -> float:
    """How far below its centre a thing that stands or lies touches the ground, in radii."""
    return _FEET.get((kind, action), 1.0)


def possible_relations(stuff: str, first: Body, second: Body) -> tuple[str, ...]:
    """How the first may be placed to the second."""
    # What stands by the road is too far away to be behind or below anything.
    if stuff == "road" and any(body.kind in _ROADSIDE for body in (first, second)):
        return ("left of", "right of")
    up, other = high(stuff, first.action), high(stuff, second.action)
    if up and other:
        return ("left of", "right of", "above", "below")
    if up or other:
        return ("left of", "right of", "above" if up else "below")
    if airborne(stuff, first.action) or airborne(stuff, second.action):
        return ("left of", "right of")
    return ("left of", "right of", "behind", "in front of")


def place(
    rng: Random, stuff: str, bodies: Sequence[Body], relation: str | None, wanted: str | None
) -> tuple[list[tuple[Spot, ...]], str] | None:
    """The spots of each group and where the first is: "left", "middle" or "right".

    Args:
      rng: Source of chance.
      stuff: The ground.
      bodies: One to three groups of together at most three things.
      relation: Of the first to the second, one of `possible_relations`; None where there is no second.
      wanted: Where the first has to be; None for anywhere.

    Returns:
      None where chance led to another place than wanted.
    """
    columns = _columns(rng, bodies, relation)
    if wanted not in (None, columns[0][0]):
        return None
    total = sum(body.count for body in bodies)
    heights = [_height(rng, stuff, body, relation, i) for i, body in enumerate(bodies)]
    spots = []
    for (_, x), (y, stands), body in zip(columns, heights, bodies, strict=True):
        small, big = RADII[total]
        radius = (small if body.size == "small" else big) * rng.uniform(0.95, 1.05)
        x += rng.uniform(-0.02, 0.02)
        own = []
        for member in range(body.count):
            aside = (member - (body.count - 1) / 2) * 1.95 * radius
            down = 0.0 if body.count == 1 else rng.uniform(-0.04, 0.04)
            centre = min(max(x + aside, 0.97 * radius), 1 - 0.97 * radius)
            own.append(
                Spot(
                    centre,
                    y + down - (feet(body.kind, body.action) * radius if stands else 0),
                    radius,
                    rng.random() < 0.5,
                )
            )
        if rng.random() < 0.5 or body.count == 1:
            own = [dataclasses.replace(spot, flipped=own[0].flipped) for spot in own]
        spots.append(tuple(own))
    return spots, columns[0][0]


def _columns(rng: Random, bodies: Sequence[Body], relation: str | None) -> list[tuple[str, float]]:
    """The name and the x of each group's column."""
    names = list(_COLUMNS)
    if len(bodies) == 1:
        name = "middle" if bodies[0].count == 3 else rng.choice(names)
        return [(name, _COLUMNS[name])]
    beside = relation in ("left of", "right of")
    if len(bodies) == 3 and beside:
        # The third has any of the three columns, the first and the second the others, in order.
        third = names.pop(rng.randrange(3))
        pair = names if relation == "left of" else names[::-1]
        return [(name, _OF_THREE[name]) for name in (*pair, third)]
    if beside:
        pair = ("left", "right") if relation == "left of" else ("right", "left")
        # Of three things, two side by side need the greater part of the width.
        shift = {(1, 2): -0.07, (2, 1): 0.07}.get((bodies[0].count, bodies[-1].count), 0.0)
        shift = shift if relation == "left of" else -shift
        return [(name, _COLUMNS[name] + shift) for name in pair]
    name = rng.choice(names) if len(bodies) == 2 else rng.choice(("left", "right"))
    x = _COLUMNS[name]
    near = 0.03 if relation in ("above", "below") else rng.uniform(0.13, 0.17)
    side = {"left": 1.0, "right": -1.0}.get(name) or rng.choice((-1.0, 1.0))
    columns = [(name, x), (name, x + side * near)]
    if len(bodies) == 3:
        columns.append(("right", 0.83) if name == "left" else ("left", 0.17))
    return columns


def _height(rng: Random, stuff: str, body: Body, relation: str | None, which: int) -> tuple[float, bool]:
    """The y of a group, of its feet where it stands (True) or of its centre where it does not."""
    jitter = rng.uniform(-0.03, 0.03)
    wall, up = stuff == "brick wall", high(stuff, body.action)
    if which < 2 and relation in ("above", "below"):
        if (which == 0) == (relation == "above"):
            return 0.23 + jitter / 2, False
        if up:
            return 0.74 + jitter, False
    if stuff == "road" and body.kind in _ROADSIDE:
        return 0.54 + jitter / 2, True
    if not airborne(stuff, body.action):
        if which < 2 and relation in ("behind", "in front of"):
            back = (which == 0) == (relation == "behind")
            return ((0.78 if wall else 0.66) if back else 0.94) + jitter / 2, True
        return 0.89 + jitter, True
    if not up:
        return 0.55 + jitter, False
    return (0.5 + 4 * jitter if stuff == "night sky" else 0.36 + jitter if wall else 0.25 + jitter), False
