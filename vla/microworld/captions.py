"""Says what is in a scene, five times in five ways."""

from vla.microworld.scenes import AIRBORNE, Scene, Thing

STUFF = {
    "brick wall": "a brick wall",
    "grass": "green grass",
    "night sky": "the night sky",
    "road": "a grey road",
    "sand": "yellow sand",
    "sea": "the blue sea",
    "snow": "white snow",
    "wooden floor": "a wooden floor",
}
WHERE = {
    "brick wall": "in front of a brick wall",
    "grass": "on the grass",
    "night sky": "in the night sky",
    "road": "on the road",
    "sand": "on the sand",
    "sea": "on the sea",
    "snow": "in the snow",
    "wooden floor": "on a wooden floor",
}
OVER = {
    "grass": "over the grass",
    "road": "over the road",
    "sand": "over the sand",
    "sea": "over the sea",
    "snow": "over the snow",
    "wooden floor": "over a wooden floor",
}
PRESENT = {
    "blooming": "blooms",
    "bouncing": "bounces",
    "drifting": "drifts",
    "floating": "floats",
    "flying": "flies",
    "growing": "grows",
    "hanging": "hangs",
    "lying": "lies",
    "sailing": "sails",
    "shining": "shines",
    "sitting": "sits",
    "speeding": "speeds",
    "standing": "stands",
    "steaming": "steams",
    "swimming": "swims",
    "waiting": "waits",
}
PLACE = {"left": "on the left", "middle": "in the middle", "right": "on the right"}


def describe(scene: Scene) -> tuple[str, str, str, str, str]:
    """Five captions of a scene in five sentence patterns, 8 to 15 words each, everything they say true of it."""
    return _of_one(scene, *scene.things) if len(scene.things) == 1 else _of_two(scene, *scene.things)


def _of_one(scene: Scene, thing: Thing) -> tuple[str, str, str, str, str]:
    where, present, place = _where(scene, thing), PRESENT[thing.action], PLACE[thing.place]
    return (
        f"{place.capitalize()} {_a(thing.size, thing.colour, thing.kind)} {present} {where}.",
        f"There is {_a(thing.colour, thing.kind)} {thing.action} {where}.",
        f"A picture of {STUFF[scene.stuff]} with {_a(thing.size, thing.colour, thing.kind)} {place}.",
        f"We see {_a(thing.kind)}, {thing.size} and {thing.colour}, {thing.action} {where}.",
        f"The {thing.kind} that {present} {where} is {thing.size} and {thing.colour}.",
    )


def _of_two(scene: Scene, left: Thing, right: Thing) -> tuple[str, str, str, str, str]:
    stuff, where = STUFF[scene.stuff], _where(scene, right)
    too = " too" if left.colour == right.colour else ""
    return (
        f"{_a(left.colour, left.kind).capitalize()} and {_a(right.colour, right.kind)} with {stuff} behind them.",
        f"There is {_a(left.colour, left.kind)} {left.action} next to {_a(right.colour, right.kind)}.",
        f"A picture of {stuff} with {_a(left.size, left.kind)} and {_a(right.size, right.kind)}.",
        f"We see {_a(left.kind)} and {_a(right.kind)} that {PRESENT[right.action]} {where}.",
        f"The {left.kind} is {left.colour} and the {right.kind} {PLACE['right']} is {right.colour}{too}.",
    )


def _where(scene: Scene, thing: Thing) -> str:
    """Where the thing is: "on the grass", "over the sea"."""
    if thing.kind == "fish" and scene.stuff == "sea":
        return "in the sea"
    above = thing.action in AIRBORNE - {"bouncing"}
    return OVER.get(scene.stuff, WHERE[scene.stuff]) if above else WHERE[scene.stuff]


def _a(*words: str) -> str:
    """The words with the article they take."""
    return " ".join(("an" if words[0][0] in "aeiou" else "a", *words))
