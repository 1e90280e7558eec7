"""The plateau of an averaging curve: on curves that are known, against SciPy's fit, and by simulation."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from vla.alignment.plateau import plateau

K = np.arange(1, 16)


def saturating(level, gain, rate, k=K):
    return level - gain * np.exp(-(k - k[0]) / rate)


def pairs(rng, n=8, noise=0.002):
    """Curves of model pairs: own heights and gains around common ones, and noise."""
    level, gain = 0.5 + 0.05 * rng.standard_normal((n, 1)), 0.2 + 0.02 * rng.standard_normal((n, 1))
    return level - gain * np.exp(-(K - 1) / 3.0) + noise * rng.standard_normal((n, len(K)))


def test_a_known_curve_is_found():
    """All but 5 % of the gain is had after ln 20 rates: 1 + 3 ln 20 = 9.99."""
    found = plateau([saturating(0.5, 0.2, 3.0)] * 3, K)
    assert found.k == pytest.approx(1 + 3 * np.log(20), rel=0.01)
    assert (found.level, found.gain) == pytest.approx((0.5, 0.2), rel=0.005)
    assert found.note == "" and found.n_pairs == 3
    assert plateau([saturating(0.5, 0.2, 3.0)] * 3, K, fraction=0.1).k == pytest.approx(1 + 3 * np.log(10), rel=0.01)


def test_counts_need_not_be_even():
    k = np.array([1, 2, 5, 10, 15])
    found = plateau([saturating(0.5, 0.2, 2.0, k)] * 2, k)
    assert found.k == pytest.approx(1 + 2 * np.log(20), rel=0.01)


def test_the_fit_is_that_of_scipy():
    mean = pairs(np.random.default_rng(0), noise=0.01).mean(axis=0)
    (level, gain, rate), _ = curve_fit(lambda k, a, b, c: a - b * np.exp(-(k - 1) / c), K, mean, p0=(0.5, 0.2, 3))
    found = plateau([mean, mean], K)
    assert (found.level, found.gain) == pytest.approx((level, gain), abs=2e-4)
    assert found.k == pytest.approx(1 + rate * np.log(20), rel=0.01)


def test_without_a_model_the_first_step_below_a_share_of_the_gain():
    """Gains 10, 5, 4, 0.5, 0: of 19.5 in all, the first below 5 % (0.975) is the step from 4."""
    found = plateau([np.cumsum([0, 10, 5, 4, 0.5, 0])], range(1, 7))
    assert found.first_flat == 4 and found.note == "no interval: one curve" and np.isnan(found.k_low)
    assert plateau([-np.cumsum([0, 10, 5, 4, 0.5, 0])], range(1, 7)).first_flat == 4
    assert np.isnan(plateau([np.arange(6.0)], range(1, 7)).first_flat)


def test_a_curve_that_still_rises_has_no_plateau_within_reach():
    found = plateau([0.01 * K, 0.011 * K], K)
    assert found.k == np.inf and "not reached within 15 exemplars" in found.note and found.k_high == np.inf


def test_flat_curves_have_none():
    """At 95 %, 5 % of curves of noise seem to rise or fall: 100 simulations, standard error 2 points."""
    rng = np.random.default_rng(1)
    found = [plateau(0.001 * rng.standard_normal((8, 15)), K, resamples=50) for _ in range(100)]
    none = [one for one in found if np.isnan([one.k, one.k_low, one.k_high]).all()]
    assert len(none) >= 90 and all("scores no other than the first" in one.note for one in none)


def test_intervals_cover_what_is_true():
    """At 95 %, eight pairs, 150 simulations, standard error 2 points."""
    rng = np.random.default_rng(2)
    true, hits = 1 + 3 * np.log(20), []
    for seed in range(150):
        found = plateau(pairs(rng, noise=0.01), K, resamples=400, seed=seed)
        hits.append([found.k_low <= true <= found.k_high, found.level_low <= 0.5 <= found.level_high])
    share = np.mean(hits, axis=0)
    assert (share >= 0.9).all(), share


def test_the_seed_decides_the_draws():
    curves = pairs(np.random.default_rng(3))
    assert plateau(curves, K, seed=1) == plateau(curves, K, seed=1) != plateau(curves, K, seed=2)


def test_curves_with_gaps_are_left_out_and_counted():
    curves = pairs(np.random.default_rng(4), 3)
    gap = curves.copy()
    gap[1, 4] = np.nan
    found = plateau(gap, K)
    assert found.n_pairs == 2 and found.note == "1 of 3 curves left out: they have gaps"
    assert found.k == plateau(curves[[0, 2]], K).k
    assert "no curve" in plateau(np.full((2, 15), np.nan), K).note


@pytest.mark.parametrize("n", [1, 3])
def test_scores_that_do_not_change_have_no_plateau(n):
    found = plateau(np.full((n, 15), 0.3), K)
    assert np.isnan([found.k, found.k_low, found.k_high]).all() and found.level == pytest.approx(0.3)
    assert found.note.endswith("no plateau: the score is the same at all counts")


@pytest.mark.parametrize(
    ("curves", "k", "options", "words"),
    [
        (np.ones((2, 3)), [1, 2, 3], {}, "at four or more ascending counts"),
        (np.ones((2, 4)), [1, 2, 3], {}, r"curves of shape \(2, 4\) at k=\[1.0, 2.0, 3.0\]"),
        (np.ones((2, 4)), [1, 3, 2, 4], {}, "ascending"),
        (np.ones((2, 4)), [1, 2, 3, 4], {"fraction": 5}, "fraction=5: expected a share"),
    ],
)
def test_bad_input_is_refused(curves, k, options, words):
    with pytest.raises(ValueError, match=words):
        plateau(curves, k, **options)
