"""Captions are English, of five patterns, and true of the scene."""

import re

from vla.microworld.captions import describe
from vla.microworld.scenes import COLOURS, WORLD, Scene, Thing, scene

SCENES = [scene(2, index) for index in range(800)]
# Third person singular, written down from a dictionary.
VERBS = {
    *("blooms", "bounces", "drifts", "floats", "flies", "grows", "hangs", "lies", "sails", "shines"),
    *("sits", "speeds", "stands", "steams", "swims", "waits"),
}


def test_by_hand_one_thing():
    bird = Thing("umbrella", "orange", "big", "left", "standing", 0.3, 0.6, 0.2)
    assert describe(Scene("brick wall", (bird,), 0)) == (
        "On the left a big orange umbrella stands in front of a brick wall.",
        "There is an orange umbrella standing in front of a brick wall.",
        "A picture of a brick wall with a big orange umbrella on the left.",
        "We see an umbrella, big and orange, standing in front of a brick wall.",
        "The umbrella that stands in front of a brick wall is big and orange.",
    )


def test_by_hand_two_things():
    left = Thing("umbrella", "red", "small", "left", "standing", 0.3, 0.6, 0.1)
    right = Thing("bird", "red", "big", "right", "flying", 0.7, 0.4, 0.2)
    assert describe(Scene("grass", (left, right), 0)) == (
        "A red umbrella and a red bird with green grass behind them.",
        "There is a red umbrella standing next to a red bird.",
        "A picture of green grass with a small umbrella and a big bird.",
        "We see an umbrella and a bird that flies over the grass.",
        "The umbrella is red and the bird on the right is red too.",
    )


def test_lengths_articles_and_punctuation():
    for what in SCENES:
        captions = describe(what)
        assert len(set(captions)) == 5
        for caption in captions:
            assert 8 <= len(caption.split()) <= 15, caption
            assert re.fullmatch(r"[A-Z][a-z, ]+\.", caption), caption
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|  ", caption), caption


def test_what_they_say_is_there():
    colours = {colour for each in COLOURS.values() for colour in each} - {"green", "white", "yellow", "blue"}
    for what in SCENES:
        own = {thing.colour for thing in what.things}
        kinds = {thing.kind for thing in what.things}
        for caption in describe(what):
            words = set(re.findall("[a-z]+", caption.lower()))
            assert words & set(COLOURS) == kinds, caption
            assert words & colours <= own, caption
            assert len(words & VERBS) <= 1
            if "bird" in words & {"flies", "bird"} and "flies" in words:
                assert "over" in caption or "in the night sky" in caption or "in front of" in caption
        together = " ".join(describe(what))
        assert all(thing.colour in together for thing in what.things)
        assert what.stuff in together


def test_every_action_has_its_words():
    for stuff, things in WORLD.items():
        for kind, actions in things.items():
            for action in actions:
                one = Thing(kind, COLOURS[kind][0], "big", "left", action, 0.3, 0.6, 0.2)
                first = describe(Scene(stuff, (one,), 0))[0].split()
                assert first[7] in VERBS, first


def test_no_fish_on_the_sea():
    fish = Thing("fish", "red", "big", "left", "swimming", 0.3, 0.6, 0.2)
    assert describe(Scene("sea", (fish,), 0))[1] == "There is a red fish swimming in the sea."
