"""A drawing shows the colours, places and actions of its scene."""

import dataclasses

import numpy as np
import pytest

from vla.microworld.drawing import RGB, SIDE, draw
from vla.microworld.scenes import COLOURS, WORLD, Scene, Thing, scene


def alone(kind: str, colour: str, action: str, stuff: str = "road", x: float = 0.5) -> Scene:
    return Scene(stuff, (Thing(kind, colour, "big", "middle", action, x, 0.55, 0.2),), grain=3)


def near(image, rgb, reach=24) -> np.ndarray:
    return np.abs(np.asarray(image, int) - rgb).max(axis=-1) <= reach


def test_every_thing_shows_its_colour_where_it_is():
    for kind, colours in COLOURS.items():
        action = next(things[kind][0] for things in WORLD.values() if kind in things)
        for colour in colours:
            for x in (0.3, 0.7):
                shown = near(draw(alone(kind, colour, action, x=x)), RGB[colour])
                ground = near(draw(Scene("road", (), grain=3)), RGB[colour])
                fresh = np.argwhere(shown & ~ground)
                assert len(fresh) > 30, (kind, colour)
                assert abs(fresh[:, 1].mean() / SIDE - x) < 0.1, (kind, colour)


def test_actions_can_be_seen():
    for things in WORLD.values():
        for kind, actions in things.items():
            drawn = {draw(alone(kind, COLOURS[kind][0], action)).tobytes() for action in actions}
            assert len(drawn) == len(actions), kind


def test_size_can_be_seen():
    (thing,) = alone("ball", "red", "lying").things
    small = dataclasses.replace(thing, radius=0.1)
    areas = [near(draw(Scene("road", (each,), 3)), RGB["red"]).sum() for each in (thing, small)]
    assert areas[0] > 2.5 * areas[1]


# What people call these grounds: mean colours within these bounds, named without looking at the code's tables.
LOOKS = {
    "grass": lambda r, g, b: g > r and g > 1.5 * b,
    "sea": lambda r, g, b: b > g > r,
    "sand": lambda r, g, b: r > g > b and r > 200,
    "snow": lambda r, g, b: min(r, g, b) > 215,
    "brick wall": lambda r, g, b: r > 1.5 * g and r < 210,
    "wooden floor": lambda r, g, b: 1.8 * g > r > 1.2 * g > 1.2 * b,
    "night sky": lambda r, g, b: max(r, g, b) < 90 and b > 1.5 * r,
    "road": lambda r, g, b: max(r, g, b) - min(r, g, b) < 15 and 80 < g < 160,
}


@pytest.mark.parametrize("stuff", WORLD)
def test_grounds_have_colour_and_texture(stuff):
    for grain in range(5):
        pixels = np.asarray(draw(Scene(stuff, (), grain)), float)
        assert LOOKS[stuff](*pixels.mean(axis=(0, 1)))
        assert pixels.std(axis=(0, 1)).max() > 2
    assert draw(Scene(stuff, (), 1)).tobytes() != draw(Scene(stuff, (), 2)).tobytes()


def test_size_mode_and_repeatability():
    what = scene(5, 8)
    image = draw(what)
    assert (image.size, image.mode) == ((64, 64), "RGB")
    assert image.tobytes() == draw(what).tobytes()
