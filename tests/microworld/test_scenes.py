"""The world's tables fit each other, and scenes follow them."""

import collections

from vla.microworld.scenes import COLOURS, LOST, PLACES, SIZES, WORLD, scene

SCENES = [scene(0, index) for index in range(600)]


def test_eight_kinds_of_stuff_and_twelve_of_things():
    kinds = {kind for things in WORLD.values() for kind in things}
    assert (len(WORLD), len(kinds)) == (8, 12)
    assert kinds == set(COLOURS)
    assert set(LOST) == set(WORLD)
    # However much is lost on a ground, a thing keeps colours to choose from.
    assert all(len(set(COLOURS[kind]) - set(LOST[stuff])) >= 3 for stuff in WORLD for kind in WORLD[stuff])


def test_seeded_and_independent_of_other_scenes():
    assert scene(0, 17) == SCENES[17]
    assert scene(1, 17) != SCENES[17]
    assert len(set(SCENES)) == len(SCENES)


def test_scenes_are_as_the_world_allows():
    for what in SCENES:
        assert [thing.place for thing in what.things] in ([["left", "right"]] + [[place] for place in PLACES])
        assert len({thing.kind for thing in what.things}) == len(what.things)
        for thing in what.things:
            assert thing.action in WORLD[what.stuff][thing.kind]
            assert thing.colour in COLOURS[thing.kind]
            assert thing.colour not in LOST[what.stuff]
            assert thing.size in SIZES


def test_places_and_sizes_are_what_the_words_say():
    for thing in (thing for what in SCENES for thing in what.things):
        assert {"left": 0 < thing.x < 1 / 3, "middle": 0.4 < thing.x < 0.6, "right": 2 / 3 < thing.x < 1}[thing.place]
        assert (thing.radius > 0.18) == (thing.size == "big")
        # Its body is within the picture.
        assert thing.radius < thing.x < 1 - thing.radius
        assert thing.radius < thing.y < 1 - thing.radius


def test_everything_occurs():
    stuff = collections.Counter(what.stuff for what in SCENES)
    assert set(stuff) == set(WORLD)
    # Binomial with mean 75 and standard deviation 8.1.
    assert all(40 < count < 110 for count in stuff.values())
    assert {thing.kind for what in SCENES for thing in what.things} == set(COLOURS)
    assert {len(what.things) for what in SCENES} == {1, 2}
