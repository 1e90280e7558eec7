"""What a mask shows is kept to the bit, the rest is filled."""

import numpy as np
import pytest

from tests.stimuli.image_manipulations.pictures import Masks, noise, values
from vla.stimuli.image_manipulations.masking import keep_masked


@pytest.mark.parametrize(("fill", "colour"), [("black", (0, 0, 0)), ("gray", (128,) * 3), ("mean", (124, 116, 104))])
def test_kept_and_filled(fill, colour):
    image, mask = noise(), Masks().things()
    shown = values(keep_masked(image, mask, fill))
    np.testing.assert_array_equal(shown, np.where(mask[..., None], values(image), colour))


def test_what_is_neither_thing_nor_stuff_is_in_neither_view():
    things, stuff = (values(keep_masked(noise(), mask, "#ff00ff")) for mask in (Masks().things(), Masks().stuff()))
    for shown in (things, stuff):
        assert (shown[:, 25:] == [255, 0, 255]).all()


def test_the_amount_is_how_opaque_the_fill_is():
    image, mask = noise(), Masks().things()
    np.testing.assert_array_equal(values(keep_masked(image, mask, "black", 0.0)), values(image))
    half = values(keep_masked(image, mask, "gray", 0.5))
    expected = np.where(mask[..., None], values(image), (values(image) + 128) / 2)
    np.testing.assert_allclose(half, expected, atol=1)


def test_a_mask_of_another_size():
    with pytest.raises(ValueError, match="the mask is 39 x 30 pixels, but the image is 40 x 30; a mask must be of its"):
        keep_masked(noise(), Masks(width=39).things())
    with pytest.raises(ValueError, match="30 x 40 pixels, but the image is 40 x 30, the image turned as its EXIF"):
        keep_masked(noise(), Masks(width=30, height=40).things())
