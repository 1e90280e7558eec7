"""Depth profiles and their peaks, on tables whose profile is known by hand."""

import numpy as np
import pytest

from vla.alignment.depth import depth_profile, peak, relative_depths
from vla.alignment.paired import crossed_test

NAMES = ["embed", "block_1", "block_2", "block_3", "block_4", "final_norm"]


def test_depths_of_layers():
    np.testing.assert_array_equal(relative_depths(NAMES), [0, 0.25, 0.5, 0.75, 1, np.nan])
    np.testing.assert_array_equal(relative_depths(["block_2", "block_4"]), [0.5, 1])
    np.testing.assert_array_equal(relative_depths(["block_0"]), [0])
    np.testing.assert_array_equal(relative_depths(["conv1", "conv2", "fc"]), [0, 0.5, 1])


def test_a_profile_is_read_off_between_layers():
    table = np.array([[0.0, 0.1], [0.2, 0.4], [0.6, 0.8], [0.3, 0.5], [0.1, 0.2], [0.9, 0.9]])
    best = depth_profile(table, NAMES, [0, 0.125, 0.25, 0.5, 0.7, 1])
    np.testing.assert_allclose(best, [0.1, 0.25, 0.4, 0.8, 0.56, 0.2])
    mean = depth_profile(table.T, NAMES, [0, 0.5, 1], axis=1, over="mean")
    np.testing.assert_allclose(mean, [0.05, 0.7, 0.15])


def test_layers_without_a_score_leave_gaps_beside_them():
    table = np.array([[np.nan, np.nan], [0.2, np.nan], [np.nan, 0.8], [0.3, 0.5], [0.1, 0.2], [0.9, 0.9]])
    best = depth_profile(table, NAMES, [0, 0.125, 0.25, 0.5])
    np.testing.assert_allclose(best, [np.nan, np.nan, 0.2, 0.8])
    assert np.isnan(depth_profile(np.full((6, 2), np.nan), NAMES, [0.5], over="mean")).all()


def test_models_of_other_depths_meet_on_one_axis():
    """The same straight rise in 4 and in 12 blocks."""
    depths = np.linspace(0, 1, 21)
    for blocks in (4, 12):
        names = ["embed", *(f"block_{i}" for i in range(1, blocks + 1))]
        table = np.repeat(np.arange(blocks + 1)[:, None] / blocks, 3, axis=1)
        np.testing.assert_allclose(depth_profile(table, names, depths), depths, atol=1e-12)


EIGHT = np.repeat(range(2), 4), np.tile(range(4), 2)


def bumps(rng, depths, centre=0.7, sizes=(0.03, 0.03, 0.02)):
    """Profiles of 2 x 4 models whose peaks and heights vary over models and pairs."""
    centres, heights = (
        sizes[0] * rng.standard_normal((2, 1))
        + sizes[1] * rng.standard_normal((1, 4))
        + sizes[2] * rng.standard_normal((2, 4))
        for _ in range(2)
    )
    return 0.3 + heights.reshape(-1, 1) - (depths - centre - centres.reshape(-1, 1)) ** 2


def test_the_peak_and_its_interval_over_models():
    depths = np.linspace(0, 1, 101)
    profiles = bumps(np.random.default_rng(0), depths, sizes=(0.005, 0.01, 0.01))
    found = peak(profiles, depths, *EIGHT)
    assert found.depth_low <= found.depth <= found.depth_high
    assert abs(found.depth - 0.7) < 0.04 and 0 < found.depth_high - found.depth_low < 0.2
    at_peak = crossed_test(profiles[:, depths == found.depth], *EIGHT)
    assert (found.score_low, found.score_high) == (at_peak.ci_low, at_peak.ci_high)
    assert found.score_low < found.score < found.score_high and found.rise == pytest.approx(0.49, abs=0.06)


@pytest.mark.parametrize("sizes", [(0, 0, 0.05), (0.05, 0.05, 0.02)])
def test_the_interval_covers_the_peak(sizes):
    """At 95 %, 2 x 4 models, 100 simulations, standard error 2 points; as independent pairs the second has 74 %."""
    rng, depths = np.random.default_rng(1), np.linspace(0, 1, 101)
    hits = []
    for seed in range(100):
        found = peak(bumps(rng, depths, sizes=sizes), depths, *EIGHT, resamples=300, seed=seed)
        hits.append(found.depth_low <= 0.7 <= found.depth_high)
    assert np.mean(hits) >= 0.9


def test_draws_of_items_take_the_place_of_draws_of_pairs():
    depths = [0.0, 0.5, 1.0]
    drawn = np.array([[0.1, 0.4, 0.3]] * 50 + [[0.1, 0.3, 0.5]] * 50)
    found = peak([[0.1, 0.4, 0.35]], depths, resampled=drawn)
    assert (found.depth, found.depth_low, found.depth_high) == (0.5, 0.5, 1.0)
    assert (found.score_low, found.score_high) == (0.3, 0.4), "of the score at the depth of the peak"


def test_where_nothing_can_be_said_nothing_is():
    one = peak([[0.1, 0.3, 0.2]], [0, 0.5, 1], ["v"], ["l"])
    assert one.depth == 0.5 and np.isnan([one.depth_low, one.score_low]).all()
    assert one.note.startswith("no interval: too few models for an interval over models: 1 vision and 1 language")
    two = ["v", "w"], ["l", "l"]
    none = peak([[np.nan, 0.1], [0.1, np.nan]], [0, 1], *two)
    assert np.isnan(none.depth) and "no depth at which every pair" in none.note
    gap = peak([[np.nan, 0.3, 0.2], [0.5, 0.3, 0.1]], [0, 0.5, 1], *two)
    assert gap.depth == 0.5 and np.isnan(gap.rise)
    blocks_alone = peak([[0.1, 0.3, 0.2]] * 2, [0.5, 0.75, 1], *two)
    assert blocks_alone.depth == 0.75 and np.isnan(blocks_alone.rise)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="over='median'; expected one of max, mean"):
        depth_profile(np.ones((2, 2)), ["a", "b"], [0], over="median")
    with pytest.raises(ValueError, match=r"3 layer names for scores of shape \(2, 2\) along axis 0"):
        depth_profile(np.ones((2, 2)), ["a", "b", "c"], [0])
    with pytest.raises(ValueError, match="at 2 depths"):
        peak(np.ones((2, 3)), [0, 1], ["v", "w"], ["l", "l"])
    with pytest.raises(ValueError, match="2 profiles, 0 vision and 0 language models: expected one model of each side"):
        peak(np.ones((2, 3)), [0, 0.5, 1])
