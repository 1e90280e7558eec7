"""Greys by the luma of BT.601; jitter within its bounds, against its formulas in float64."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.image_manipulations.pictures import noise, values
from vla.stimuli.draws import uniform
from vla.stimuli.image_manipulations.colour import color_jitter, grayscale


def test_three_equal_channels_of_luma():
    image = noise()
    grey = values(grayscale(image))
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()
    np.testing.assert_allclose(grey[..., 0], values(image) @ [0.299, 0.587, 0.114], atol=0.51)


def test_the_amount_is_how_far_it_goes():
    image = noise()
    np.testing.assert_array_equal(values(grayscale(image, 0.0)), values(image))
    half = (values(image) + values(grayscale(image))) / 2
    np.testing.assert_allclose(values(grayscale(image, 0.5)), half, atol=1)


def jittered(pixel: list[float], mean_grey: float, draws: list[float], strength: float) -> list[float]:
    """One pixel of an image whose mean luma after the change of brightness is given, in floating point."""
    brightness, contrast, saturation = (1 + 0.8 * strength * d for d in draws[:3])
    rgb = np.clip(np.array(pixel) * brightness, 0, 255)
    rgb = np.clip(mean_grey + contrast * (rgb - mean_grey), 0, 255)
    grey = rgb @ [0.299, 0.587, 0.114]
    rgb = np.clip(grey + saturation * (rgb - grey), 0, 255)
    h, s, v = colorsys.rgb_to_hsv(*(rgb / 255))
    return [255 * c for c in colorsys.hsv_to_rgb((h + 0.2 * strength * draws[3]) % 1, s, v)]


@pytest.mark.parametrize("item", ["a", "b", "c", "d"])
def test_jitter_by_its_formulas(item):
    # One colour, so that the mean of the image is known to a level.
    pixel = [90.0, 140.0, 60.0]
    image = Image.new("RGB", (4, 4), (90, 140, 60))
    draws = [2 * u - 1 for u in uniform((1, item, "color_jitter"), 4)]
    mean_grey = min(1 + 0.4 * draws[0], 255 / 140) * np.dot(pixel, [0.299, 0.587, 0.114])
    expected = jittered(pixel, mean_grey, draws, 0.5)
    # PIL rounds after each of the four changes, and its hue has 256 steps.
    np.testing.assert_allclose(values(color_jitter(image, (1, item), 0.5))[0, 0], expected, atol=6)


def test_jitter_goes_further_in_the_same_direction():
    image = noise()
    moved = [np.abs(values(color_jitter(image, (1, "a"), s)) - values(image)).mean() for s in (0.0, 0.25, 0.5, 1.0)]
    assert moved[0] == 0 and moved == sorted(moved) and moved[1] > 1


def test_jitter_is_drawn_for_the_key():
    image = noise()
    same, again, other = (values(color_jitter(image, key)) for key in ((1, "a"), (1, "a"), (2, "a")))
    assert (same == again).all() and (same != other).any()
