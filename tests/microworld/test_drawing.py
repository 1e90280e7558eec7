"""A drawing shows the colours, places, sizes and actions of its scene, and its map is where it shows them."""

import dataclasses

import numpy as np
import pytest

from vla.microworld.drawing import RGB, SIDE, draw, draw_with_map
from vla.microworld.placement import Spot
from vla.microworld.scenes import Group, Scene, scene
from vla.microworld.world import CATEGORIES, STUFF


def alone(kind, colour, action, stuff, x=0.5, radius=0.2):
    spot = Spot(x, 0.62, radius, False)
    weather = "cloudy" if STUFF[stuff].open else None
    return Scene(stuff, weather, (Group(kind, colour, "big", action, (spot,)),), None, "middle", 3)


def empty(stuff, weather, grain=3):
    return Scene(stuff, weather, (), None, "middle", grain)


def hue_near(pixels, rgb, reach=45):
    """Where the colour is that one, whatever the light: both compared at equal brightness, and not far from it."""
    pixels = np.asarray(pixels, float)
    bright = (pixels @ np.array(rgb)) / max(1, np.dot(rgb, rgb))
    return (np.abs(pixels - bright[..., None] * rgb).max(axis=-1) < reach) & (bright > 0.6) & (bright < 1.3)


@pytest.mark.parametrize("kind", CATEGORIES)
def test_every_thing_shows_its_colour_where_it_is(kind):
    stuff, actions = next((stuff, own.things[kind]) for stuff, own in STUFF.items() if kind in own.things)
    for colour in CATEGORIES[kind]:
        for x in (0.3, 0.7):
            drawn = draw_with_map(alone(kind, colour, actions[0], stuff, x))
            shown = hue_near(drawn.pixels, RGB[colour]) & (drawn.things == 1)
            assert shown.sum() > 25, (kind, colour)
            assert abs(np.argwhere(shown)[:, 1].mean() / SIDE - x) < 0.12, (kind, colour)


def test_actions_can_be_seen():
    for stuff, own in STUFF.items():
        for kind, actions in own.things.items():
            shown = [draw(alone(kind, CATEGORIES[kind][0], action, stuff)).astype(int) for action in actions]
            for i, one in enumerate(shown):
                for other in shown[:i]:
                    assert (np.abs(one - other).max(axis=-1) > 40).sum() > 20, (kind, actions)


def test_kinds_look_different():
    outlines = {}
    for kind in CATEGORIES:
        stuff, actions = next((stuff, own.things[kind]) for stuff, own in STUFF.items() if kind in own.things)
        outlines[kind] = draw_with_map(alone(kind, CATEGORIES[kind][0], actions[0], stuff)).things == 1
    for kind, one in outlines.items():
        for other, two in outlines.items():
            assert kind == other or (one & two).sum() < 0.9 * (one | two).sum(), (kind, other)


def test_the_map_is_where_the_picture_differs_from_its_ground():
    for index in range(20):
        what = scene(4, index)
        drawn = draw_with_map(what)
        np.testing.assert_array_equal(drawn.pixels, draw(what))
        bare = draw(dataclasses.replace(what, groups=()))
        differs = np.abs(drawn.pixels.astype(int) - bare).max(axis=-1) > 12
        things = drawn.things > 0
        # What lies on the map and looks like the ground is of the ground's colour; what differs off it is shadow,
        # steam, spray and half-covered edges.
        assert (things & ~differs).sum() <= 0.12 * things.sum(), what
        assert (differs & ~things).sum() <= 0.9 * things.sum() + 60, what


def test_every_thing_can_be_seen():
    share = []
    for index in range(40):
        what = scene(5, index)
        drawn = draw_with_map(what)
        number = 0
        for group in what.groups:
            for spot in group.spots:
                number += 1
                single = dataclasses.replace(what, groups=(dataclasses.replace(group, spots=(spot,)),))
                whole = (draw_with_map(single).things == 1).sum()
                assert whole >= 25, what
                share.append((drawn.things == number).sum() / whole)
    assert min(share) > 0.2 and np.mean(np.array(share) > 0.6) > 0.95, (min(share), np.mean(np.array(share) > 0.6))


# What people call these grounds: mean colours within these bounds, named without looking at the code's tables.
LOOKS = {
    "grass": lambda r, g, b: g > r and g > 1.5 * b,
    "sea": lambda r, g, b: b > g > r,
    "sand": lambda r, g, b: r > g > b and r > 180,
    "snow": lambda r, g, b: min(r, g, b) > 180,
    "brick wall": lambda r, g, b: r > 1.5 * g and r < 210,
    "wooden floor": lambda r, g, b: 1.8 * g > r > 1.2 * g > 1.2 * b,
    "night sky": lambda r, g, b: max(r, g, b) < 90 and b > 1.5 * r,
    "road": lambda r, g, b: max(r, g, b) - min(r, g, b) < 22 and 70 < g < 160,
}


@pytest.mark.parametrize("stuff", STUFF)
def test_grounds_have_colour_and_texture(stuff):
    for grain in range(2):
        for weather in ("cloudy", "sunny", "sunset") if STUFF[stuff].open else (None,):
            drawn = draw_with_map(empty(stuff, weather, grain))
            own = drawn.upper if stuff in ("brick wall", "night sky") else ~drawn.upper
            pixels = drawn.pixels[own].astype(float)
            assert LOOKS[stuff](*pixels.mean(axis=0)), (weather, pixels.mean(axis=0))
            assert pixels.std(axis=0).max() > 2
    weather = "sunny" if STUFF[stuff].open else None
    assert draw(empty(stuff, weather, 1)).tobytes() != draw(empty(stuff, weather, 2)).tobytes()


def test_pictures_are_all_different():
    assert len({draw(scene(0, index)).tobytes() for index in range(60)}) == 60


def test_size_type_and_repeatability():
    image = draw(scene(5, 8))
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    assert image.tobytes() == draw(scene(5, 8)).tobytes()
