"""The vocabulary of the microworld: grounds, things, what each thing does on each ground, and its colours."""

import dataclasses

COLOURS = ("black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow")
SIZES = ("small", "big")
POSITIONS = ("left", "middle", "right")
# Weather exists over open grounds only: not indoors, at a wall or at night.
WEATHER = ("sunny", "cloudy", "sunset")


@dataclasses.dataclass(frozen=True)
class Stuff:
    """A ground or background ("stuff", as COCO-Stuff calls what cannot be counted).

    Attributes:
      open: Whether the sky is visible above it.
      camouflage: Colours in which a thing would be invisible on it.
      things: The things that occur on it, with the actions of each.
    """

    open: bool
    camouflage: tuple[str, ...]
    things: dict[str, tuple[str, ...]]


_OPEN = frozenset({"grass", "road", "sand", "sea", "snow"})
_CAMOUFLAGE = {
    "brick wall": "red orange brown",
    "grass": "green",
    "night sky": "black blue purple brown",
    "road": "black",
    "sand": "yellow orange brown",
    "sea": "blue",
    "snow": "white",
    "wooden floor": "orange brown",
}
# Things and actions depend on the ground, so that co-occurrence carries meaning, as in real images.
_THINGS = {
    "brick wall": "balloon: float; car: wait; cat: sit sleep; chair: stand; flower: bloom; star: hang; "
    "umbrella: stand lie",
    "grass": "ball: lie roll bounce; balloon: float; bird: sit fly; cat: sit sleep walk; flower: bloom; house: stand; "
    "kite: fly lie; tree: grow",
    "night sky": "balloon: float; bird: fly; kite: fly; plane: fly; star: shine fall",
    "road": "ball: lie roll bounce; bird: sit fly; car: wait speed; cat: sit walk; house: stand; plane: stand fly; "
    "tree: grow",
    "sand": "ball: lie bounce; bird: sit fly; chair: stand; cup: stand lie; fish: lie; kite: fly lie; "
    "umbrella: stand lie",
    "sea": "ball: float; bird: fly; boat: sail drift; fish: swim jump; plane: fly",
    "snow": "bird: sit fly; car: wait speed; cat: sit walk; house: stand; kite: fly; tree: grow",
    "wooden floor": "ball: lie roll bounce; balloon: float; cat: sit sleep walk; chair: stand lie; "
    "cup: stand steam lie; umbrella: stand lie",
}
STUFF = {
    stuff: Stuff(
        stuff in _OPEN,
        tuple(_CAMOUFLAGE[stuff].split()),
        {category: tuple(actions.split()) for category, actions in (part.split(": ") for part in text.split("; "))},
    )
    for stuff, text in _THINGS.items()
}

# The colours of each category of things.
CATEGORIES = {
    category: tuple(colours.split())
    for category, colours in {
        "ball": "red orange yellow green blue purple pink white",
        "balloon": "red orange yellow green blue purple pink white",
        "bird": "red yellow blue black white brown",
        "boat": "red yellow green white brown black",
        "car": "red yellow green blue purple white black",
        "cat": "black white brown orange",
        "chair": "red yellow green blue white black pink",
        "cup": "red yellow green blue pink white",
        "fish": "red orange yellow green purple pink white",
        "flower": "red orange yellow blue purple pink white",
        "house": "red yellow blue pink white brown",
        "kite": "red orange yellow green blue purple pink",
        "plane": "red yellow blue white orange",
        "star": "red yellow white pink blue",
        "tree": "green yellow red pink",
        "umbrella": "red orange yellow green blue purple pink black",
    }.items()
}
ACTIONS = tuple(sorted({action for stuff in STUFF.values() for actions in stuff.things.values() for action in actions}))

# A ball that floats on the sea is not airborne, see `airborne`.
AIRBORNE = frozenset({"bounce", "fall", "float", "fly", "hang", "jump", "shine"})


def airborne(stuff: str, action: str) -> bool:
    """Whether a thing with this action on this ground does not touch the ground."""
    return action in AIRBORNE and not (stuff == "sea" and action == "float")


def colours(stuff: str, category: str) -> tuple[str, ...]:
    """The colours that a thing of this category may have on this ground."""
    # The crown of a tree stands above the ground, so a green tree on grass stays visible.
    camouflage = () if category == "tree" else STUFF[stuff].camouflage
    return tuple(colour for colour in CATEGORIES[category] if colour not in camouflage)
