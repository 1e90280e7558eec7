"""Rotation against SciPy's, flips against NumPy's."""

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from tests.stimuli.image_manipulations.pictures import noise, smooth, values
from vla.stimuli.image_manipulations.geometry import horizontal_flip, rotation


@pytest.mark.parametrize("angle", [15.0, -15.0, 100.0])
def test_rotation_is_bilinear_about_the_centre_and_anticlockwise(angle):
    image = smooth(64, 48)
    # SciPy turns from the first axis to the second, which is anticlockwise on a screen, where rows grow downwards.
    turned = scipy.ndimage.rotate(values(image).astype(float), angle, reshape=False, order=1, cval=np.nan)
    inside = np.isfinite(turned).all(-1)
    ours = values(rotation(image, angle))
    assert ours.shape == (48, 64, 3) and 0.4 < inside.mean() < 0.95
    np.testing.assert_allclose(ours[inside], turned[inside], atol=2)
    assert (ours[scipy.ndimage.binary_erosion(~inside, iterations=2, border_value=1)] == 0).all()


def test_a_positive_angle_is_anticlockwise():
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[18:23, 30:40] = 255  # a bar at three o'clock
    turned = values(rotation(Image.fromarray(pixels), 90.0))
    assert turned[5, 20].min() == 255 and turned[35, 20].max() == 0  # comes to stand at twelve


def test_no_angle_changes_nothing():
    image = noise()
    np.testing.assert_array_equal(values(rotation(image, 0.0)), values(image))


@pytest.mark.parametrize(
    ("corners", "colour"), [("black", 0), ("gray", 128), ("mean", (124, 116, 104)), ("#0a141e", (10, 20, 30))]
)
def test_corners(corners, colour):
    turned = values(rotation(noise(60, 60), 45.0, corners))
    np.testing.assert_array_equal(turned[0, 0], np.broadcast_to(colour, 3))
    np.testing.assert_array_equal(turned[-1, -1], np.broadcast_to(colour, 3))


def test_mean_is_what_vision_models_subtract():
    np.testing.assert_allclose(values(rotation(noise(), 45.0, "mean"))[0, 0] / 255, [0.485, 0.456, 0.406], atol=0.003)


def test_an_unknown_fill_is_refused():
    with pytest.raises(ValueError, match="fill 'nothing'; expected one of black, gray, mean, or a colour as #rrggbb"):
        rotation(noise(), 1.0, "nothing")


def test_flip():
    image = noise()
    np.testing.assert_array_equal(values(horizontal_flip(image, (1, "a"))), values(image)[:, ::-1])
    np.testing.assert_array_equal(values(horizontal_flip(image, (1, "a"), 0.0)), values(image))


def test_a_share_of_the_items_is_flipped_and_more_at_a_higher_share():
    image = noise(4, 4)
    flipped = {
        share: {i for i in range(300) if (values(horizontal_flip(image, (1, str(i)), share)) != values(image)).any()}
        for share in (0.2, 0.5)
    }
    assert flipped[0.2] < flipped[0.5]
    assert 35 < len(flipped[0.2]) < 85 and 115 < len(flipped[0.5]) < 185
