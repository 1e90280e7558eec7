"""Samples scenes: from a seed, to fit a description, or to violate a description in exactly one detail."""

import dataclasses
from random import Random

from vla.checks import check_choice, check_whole_number
from vla.microworld.placement import Body, Spot, arrange, inverse, possible_relations
from vla.microworld.world import ACTIONS, CATEGORIES, COLOURS, SIZES, STUFF, WEATHER, colours
from vla.records import canonical_hash

PARTS = ("training", "evaluation")
# Group sizes of a scene, with their probabilities: (1, 2) is one thing of a category and two of another.
LAYOUTS = {(1,): 0.24, (2,): 0.1, (3,): 0.06, (1, 1): 0.36, (1, 2): 0.07, (2, 1): 0.07, (1, 1, 1): 0.1}
# Draws until a scene fits a description, and choices of a mistake until one can be drawn.
_TRIES, _MISTAKE_TRIES = 400, 60
_GROUP_FIELDS = ("colour", "size", "action", "count")
# Prompts mention things and their colours most often, hence so do these mistakes. The names are those of the column
# `mistake` in the Pick-a-Pic files.
MISTAKES = ("colour", "kind", "relation", "stuff", "count", "size", "action")


@dataclasses.dataclass(frozen=True)
class Group:
    """One to three things of the same category ("house"), colour, size ("small", "big") and action ("stand")."""

    category: str
    colour: str
    size: str
    action: str
    spots: tuple[Spot, ...]

    @property
    def count(self) -> int:
        """Number of things."""
        return len(self.spots)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A ground with one to three things on it.

    Attributes:
      stuff: The ground, such as "grass".
      weather: The weather; None where the sky is not visible.
      groups: The things, each group of another category; the first group is the main one.
      relation: Position of the first group relative to the second, such as "behind"; None for a single group.
      position: Position of the first group: "left", "middle" or "right".
      grain: Seed of texture, light and captions.
    """

    stuff: str
    weather: str | None
    groups: tuple[Group, ...]
    relation: str | None
    position: str
    grain: int

    @property
    def key(self) -> str:
        """A hash of everything that a caption can say; exact positions and texture are not included."""
        groups = [[group.category, group.colour, group.size, group.action, group.count] for group in self.groups]
        return canonical_hash([self.stuff, self.weather, groups, self.relation, self.position])

    @property
    def part(self) -> str:
        """Either "training" or "evaluation", by the key: no description occurs in both."""
        return PARTS[int(self.key[:8], 16) % 2]


@dataclasses.dataclass(frozen=True)
class GroupDescription:
    """Known properties of a group; None where any value fits."""

    category: str
    colour: str | None = None
    size: str | None = None
    action: str | None = None
    count: int | None = None


@dataclasses.dataclass(frozen=True)
class Description:
    """Known properties of a scene, for example from a caption; None where any value fits.

    The scene may contain other groups. Relation and position are as of `Scene`; "beside" is left or right.
    """

    stuff: str | None = None
    weather: str | None = None
    groups: tuple[GroupDescription, ...] = ()
    relation: str | None = None
    position: str | None = None

    def fits(self, scene: Scene) -> bool:
        """Whether the description is true of a scene."""
        categories = [group.category for group in scene.groups]
        if not {group.category for group in self.groups} <= set(categories):
            return False
        indices = [categories.index(group.category) for group in self.groups]
        for expected, index in zip(self.groups, indices, strict=True):
            if any(getattr(expected, name) not in (None, getattr(scene.groups[index], name)) for name in _GROUP_FIELDS):
                return False
        if self.stuff not in (None, scene.stuff) or self.weather not in (None, scene.weather):
            return False
        if self.position is not None and (indices[:1] != [0] or scene.position != self.position):
            return False
        if self.relation is None:
            return True
        if scene.relation is None or sorted(indices[:2]) != [0, 1]:
            return False
        return _matches(scene.relation if indices[0] == 0 else inverse(scene.relation), self.relation)


def scene(seed: int, index: int, part: str = "evaluation") -> Scene:
    """Scene number `index` of the world of `seed`, both at least 0; it does not depend on other scenes.

    A description occurs in one part only, "training" or "evaluation", whatever the seeds and indices.
    """
    check_choice("part", part, PARTS)
    check_whole_number("seed", seed, 0)
    check_whole_number("index", index, 0)
    return sample_scene(Random(f"scene {seed} {index}"), Description(), part)


def distinct_scenes(n: int, seed: int) -> list[Scene]:
    """The first `n` scenes of a seed with distinct descriptions."""
    scenes: dict[str, Scene] = {}
    index = 0
    while len(scenes) < n:
        candidate = scene(seed, index)
        scenes.setdefault(candidate.key, candidate)
        index += 1
    return list(scenes.values())


def sample_scene(rng: Random, description: Description, part: str) -> Scene:
    """A random scene of a part that fits a description; a ValueError if there is none."""
    stuffs = [name for name in STUFF if _ground_fits(name, description)]
    for _ in range(_TRIES if stuffs else 0):
        candidate = _candidate(rng, description, stuffs)
        if candidate is not None and candidate.part == part:
            return candidate
    raise ValueError(f"no scene of the part {part!r} fits {description}. Describe fewer details, or other ones")


def sample_matching(description: Description, scene: Scene, rng: Random) -> Scene:
    """Another scene of the same part that fits the description of a scene, or the scene itself with another texture."""
    try:
        return sample_scene(rng, description, scene.part)
    except ValueError:
        return dataclasses.replace(scene, grain=rng.randrange(2**31))


def sample_mismatching(description: Description, rng: Random, part: str) -> tuple[Scene, str]:
    """A scene that violates a description in one detail, and the name of that detail, one of `MISTAKES`.

    A ValueError if the description allows none.
    """
    for _ in range(_MISTAKE_TRIES):
        mistake = rng.choice(MISTAKES)
        wrong = _with_mistake(description, mistake, rng)
        if wrong is None:
            continue
        try:
            scene = sample_scene(rng, wrong, part)
        except ValueError:
            continue
        if not description.fits(scene):
            return scene, mistake
    raise ValueError(f"no scene violates {description} in one detail. Describe more details of a scene")


def _ground_fits(stuff: str, description: Description) -> bool:
    return (
        description.stuff in (None, stuff)
        and (description.weather is None or STUFF[stuff].open)
        and all(_group_fits(stuff, group) for group in description.groups)
    )


def _group_fits(stuff: str, group: GroupDescription) -> bool:
    """Whether such a thing can occur on this ground."""
    actions = STUFF[stuff].things.get(group.category, ())
    fits = group.action in actions if group.action else bool(actions)
    return fits and (group.colour is None or group.colour in colours(stuff, group.category))


def _layout_fits(layout: tuple[int, ...], description: Description) -> bool:
    """Whether these group sizes can fit the description."""
    if len(layout) < len(description.groups) or (description.relation and len(layout) < 2):
        return False
    return all(group.count in (None, count) for group, count in zip(description.groups, layout, strict=False))


def _candidate(rng: Random, description: Description, stuffs: list[str]) -> Scene | None:
    """A scene that fits the description; None if the draws lead to a contradiction."""
    stuff = rng.choice(stuffs)
    weather = (description.weather or rng.choice(WEATHER)) if STUFF[stuff].open else None
    layouts = [layout for layout in LAYOUTS if _layout_fits(layout, description)]
    if not layouts:
        return None
    layout = rng.choices(layouts, [LAYOUTS[each] for each in layouts])[0]
    described = [group.category for group in description.groups]
    others = [category for category in STUFF[stuff].things if category not in described]
    missing = len(layout) - len(described)
    if len(others) < missing:
        return None
    descriptions = [*description.groups, *(GroupDescription(category) for category in rng.sample(others, missing))]
    groups = [_sample_group(rng, stuff, group) for group in descriptions]
    bodies = [Body(group.category, group.size, group.action, n) for group, n in zip(groups, layout, strict=True)]
    relation = None
    if len(bodies) > 1:
        relations = possible_relations(stuff, *bodies[:2])
        if description.relation is not None:
            relations = [each for each in relations if _matches(each, description.relation)]
        if not relations:
            return None
        relation = rng.choice(relations)
    arrangement = arrange(rng, stuff, bodies, relation, description.position)
    if arrangement is None:
        return None
    spots, position = arrangement
    placed = tuple(dataclasses.replace(group, spots=each) for group, each in zip(groups, spots, strict=True))
    return Scene(stuff, weather, placed, relation, position, rng.randrange(2**31))


def _sample_group(rng: Random, stuff: str, description: GroupDescription) -> Group:
    """A group without positions; what its description leaves open is drawn."""
    colour = description.colour or rng.choice(colours(stuff, description.category))
    size = description.size or rng.choice(SIZES)
    action = description.action or rng.choice(STUFF[stuff].things[description.category])
    return Group(description.category, colour, size, action, ())


def _matches(relation: str, expected: str) -> bool:
    """Whether a relation is the expected one; "beside" accepts both sides."""
    return relation == expected or (expected == "beside" and relation in ("left of", "right of"))


def _with_mistake(description: Description, mistake: str, rng: Random) -> Description | None:
    """The description with one detail changed; None where it does not mention that detail."""
    if mistake == "relation":
        relation = description.relation
        other = "behind" if relation == "beside" else relation and inverse(relation)
        return dataclasses.replace(description, relation=other) if relation else None
    if mistake == "stuff":
        if description.stuff is None:
            return None
        others = [stuff for stuff in STUFF if stuff != description.stuff]
        return dataclasses.replace(description, stuff=rng.choice(others))
    index = rng.randrange(len(description.groups))
    group = description.groups[index]
    if mistake == "kind":
        present = {each.category for each in description.groups}
        other = rng.choice([category for category in CATEGORIES if category not in present])
        # The action is left open: another category may not have it.
        changed = dataclasses.replace(group, category=other, action=None)
    else:
        if getattr(group, mistake) is None:
            return None
        choices = {"colour": COLOURS, "count": (1, 2, 3), "size": SIZES, "action": ACTIONS}[mistake]
        other = rng.choice([choice for choice in choices if choice != getattr(group, mistake)])
        changed = dataclasses.replace(group, **{mistake: other})
    groups = (*description.groups[:index], changed, *description.groups[index + 1 :])
    return dataclasses.replace(description, groups=groups)
