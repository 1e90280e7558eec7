"""What there is in the microworld, and which scenes a seed makes of it."""

import dataclasses

import numpy as np

# What is found with which stuff, doing what: a world in which everything is everywhere alike has no meaning.
WORLD: dict[str, dict[str, tuple[str, ...]]] = {
    "grass": {
        "house": ("standing",),
        "tree": ("growing",),
        "ball": ("lying", "bouncing"),
        "flower": ("blooming",),
        "bird": ("sitting", "flying"),
        "umbrella": ("standing",),
    },
    "sea": {"boat": ("sailing", "drifting"), "fish": ("swimming",), "bird": ("flying",)},
    "sand": {
        "umbrella": ("standing",),
        "ball": ("lying", "bouncing"),
        "bird": ("sitting", "flying"),
        "cup": ("standing", "steaming"),
        "fish": ("lying",),
    },
    "snow": {
        "house": ("standing",),
        "tree": ("growing",),
        "bird": ("sitting", "flying"),
        "ball": ("lying",),
        "car": ("waiting", "speeding"),
    },
    "brick wall": {
        "star": ("hanging",),
        "balloon": ("floating",),
        "flower": ("blooming",),
        "umbrella": ("standing",),
        "car": ("waiting",),
    },
    "wooden floor": {
        "cup": ("standing", "steaming"),
        "ball": ("lying", "bouncing"),
        "umbrella": ("standing",),
        "balloon": ("floating",),
    },
    "night sky": {"star": ("shining",), "balloon": ("floating",), "bird": ("flying",)},
    "road": {
        "car": ("waiting", "speeding"),
        "ball": ("lying", "bouncing"),
        "bird": ("sitting", "flying"),
        "umbrella": ("standing",),
    },
}
COLOURS: dict[str, tuple[str, ...]] = {
    "ball": ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
    "balloon": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "bird": ("red", "yellow", "blue", "black", "white", "brown"),
    "boat": ("red", "yellow", "white", "brown"),
    "car": ("red", "yellow", "green", "blue", "purple", "white", "black"),
    "cup": ("red", "yellow", "green", "blue", "pink", "white"),
    "fish": ("red", "orange", "yellow", "purple", "pink", "white"),
    "flower": ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
    "house": ("red", "yellow", "blue", "pink", "white", "brown"),
    "star": ("red", "yellow", "white", "pink"),
    "tree": ("green", "yellow", "red", "pink"),
    "umbrella": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
}
# Colours in which a thing would be lost on its ground.
LOST: dict[str, tuple[str, ...]] = {
    "grass": (),
    "sea": ("blue",),
    "sand": ("yellow", "orange", "brown"),
    "snow": ("white",),
    "brick wall": ("red", "orange", "brown"),
    "wooden floor": ("orange", "brown"),
    "night sky": ("black", "blue", "purple"),
    "road": ("black",),
}
AIRBORNE = frozenset({"bouncing", "floating", "flying", "hanging", "shining"})
SIZES = {"small": 0.15, "big": 0.21}
PLACES = {"left": 0.27, "middle": 0.5, "right": 0.73}


@dataclasses.dataclass(frozen=True)
class Thing:
    """One thing in a scene.

    Attributes:
      kind: What it is, such as "house".
      colour: Its colour's name.
      size: "small" or "big".
      place: "left", "middle" or "right".
      action: What it does, as a participle such as "flying"; it can be seen in the drawing.
      x: Centre, from 0 (left edge) to 1.
      y: Centre, from 0 (upper edge) to 1.
      radius: Half its extent, in widths of the scene.
    """

    kind: str
    colour: str
    size: str
    place: str
    action: str
    x: float
    y: float
    radius: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A ground of one kind of stuff with one or two things on it.

    Attributes:
      stuff: What the ground is, such as "grass".
      things: The things from left to right, of different kinds.
      grain: Seed of the ground's texture.
    """

    stuff: str
    things: tuple[Thing, ...]
    grain: int


def scene(seed: int, index: int) -> Scene:
    """The scene of number `index` in the world of `seed`, the same whatever other scenes are made."""
    rng = np.random.default_rng([seed, index])
    stuff = str(rng.choice(sorted(WORLD)))
    kinds = rng.choice(sorted(WORLD[stuff]), size=rng.integers(1, 3), replace=False)
    places = ("left", "right") if len(kinds) == 2 else (str(rng.choice(sorted(PLACES))),)
    things = tuple(_thing(rng, stuff, str(kind), place) for kind, place in zip(kinds, places, strict=True))
    return Scene(stuff, things, grain=int(rng.integers(2**31)))


def _thing(rng: np.random.Generator, stuff: str, kind: str, place: str) -> Thing:
    """A thing of this kind as it may be on this ground."""
    colours = [colour for colour in COLOURS[kind] if colour not in LOST[stuff]]
    colour, size = str(rng.choice(colours)), str(rng.choice(sorted(SIZES)))
    action = str(rng.choice(WORLD[stuff][kind]))
    dx, dy, grown = rng.uniform(-1, 1, size=3)
    height = 0.36 if action in AIRBORNE else 0.6
    return Thing(
        kind=kind,
        colour=colour,
        size=size,
        place=place,
        action=action,
        x=PLACES[place] + 0.025 * float(dx),
        y=height + 0.08 * float(dy),
        radius=SIZES[size] * (1 + 0.07 * float(grown)),
    )
