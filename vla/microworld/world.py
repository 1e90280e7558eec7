"""What there is in the microworld: kinds of stuff and of things, what they do where, and how they may look."""

import dataclasses

COLOURS = ("black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow")
SIZES = ("small", "big")
PLACES = ("left", "middle", "right")
# What the sky does over an open ground; indoors, at a wall and at night there is no such sky.
WEATHER = ("sunny", "cloudy", "sunset")


@dataclasses.dataclass(frozen=True)
class Stuff:
    """A kind of ground or background.

    Attributes:
      open: Whether there is sky over it.
      lost: Colours in which a thing would be lost on it.
      things: What is found there, and what each does there.
    """

    open: bool
    lost: tuple[str, ...]
    things: dict[str, tuple[str, ...]]


# What is found with which stuff, doing what: a world in which everything is everywhere alike has no meaning.
STUFF: dict[str, Stuff] = {
    "brick wall": Stuff(
        False,
        ("red", "orange", "brown"),
        {
            "balloon": ("float",),
            "car": ("wait",),
            "cat": ("sit", "sleep"),
            "chair": ("stand",),
            "flower": ("bloom",),
            "star": ("hang",),
            "umbrella": ("stand", "lie"),
        },
    ),
    "grass": Stuff(
        True,
        ("green",),
        {
            "ball": ("lie", "roll", "bounce"),
            "balloon": ("float",),
            "bird": ("sit", "fly"),
            "cat": ("sit", "sleep", "walk"),
            "flower": ("bloom",),
            "house": ("stand",),
            "kite": ("fly", "lie"),
            "tree": ("grow",),
        },
    ),
    "night sky": Stuff(
        False,
        ("black", "blue", "purple", "brown"),
        {
            "balloon": ("float",),
            "bird": ("fly",),
            "kite": ("fly",),
            "plane": ("fly",),
            "star": ("shine", "fall"),
        },
    ),
    "road": Stuff(
        True,
        ("black",),
        {
            "ball": ("lie", "roll", "bounce"),
            "bird": ("sit", "fly"),
            "car": ("wait", "speed"),
            "cat": ("sit", "walk"),
            "house": ("stand",),
            "plane": ("stand", "fly"),
            "tree": ("grow",),
        },
    ),
    "sand": Stuff(
        True,
        ("yellow", "orange", "brown"),
        {
            "ball": ("lie", "bounce"),
            "bird": ("sit", "fly"),
            "chair": ("stand",),
            "cup": ("stand", "lie"),
            "fish": ("lie",),
            "kite": ("fly", "lie"),
            "umbrella": ("stand", "lie"),
        },
    ),
    "sea": Stuff(
        True,
        ("blue",),
        {
            "ball": ("float",),
            "bird": ("fly",),
            "boat": ("sail", "drift"),
            "fish": ("swim", "jump"),
            "plane": ("fly",),
        },
    ),
    "snow": Stuff(
        True,
        ("white",),
        {
            "bird": ("sit", "fly"),
            "car": ("wait", "speed"),
            "cat": ("sit", "walk"),
            "house": ("stand",),
            "kite": ("fly",),
            "tree": ("grow",),
        },
    ),
    "wooden floor": Stuff(
        False,
        ("orange", "brown"),
        {
            "ball": ("lie", "roll", "bounce"),
            "balloon": ("float",),
            "cat": ("sit", "sleep", "walk"),
            "chair": ("stand", "lie"),
            "cup": ("stand", "steam", "lie"),
            "umbrella": ("stand", "lie"),
        },
    ),
}

# Which colours a kind of thing comes in.
KINDS: dict[str, tuple[str, ...]] = {
    "ball": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "balloon": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "bird": ("red", "yellow", "blue", "black", "white", "brown"),
    "boat": ("red", "yellow", "green", "white", "brown", "black"),
    "car": ("red", "yellow", "green", "blue", "purple", "white", "black"),
    "cat": ("black", "white", "brown", "orange"),
    "chair": ("red", "yellow", "green", "blue", "white", "black", "pink"),
    "cup": ("red", "yellow", "green", "blue", "pink", "white"),
    "fish": ("red", "orange", "yellow", "green", "purple", "pink", "white"),
    "flower": ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
    "house": ("red", "yellow", "blue", "pink", "white", "brown"),
    "kite": ("red", "orange", "yellow", "green", "blue", "purple", "pink"),
    "plane": ("red", "yellow", "blue", "white", "orange"),
    "star": ("red", "yellow", "white", "pink", "blue"),
    "tree": ("green", "yellow", "red", "pink"),
    "umbrella": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
}
ACTIONS = tuple(sorted({action for stuff in STUFF.values() for actions in stuff.things.values() for action in actions}))

# Done by a ball on the sea, floating is not done in the air.
AIRBORNE = frozenset({"bounce", "fall", "float", "fly", "hang", "jump", "shine"})


def airborne(stuff: str, action: str) -> bool:
    """Whether a thing that does this there touches no ground."""
    return action in AIRBORNE and not (stuff == "sea" and action == "float")


def colours(stuff: str, kind: str) -> tuple[str, ...]:
    """The colours that a kind of thing may have on a kind of stuff."""
    # A tree is known by its crown wherever it stands: green on grass is no loss.
    lost = () if kind == "tree" else STUFF[stuff].lost
    return tuple(colour for colour in KINDS[kind] if colour not in lost)
