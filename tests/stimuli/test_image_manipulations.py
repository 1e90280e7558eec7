"""Manipulations of images against SciPy, NumPy and their formulas in float64."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageOps

from tests.stimuli.example_images import Masks, noise, smooth, values
from vla.stimuli.draws import permutation, uniform
from vla.stimuli.image_manipulations import (
    blur,
    color_jitter,
    grayscale,
    horizontal_flip,
    keep_masked,
    occlusion,
    patch_shuffle,
    rotation,
    upright_mask,
)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_a_gaussian(sigma):
    image, edge = noise(80, 60), int(3 * sigma)
    exact = scipy.ndimage.gaussian_filter(values(image).astype(float), (sigma, sigma, 0), mode="nearest")
    apart = np.abs(values(blur(image, sigma)) - exact)
    assert apart[edge:-edge, edge:-edge].max() < 4 and apart.mean() < 1.5


def test_no_blur():
    image = noise()
    np.testing.assert_array_equal(values(blur(image, 0.0)), values(image))


def test_percent_of_the_shorter_side():
    image = noise(80, 60)
    np.testing.assert_array_equal(values(blur(image, 5.0, "percent")), values(blur(image, 3.0)))


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


@pytest.mark.parametrize(("options", "height", "width"), [({"grid": 3}, 10, 13), ({"patch": 8}, 8, 8)])
def test_patches_are_laid_in_the_order_drawn_and_the_rest_stays(options, height, width):
    image = noise(40, 30)
    before, after = values(image), values(patch_shuffle(image, (1, "a"), **options))
    rows, columns = 30 // height, 40 // width
    order = permutation((1, "a", "patch_shuffle"), rows * columns)
    for place, source in enumerate(order):
        (r, c), (s, t) = divmod(place, columns), divmod(source, columns)
        np.testing.assert_array_equal(
            after[r * height : (r + 1) * height, c * width : (c + 1) * width],
            before[s * height : (s + 1) * height, t * width : (t + 1) * width],
        )
    np.testing.assert_array_equal(after[rows * height :], before[rows * height :])
    np.testing.assert_array_equal(after[:, columns * width :], before[:, columns * width :])
    assert (after != before).any()


def test_every_item_has_its_own_order():
    image = noise()
    assert (values(patch_shuffle(image, (1, "a"))) != values(patch_shuffle(image, (1, "b")))).any()


@pytest.mark.parametrize("options", [{"grid": 64}, {"patch": 40}])
def test_an_image_too_small_for_its_patches(options):
    with pytest.raises(ValueError, match="the image is 40 x 30 pixels, too small for .* use smaller ones"):
        patch_shuffle(noise(40, 30), (1, "a"), **options)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.4, 1.0])
def test_the_share_is_covered(fraction):
    image = noise(64, 48)
    covered = (values(occlusion(image, (1, "a"), fraction, fill="#010203")) == [1, 2, 3]).all(-1)
    assert covered.mean() == pytest.approx(round(64 * fraction) / 64, abs=1e-3)
    untouched = values(occlusion(image, (1, "a"), fraction))[~covered]
    np.testing.assert_array_equal(untouched, values(image)[~covered])


def test_a_size_that_the_grid_does_not_divide_is_covered_to_the_edge():
    assert (values(occlusion(noise(37, 29), (1, "a"), 1.0)) == 0).all()


def test_a_larger_share_covers_what_a_smaller_one_does():
    image = noise(64, 48)
    small, large = ((values(occlusion(image, (1, "a"), f)) == 0).all(-1) for f in (0.2, 0.6))
    assert (large | ~small).all() and large.sum() > small.sum()


def test_an_image_smaller_than_its_grid():
    with pytest.raises(ValueError, match="5 x 30 pixels, too small for a grid of 8 x 8 cells; use fewer"):
        occlusion(noise(5, 30), (1, "a"))


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
