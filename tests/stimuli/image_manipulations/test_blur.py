"""Blur against SciPy's Gaussian."""

import numpy as np
import pytest
import scipy.ndimage

from tests.stimuli.image_manipulations.pictures import noise, values
from vla.stimuli.image_manipulations.blur import blur


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
