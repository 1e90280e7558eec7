"""Positions of the things in a scene, such that every spatial statement of a caption is true."""

import dataclasses
from collections.abc import Sequence
from random import Random

from vla.microworld.world import airborne

RELATIONS = ("left of", "right of", "behind", "in front of", "above", "below")
_INVERSE: dict[str, str] = dict(
    zip(RELATIONS, ("right of", "left of", "in front of", "behind", "below", "above"), strict=True)
)
# Radius (half the extent, in widths of the scene) of a small and of a big thing, by the number of things in the
# scene. The ranges never overlap, so "small" and "big" are visible.
RADII = {1: (0.14, 0.24), 2: (0.13, 0.2), 3: (0.12, 0.17)}
# Distance from the centre of a lying thing to the ground in radii, where it is not 1.
_LYING = {"chair": 0.7, "cup": 0.76, "fish": 0.46, "kite": 0.36, "umbrella": 0.85}
_ROADSIDE = ("house", "tree")
_COLUMNS = {"left": 0.28, "middle": 0.5, "right": 0.72}
_OF_THREE = {"left": 0.19, "middle": 0.5, "right": 0.81}


@dataclasses.dataclass(frozen=True)
class Spot:
    """Centre of one thing, from 0 (left, upper edge) to 1; half its extent in widths; and whether it faces left."""

    x: float
    y: float
    radius: float
    flipped: bool


@dataclasses.dataclass(frozen=True)
class Body:
    """The properties of a group that determine its position."""

    category: str
    size: str
    action: str
    count: int


def inverse(relation: str) -> str:
    """The relation seen from the other thing: "in front of" for "behind"."""
    return _INVERSE[relation]


def high(stuff: str, action: str) -> bool:
    """Whether a thing stays up in the air; one that jumps or bounces does not."""
    return airborne(stuff, action) and action not in ("bounce", "jump")


def feet(category: str, action: str) -> float:
    """Distance from the centre of a standing or lying thing down to the ground, in radii."""
    return _LYING.get(category, 1.0) if action == "lie" else 1.0


def possible_relations(stuff: str, first: Body, second: Body) -> tuple[str, ...]:
    """Relations that the first body can have to the second."""
    # Houses and trees stand beyond the road, too far away to be behind or below anything.
    if stuff == "road" and any(body.category in _ROADSIDE for body in (first, second)):
        return ("left of", "right of")
    up, other = high(stuff, first.action), high(stuff, second.action)
    if up and other:
        return ("left of", "right of", "above", "below")
    if up or other:
        return ("left of", "right of", "above" if up else "below")
    if airborne(stuff, first.action) or airborne(stuff, second.action):
        return ("left of", "right of")
    return ("left of", "right of", "behind", "in front of")


def arrange(
    rng: Random, stuff: str, bodies: Sequence[Body], relation: str | None, position: str | None
) -> tuple[list[tuple[Spot, ...]], str] | None:
    """Draw the spots of each group and the position of the first: "left", "middle" or "right".

    There are one to three groups with at most three things in total. The relation is of the first group to the second,
    one of `possible_relations`; None for a single group. None is returned if another position than the required one is
    drawn; None requires none.
    """
    columns = _columns(rng, bodies, relation)
    if position not in (None, columns[0][0]):
        return None
    total = sum(body.count for body in bodies)
    heights = [_height(rng, stuff, body, relation, i) for i, body in enumerate(bodies)]
    spots = []
    for (_, x), (y, stands), body in zip(columns, heights, bodies, strict=True):
        small, big = RADII[total]
        radius = (small if body.size == "small" else big) * rng.uniform(0.95, 1.05)
        x += rng.uniform(-0.02, 0.02)
        members = []
        for member in range(body.count):
            aside = (member - (body.count - 1) / 2) * 1.95 * radius
            centre = min(max(x + aside, 0.97 * radius), 1 - 0.97 * radius)
            down = 0.0 if body.count == 1 else rng.uniform(-0.04, 0.04)
            height = feet(body.category, body.action) * radius if stands else 0
            members.append(Spot(centre, y + down - height, radius, rng.random() < 0.5))
        if rng.random() < 0.5 or body.count == 1:
            members = [dataclasses.replace(spot, flipped=members[0].flipped) for spot in members]
        spots.append(tuple(members))
    return spots, columns[0][0]


def _columns(rng: Random, bodies: Sequence[Body], relation: str | None) -> list[tuple[str, float]]:
    names = list(_COLUMNS)
    if len(bodies) == 1:
        name = "middle" if bodies[0].count == 3 else rng.choice(names)
        return [(name, _COLUMNS[name])]
    beside = relation in ("left of", "right of")
    if len(bodies) == 3 and beside:
        # The third group takes a random column; the first two take the others, in the order of the relation.
        third = names.pop(rng.randrange(3))
        pair = names if relation == "left of" else names[::-1]
        return [(name, _OF_THREE[name]) for name in (*pair, third)]
    if beside:
        pair = ("left", "right") if relation == "left of" else ("right", "left")
        # A pair needs more width than a single thing: shift the boundary towards the single one.
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


def _height(rng: Random, stuff: str, body: Body, relation: str | None, group: int) -> tuple[float, bool]:
    """The y of a group, and whether it is that of the feet (True, standing) or of the centre (False, airborne)."""
    jitter = rng.uniform(-0.03, 0.03)
    wall, up = stuff == "brick wall", high(stuff, body.action)
    if group < 2 and relation in ("above", "below"):
        if (group == 0) == (relation == "above"):
            return 0.23 + jitter / 2, False
        if up:
            return 0.74 + jitter, False
    if stuff == "road" and body.category in _ROADSIDE:
        return 0.54 + jitter / 2, True
    if not airborne(stuff, body.action):
        if group < 2 and relation in ("behind", "in front of"):
            back = (group == 0) == (relation == "behind")
            return ((0.78 if wall else 0.66) if back else 0.94) + jitter / 2, True
        return 0.89 + jitter, True
    if not up:
        return 0.55 + jitter, False
    return (0.5 + 4 * jitter if stuff == "night sky" else 0.36 + jitter if wall else 0.25 + jitter), False
