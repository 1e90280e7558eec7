"""Patches change places and lose no pixel; occlusion covers the share asked for, nested over shares."""

import numpy as np
import pytest

from tests.stimuli.image_manipulations.pictures import noise, values
from vla.stimuli.draws import permutation
from vla.stimuli.image_manipulations.cells import occlusion, patch_shuffle


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
