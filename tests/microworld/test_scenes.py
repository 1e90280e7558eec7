"""The world's tables fit each other, scenes follow them, and those for training and evaluation share nothing."""

import collections
import dataclasses
from random import Random

import pytest

from vla.microworld.scenes import Description, GroupDescription, sample_scene, scene
from vla.microworld.world import CATEGORIES, COLOURS, STUFF, WEATHER, colours

SCENES = [scene(0, index) for index in range(1000)]


def test_eight_kinds_of_stuff_and_sixteen_of_things():
    found = {kind for stuff in STUFF.values() for kind in stuff.things}
    assert (len(STUFF), len(CATEGORIES)) == (8, 16) and found == set(CATEGORIES)
    assert {colour for own in CATEGORIES.values() for colour in own} == set(COLOURS)
    # However much is lost on a ground, a thing keeps colours to choose from.
    assert all(len(colours(stuff, kind)) >= 2 for stuff in STUFF for kind in STUFF[stuff].things)


def test_seeded_and_independent_of_other_scenes():
    assert scene(0, 17) == SCENES[17]
    assert scene(1, 17) != SCENES[17]
    assert scene(0, 17, "training") != SCENES[17]


def test_a_thousand_scenes_are_all_different():
    assert len({dataclasses.replace(what, grain=0) for what in SCENES}) == 1000
    # Nearly all also by what can be said of them: kinds, colours, sizes, actions, numbers, sky, places.
    assert len({what.key for what in SCENES}) > 950


def test_training_and_evaluation_share_no_scene():
    training = {scene(seed, index, "training").key for seed in (0, 7) for index in range(200)}
    evaluation = {what.key for what in SCENES} | {scene(7, index).key for index in range(200)}
    assert not training & evaluation
    assert all(what.part == "evaluation" for what in SCENES)


def test_scenes_are_as_the_world_allows():
    for what in SCENES:
        things = STUFF[what.stuff].things
        assert (what.weather in WEATHER) == STUFF[what.stuff].open
        assert len({group.category for group in what.groups}) == len(what.groups)
        assert 1 <= sum(group.count for group in what.groups) <= 3
        assert (what.relation is None) == (len(what.groups) == 1)
        for group in what.groups:
            assert group.action in things[group.category]
            assert group.colour in colours(what.stuff, group.category)


def test_everything_occurs():
    stuff = collections.Counter(what.stuff for what in SCENES)
    # Binomial with mean 125 and standard deviation 10.5.
    assert set(stuff) == set(STUFF) and all(80 < count < 170 for count in stuff.values())
    assert {group.category for what in SCENES for group in what.groups} == set(CATEGORIES)
    done = {(what.stuff, group.category, group.action) for what in SCENES for group in what.groups}
    assert done == {(s, kind, a) for s in STUFF for kind, actions in STUFF[s].things.items() for a in actions}
    numbers = {tuple(group.count for group in what.groups) for what in SCENES}
    assert numbers == {(1,), (2,), (3,), (1, 1), (1, 2), (2, 1), (1, 1, 1)}


def test_composed_as_described():
    wanted = Description(
        stuff="sea",
        weather="sunset",
        groups=(GroupDescription("boat", colour="red", count=2), GroupDescription("bird", action="fly")),
        relation="below",
        position="left",
    )
    rng = Random(0)
    made = [sample_scene(rng, wanted, "evaluation") for _ in range(30)]
    assert all(wanted.fits(what) for what in made) and len({what.key for what in made}) > 3
    for what in made:
        boat, bird = what.groups[:2]
        assert (boat.category, boat.colour, boat.count, bird.category, what.relation) == (
            "boat",
            "red",
            2,
            "bird",
            "below",
        )
        assert all(spot.y < boat.spots[0].y for spot in bird.spots)
    # What is not said is drawn anew.
    assert {group.size for what in made for group in what.groups} == {"small", "big"}
    assert {what.groups[1].colour for what in made} >= {"red", "white"}


@pytest.mark.parametrize(
    "change",
    [
        {"stuff": "sand"},
        {"weather": "sunny"},
        {"position": "right"},
        {"relation": "above"},
        {"groups": (GroupDescription("bird", colour="red"), GroupDescription("bird"))},
        {"groups": (GroupDescription("boat", count=1), GroupDescription("bird"))},
        {"groups": (GroupDescription("car"), GroupDescription("bird"))},
    ],
)
def test_what_is_otherwise_does_not_fit(change):
    wanted = Description(
        "sea", "sunset", (GroupDescription("boat", "red", "big", "sail", 2), GroupDescription("bird")), "below", "left"
    )
    made = sample_scene(Random(1), wanted, "evaluation")
    assert wanted.fits(made)
    assert not dataclasses.replace(wanted, **change).fits(made)


def test_beside_and_the_other_way_round():
    made = sample_scene(
        Random(2),
        Description(groups=(GroupDescription("cat"), GroupDescription("ball")), relation="left of"),
        "training",
    )
    for groups, relation, fits in (
        (("cat", "ball"), "beside", True),
        (("ball", "cat"), "right of", True),
        (("ball", "cat"), "beside", True),
        (("ball", "cat"), "left of", False),
        (("cat", "ball"), "behind", False),
    ):
        described = Description(groups=tuple(map(GroupDescription, groups)), relation=relation)
        assert described.fits(made) is fits


def test_refused():
    with pytest.raises(ValueError, match="no scene of the part 'training' fits .*'boat'"):
        sample_scene(Random(0), Description("grass", groups=(GroupDescription("boat"),)), "training")
    with pytest.raises(ValueError, match="part='test'; expected one of evaluation, training"):
        scene(0, 0, "test")
    with pytest.raises(ValueError, match="seed=-1; expected a whole number of at least 0"):
        scene(-1, 0)
