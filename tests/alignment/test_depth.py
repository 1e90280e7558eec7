"""Depth profiles and their peaks, on tables whose profile is known by hand."""

import numpy as np
import pytest

from vla.alignment.depth import depth_profile, peak, relative_depths

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


def bumps(rng, n, centre=0.7, depths=None):
    """Profiles of pairs whose peaks scatter round a common one."""
    centres = centre + 0.03 * rng.standard_normal((n, 1))
    return 0.3 - (depths - centres) ** 2 + 0.02 * rng.standard_normal((n, 1))


def test_the_peak_and_its_interval_over_pairs():
    depths = np.linspace(0, 1, 101)
    found = peak(bumps(np.random.default_rng(0), 8, depths=depths), depths)
    assert found.depth_low <= found.depth <= found.depth_high
    assert abs(found.depth - 0.7) < 0.04 and 0 < found.depth_high - found.depth_low < 0.1
    assert found.score_low < found.score < found.score_high and found.rise == pytest.approx(0.49, abs=0.06)


def test_the_interval_covers_the_peak():
    """At 95 %, eight pairs, 200 simulations, standard error 2 points."""
    rng, depths = np.random.default_rng(1), np.linspace(0, 1, 101)
    hits = []
    for seed in range(200):
        found = peak(bumps(rng, 8, depths=depths), depths, resamples=300, seed=seed)
        hits.append(found.depth_low <= 0.7 <= found.depth_high)
    assert np.mean(hits) >= 0.9


def test_draws_of_items_take_the_place_of_draws_of_pairs():
    depths = [0.0, 0.5, 1.0]
    drawn = np.array([[0.1, 0.4, 0.3]] * 50 + [[0.1, 0.3, 0.5]] * 50)
    found = peak([[0.1, 0.4, 0.35]], depths, resampled=drawn)
    assert (found.depth, found.depth_low, found.depth_high) == (0.5, 0.5, 1.0)
    assert (found.score_low, found.score_high) == (0.4, 0.5)


def test_where_nothing_can_be_said_nothing_is():
    one = peak([[0.1, 0.3, 0.2]], [0, 0.5, 1])
    assert one.depth == 0.5 and np.isnan(one.depth_low) and one.note == "no interval: one pair"
    none = peak([[np.nan, 0.1], [0.1, np.nan]], [0, 1])
    assert np.isnan(none.depth) and "no depth at which every pair" in none.note
    gap = peak([[np.nan, 0.3, 0.2], [0.5, 0.3, 0.1]], [0, 0.5, 1])
    assert gap.depth == 0.5 and np.isnan(gap.rise)
    blocks_alone = peak([[0.1, 0.3, 0.2]] * 2, [0.5, 0.75, 1])
    assert blocks_alone.depth == 0.75 and np.isnan(blocks_alone.rise)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="over='median': expected one of max, mean"):
        depth_profile(np.ones((2, 2)), ["a", "b"], [0], over="median")
    with pytest.raises(ValueError, match=r"3 layer names for scores of shape \(2, 2\) along axis 0"):
        depth_profile(np.ones((2, 2)), ["a", "b", "c"], [0])
    with pytest.raises(ValueError, match="at 2 depths"):
        peak(np.ones((2, 3)), [0, 1])
