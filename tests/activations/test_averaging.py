"""Means over exemplars against NumPy, joined by item, refused where they do not belong together."""

import numpy as np
import pytest
import scipy.stats

from vla.activations.averaging import running_means
from vla.activations.labels import label

LAYERS, ITEMS = ["embed", "block_1"], ["a", "b", "c", "d"]


def exemplars(n: int = 5, dtype=np.float32) -> list:
    rng = np.random.default_rng(0)
    return [label(rng.normal(3, 2, (2, 4, 6)).astype(dtype), LAYERS, ITEMS, name="net") for _ in range(n)]


def average(exemplars, **options):
    """The mean of all exemplars."""
    return list(running_means(exemplars, **options))[-1]


def test_the_mean():
    given = exemplars()
    mean = average(given)
    assert mean.dims == ("layer", "item", "unit") and mean.dtype == np.float32 and mean.name == "net"
    assert mean["item"].values.tolist() == ITEMS and mean["layer"].values.tolist() == LAYERS
    np.testing.assert_allclose(mean, np.mean([x.values.astype(np.float64) for x in given], axis=0), rtol=1e-6)


def test_means_of_one_of_two_and_so_on():
    given = exemplars()
    for k, mean in enumerate(running_means(iter(given)), start=1):
        np.testing.assert_allclose(mean, np.mean([x.values for x in given[:k]], axis=0), rtol=1e-5)
    assert k == 5
    np.testing.assert_array_equal(next(running_means(given)), given[0])


def test_rows_are_joined_by_item():
    first, second = exemplars(2)
    np.testing.assert_array_equal(average([first, second[:, ::-1]]), average([first, second]))
    assert average([first[:, ::-1], second])["item"].values.tolist() == ITEMS[::-1]


def test_z_scored_first():
    given = exemplars()
    expected = np.mean([scipy.stats.zscore(x.values.astype(np.float64), axis=1) for x in given], axis=0)
    np.testing.assert_allclose(average(given, z_score_first=True), expected, atol=1e-6)
    # The scale of an exemplar no longer counts.
    given[2] = given[2] * 1000
    np.testing.assert_allclose(average(given, z_score_first=True), expected, atol=1e-6)


def test_a_constant_unit_is_zero_and_not_blown_up():
    given = exemplars(3)
    for x in given:
        x[:, :, 2] = 0.1
    mean = average(given, z_score_first=True)
    assert (mean[:, :, 2] == 0).all() and np.isfinite(mean).all()


def test_averaging_many_loses_nothing():
    value = label(np.full((1, 2, 3), 16777217, np.float64), ["embed"], ["a", "b"])
    np.testing.assert_allclose(average([value] * 100), np.full((1, 2, 3), 16777217, np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda x: x.assign_coords(item=["a", "b", "c", "z"]),
            "Exemplar 2 .* show different items: 1 of x .*: d; .* z",
        ),
        (lambda x: x[:, :3], "Exemplar 2 .*: x has 4 items and y has 3"),
        (lambda x: x[:1], r"Exemplar 2 has the layers \['embed'\], but the first has \['embed', 'block_1'\]"),
        (lambda x: x[::-1], r"Exemplar 2 has the layers \['block_1', 'embed'\]"),
        (lambda x: x[..., :5], "Exemplar 2 has 5 units, but the first has 6: average activations of one model"),
        (lambda x: x.where(x != x.max()), "exemplar 2 is not finite"),
    ],
)
def test_what_does_not_belong_together(change, words):
    first, second = exemplars(2)
    with pytest.raises(ValueError, match=words):
        average([first, change(second)])
