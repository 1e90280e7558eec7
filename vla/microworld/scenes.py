"""Which scenes a seed makes of the world, freely or as a description wants them."""

import dataclasses
from random import Random

from vla.microworld.placing import Body, Spot, inverse, place, possible_relations
from vla.microworld.world import SIZES, STUFF, WEATHER, colours
from vla.records import canonical_hash

PARTS = ("training", "evaluation")
# How many things of how many kinds there are, and how often.
LAYOUTS = {(1,): 0.24, (2,): 0.1, (3,): 0.06, (1, 1): 0.36, (1, 2): 0.07, (2, 1): 0.07, (1, 1, 1): 0.1}
_TRIES = 400


@dataclasses.dataclass(frozen=True)
class Group:
    """One thing of a kind, or two or three alike that do the same.

    Attributes:
      kind: What it is, such as "house".
      colour: Its colour's name.
      size: "small" or "big".
      action: What it does, as the verb's base form, such as "fly".
      spots: Where its members are drawn, one to three.
    """

    kind: str
    colour: str
    size: str
    action: str
    spots: tuple[Spot, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.spots)


@dataclasses.dataclass(frozen=True)
class Scene:
    """One kind of stuff with one to three things on it.

    Attributes:
      stuff: What the ground is, such as "grass".
      weather: What the sky does, None where there is none.
      groups: The things, of different kinds; the first is the one that matters most.
      relation: How the first is placed to the second, such as "behind"; None where there is no second.
      place: Where the first is: "left", "middle" or "right".
      grain: Seed of the texture, of the light and of the words.
    """

    stuff: str
    weather: str | None
    groups: tuple[Group, ...]
    relation: str | None
    place: str
    grain: int

    @property
    def key(self) -> str:
        """A hash of all that can be said of the scene; positions to the pixel and texture are not in it."""
        said = [[group.kind, group.colour, group.size, group.action, group.count] for group in self.groups]
        return canonical_hash([self.stuff, self.weather, said, self.relation, self.place])

    @property
    def part(self) -> str:
        """Whether it belongs to the scenes for training or to those for evaluation; no description is in both."""
        return PARTS[int(self.key[:8], 16) % 2]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is known of a group; None where anything will do."""

    kind: str
    colour: str | None = None
    size: str | None = None
    action: str | None = None
    count: int | None = None


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a scene; None where anything will do.

    Attributes:
      stuff: The ground.
      weather: The sky.
      groups: Things that have to be there; others may be there beside them.
      relation: How the first is placed to the second; "beside" is left or right of it.
      place: Where the first is.
    """

    stuff: str | None = None
    weather: str | None = None
    groups: tuple[Wanted, ...] = ()
    relation: str | None = None
    place: str | None = None

    def fits(self, scene: Scene) -> bool:
        """Whether a scene is as described."""
        found = []
        for wanted in self.groups:
            group = next((group for group in scene.groups if group.kind == wanted.kind), None)
            if group is None or not all(
                getattr(wanted, name) in (None, getattr(group, name)) for name in ("colour", "size", "action", "count")
            ):
                return False
            found.append(scene.groups.index(group))
        if self.stuff not in (None, scene.stuff) or self.weather not in (None, scene.weather):
            return False
        if self.place is not None and (found[:1] != [0] or scene.place != self.place):
            return False
        if self.relation is None:
            return True
        if scene.relation is None or sorted(found[:2]) != [0, 1]:
            return False
        turned = scene.relation if found[0] == 0 else inverse(scene.relation)
        return turned == self.relation or (self.relation == "beside" and turned in ("left of", "right of"))


def scene(seed: int, index: int, part: str = "evaluation") -> Scene:
    """The scene of number `index` in the world of `seed`, the same whatever other scenes are made.

    Scenes of one part are never described like those of the other, whatever their seeds and numbers.

    Raises:
      ValueError: `seed` or `index` is negative, or there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part={part!r}; expected one of {', '.join(sorted(PARTS))}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed={seed}, index={index}; expected whole numbers of 0 or more")
    return compose(Random(f"scene {seed} {index}"), Description(), part)


def compose(rng: Random, description: Description, part: str) -> Scene:
    """A scene as described, all else drawn anew.

    Raises:
      ValueError: no scene of this part is as described.
    """
    stuffs = _stuffs(description)
    for _ in range(_TRIES if stuffs else 0):
        made = _compose(rng, description, stuffs)
        if made is not None and made.part == part:
            return made
    raise ValueError(f"the world has no scene for {part} that is {description}. Describe less of it, or otherwise")


def _stuffs(wanted: Description) -> list[str]:
    """The grounds on which a scene can be as described."""
    return [
        name
        for name, stuff in STUFF.items()
        if wanted.stuff in (None, name)
        and (wanted.weather is None or stuff.open)
        and all(_may_be(name, group) for group in wanted.groups)
    ]


def _compose(rng: Random, wanted: Description, stuffs: list[str]) -> Scene | None:
    """A scene as described, or None where chance led to none."""
    stuff = rng.choice(stuffs)
    weather = (wanted.weather or rng.choice(WEATHER)) if STUFF[stuff].open else None
    layouts = [layout for layout in LAYOUTS if _suits(layout, wanted)]
    if not layouts:
        return None
    layout = rng.choices(layouts, [LAYOUTS[each] for each in layouts])[0]
    known = [group.kind for group in wanted.groups]
    others = [kind for kind in STUFF[stuff].things if kind not in known]
    missing = len(layout) - len(known)
    if len(others) < missing:
        return None
    groups = [*wanted.groups, *(Wanted(kind) for kind in rng.sample(others, missing))]
    grown = [_grown(rng, stuff, group) for group in groups]
    bodies = [Body(group.kind, group.size, group.action, count) for group, count in zip(grown, layout, strict=True)]
    relation = None
    if len(bodies) > 1:
        relations = [each for each in possible_relations(stuff, *bodies[:2]) if _allowed(each, wanted.relation)]
        if not relations:
            return None
        relation = rng.choice(relations)
    placed = place(rng, stuff, bodies, relation, wanted.place)
    if placed is None:
        return None
    spots, first = placed
    made = tuple(dataclasses.replace(group, spots=own) for group, own in zip(grown, spots, strict=True))
    return Scene(stuff, weather, made, relation, first, rng.randrange(2**31))


def _may_be(stuff: str, wanted: Wanted) -> bool:
    """Whether there can be such a thing there."""
    actions = STUFF[stuff].things.get(wanted.kind, ())
    fits = wanted.action in actions if wanted.action else bool(actions)
    return fits and (wanted.colour is None or wanted.colour in colours(stuff, wanted.kind))


def _suits(layout: tuple[int, ...], wanted: Description) -> bool:
    """Whether these numbers of things have room for what is wanted."""
    if len(layout) < len(wanted.groups) or (wanted.relation and len(layout) < 2):
        return False
    return all(group.count in (None, count) for group, count in zip(wanted.groups, layout, strict=False))


def _grown(rng: Random, stuff: str, wanted: Wanted) -> Group:
    """A group with all that was not wanted of it drawn; its members' spots are still to come."""
    colour = wanted.colour or rng.choice(colours(stuff, wanted.kind))
    size = wanted.size or rng.choice(SIZES)
    action = wanted.action or rng.choice(STUFF[stuff].things[wanted.kind])
    return Group(wanted.kind, colour, size, action, ())


def _allowed(relation: str, wanted: str | None) -> bool:
    return wanted in (None, relation) or (wanted == "beside" and relation in ("left of", "right of"))
