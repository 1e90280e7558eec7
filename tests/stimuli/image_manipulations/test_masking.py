"""What a mask shows is kept to the bit, the rest is filled."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.stimuli.image_manipulations.pictures import Masks, noise, values
from vla.stimuli.image_manipulations.masking import keep_masked, upright_mask


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
    with pytest.raises(ValueError, match="30 x 40 pixels, but the image is 40 x 30; a mask"):
        keep_masked(noise(), Masks(width=30, height=40).things())


@pytest.mark.parametrize("shape", [(30, 40), (40, 40)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_pil_turns_images(orientation, shape):
    mask = np.random.default_rng(orientation).random(shape) < 0.4
    stored, exif = Image.fromarray(mask.astype(np.uint8)), Image.Exif()
    exif[0x0112] = orientation
    stored.info["exif"] = exif.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(stored)).astype(bool)
    size = expected.shape[::-1]
    np.testing.assert_array_equal(upright_mask(mask, orientation, size, "a"), expected)
    if shape[0] != shape[1] and orientation >= 5:
        # The size tells that this one is upright already.
        np.testing.assert_array_equal(upright_mask(expected, orientation, size, "a"), expected)
    with pytest.raises(ValueError, match="the mask of item 'a' is .* but its image is .*a mask must be of its image's"):
        upright_mask(mask[:-1], orientation, size, "a")


def test_a_mask_of_exchanged_height_and_width_fits_no_upright_image():
    with pytest.raises(ValueError, match="the mask of item 'a' is 30 x 40 pixels, but its image is 40 x 30; a mask"):
        upright_mask(np.ones((40, 30), bool), 1, (40, 30), "a")
