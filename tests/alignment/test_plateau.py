"""The plateau of an averaging curve: on curves that are known, against SciPy's fit, and by simulation."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from vla.alignment.depth import plateau

K = np.arange(1, 16)


def models(vision, language):
    """The vision and the language model of every pair, in the order of a raveled table."""
    return np.repeat(range(vision), language), np.tile(range(language), vision)


EIGHT = models(2, 4)


def saturating(level, gain, rate, k=K):
    return level - gain * np.exp(-(k - k[0]) / rate)


def crossed(rng, shape, sizes):
    """Deviations of all pairs: of vision models, of language models and of pairs, with those standard deviations."""
    vision, language = shape
    of_vision, of_language, of_pair = sizes
    deviations = of_vision * rng.standard_normal((vision, 1)) + of_language * rng.standard_normal((1, language))
    return (deviations + of_pair * rng.standard_normal(shape)).reshape(-1, 1)


def pairs(rng, noise=0.002, shape=(2, 4), sizes=(0.03, 0.03, 0.02)):
    """Curves whose levels, gains and log rates vary over models around 0.5, 0.2 and log 3, and noise."""
    level, gain, rate = (
        0.5 + crossed(rng, shape, sizes),
        0.2 + 0.4 * crossed(rng, shape, sizes),
        crossed(rng, shape, sizes),
    )
    curves = level - gain * np.exp(-(K - 1) / (3 * np.exp(rate)))
    return curves + noise * rng.standard_normal(curves.shape)


def test_a_known_curve_is_found():
    """All but 5 % of the gain is had after ln 20 rates: 1 + 3 ln 20 = 9.99."""
    found = plateau([saturating(0.5, 0.2, 3.0)] * 4, K, *models(2, 2), resamples=20)
    assert found.k == pytest.approx(1 + 3 * np.log(20), rel=0.01)
    assert (found.level, found.gain) == pytest.approx((0.5, 0.2), rel=0.005)
    assert found.n_pairs == 4
    tenth = plateau([saturating(0.5, 0.2, 3.0)] * 4, K, *models(2, 2), fraction=0.1, resamples=20)
    assert tenth.k == pytest.approx(1 + 3 * np.log(10), rel=0.01)


def test_counts_need_not_be_even():
    k = np.array([1, 2, 5, 10, 15])
    found = plateau([saturating(0.5, 0.2, 2.0, k)] * 4, k, *models(2, 2), resamples=20)
    assert found.k == pytest.approx(1 + 2 * np.log(20), rel=0.01)


def test_the_fit_is_that_of_scipy():
    mean = saturating(0.5, 0.2, 3.0) + 0.0035 * np.random.default_rng(0).standard_normal(len(K))
    (level, gain, rate), _ = curve_fit(lambda k, a, b, c: a - b * np.exp(-(k - 1) / c), K, mean, p0=(0.5, 0.2, 3))
    found = plateau([mean] * 4, K, *models(2, 2), resamples=20)
    assert (found.level, found.gain) == pytest.approx((level, gain), abs=2e-4)
    assert found.k == pytest.approx(1 + rate * np.log(20), rel=0.01)


def test_without_a_model_the_first_step_below_a_share_of_the_gain():
    """Gains 10, 5, 4, 0.5, 0: of 19.5 in all, the first below 5 % (0.975) is the step from 4."""
    found = plateau([np.cumsum([0, 10, 5, 4, 0.5, 0])], range(1, 7), *models(1, 1))
    assert found.first_flat == 4 and np.isnan([found.k_low, found.level_low, found.gain_high]).all()
    assert found.note.startswith("no interval: too few models for an interval over models: 1 vision and 1 language")
    assert plateau([-np.cumsum([0, 10, 5, 4, 0.5, 0])], range(1, 7), *models(1, 1)).first_flat == 4
    assert np.isnan(plateau([np.arange(6.0)], range(1, 7), *models(1, 1)).first_flat)


def test_a_curve_that_still_rises_has_no_plateau_within_reach():
    found = plateau([0.01 * K, 0.011 * K, 0.0105 * K, 0.0112 * K], K, *models(2, 2), resamples=20)
    assert found.k == np.inf and "not reached within 15 exemplars" in found.note and found.k_high == np.inf


def test_flat_curves_have_none():
    """At 95 %, at most 5 % of curves of noise seem to rise or fall: 40 simulations, standard error 3 points."""
    rng = np.random.default_rng(1)
    results = [plateau(0.001 * rng.standard_normal((8, 15)), K, *EIGHT, resamples=50) for _ in range(40)]
    none = [one for one in results if np.isnan([one.k, one.k_low, one.k_high]).all()]
    assert len(none) >= 36 and all("does not score significantly differently" in one.note for one in none)


@pytest.mark.parametrize("sizes", [(0, 0, 0.05), (0.05, 0.05, 0.02)])
def test_intervals_cover_what_is_true(sizes):
    """At 95 %, 2 x 4 models, 60 simulations, standard error 3 points; as independent pairs the second has 74 %."""
    rng = np.random.default_rng(2)
    true, hits = 1 + 3 * np.log(20), []
    for seed in range(60):
        found = plateau(pairs(rng, 0.005, sizes=sizes), K, *EIGHT, resamples=200, seed=seed)
        covered = [found.level_low <= 0.5 <= found.level_high, found.gain_low <= 0.2 <= found.gain_high]
        hits.append([np.isnan(found.k) or found.k_low <= true <= found.k_high, *covered])
    share = np.mean(hits, axis=0)
    assert (share >= 0.9).all(), share


def test_the_seed_decides_the_draws():
    curves = pairs(np.random.default_rng(3))
    first, again, other = (plateau(curves, K, *EIGHT, seed=seed, resamples=100) for seed in (1, 1, 2))
    assert first == again != other


def test_curves_with_gaps_are_left_out_and_counted():
    """Without one model all pairs of the others are there; without one pair the design is not crossed."""
    curves, (vision, language) = pairs(np.random.default_rng(4)), EIGHT
    gap = curves.copy()
    gap[language == 3, 4] = np.nan
    found = plateau(gap, K, *EIGHT, resamples=100)
    kept = plateau(curves[language != 3], K, vision[language != 3], language[language != 3], resamples=100)
    assert found.n_pairs == 6 and found.note == "; ".join(
        ["2 of 8 curves left out: they have gaps", kept.note][: 1 + bool(kept.note)]
    )
    assert (found.k, found.level_low, found.k_high) == (kept.k, kept.level_low, kept.k_high)
    gap = curves.copy()
    gap[1, 4] = np.nan
    found = plateau(gap, K, *EIGHT, resamples=100)
    assert found.n_pairs == 7 and np.isnan([found.level_low, found.k_high]).all()
    assert "no interval over models: 1 of the 8 model pairs have no score" in found.note
    assert "no curve" in plateau(np.full((2, 15), np.nan), K, [0, 1], [0, 0]).note


@pytest.mark.parametrize("shape", [(1, 1), (2, 2)])
def test_scores_that_do_not_change_have_no_plateau(shape):
    found = plateau(np.full((shape[0] * shape[1], 15), 0.3), K, *models(*shape), resamples=20)
    assert np.isnan([found.k, found.k_low, found.k_high]).all() and found.level == pytest.approx(0.3)
    assert found.note.endswith("no plateau: the score is the same at all counts")


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("curves", "k", "options", "words"),
    [
        (np.ones((2, 3)), [1, 2, 3], {}, "at four or more ascending counts"),
        (np.ones((2, 4)), [1, 2, 3], {}, r"curves of shape \(2, 4\) at k=\[1.0, 2.0, 3.0\]"),
        (np.ones((2, 4)), [1, 3, 2, 4], {}, "ascending"),
        (np.ones((2, 4)), [1, 2, 3, 4], {"fraction": 5}, "fraction=5; expected a number > 0 and < 1"),
    ],
)
def test_bad_input_is_refused(curves, k, options, words):
    with pytest.raises(ValueError, match=words):
        plateau(curves, k, *models(2, 1), **options)


def test_models_must_be_as_many_as_curves():
    with pytest.raises(ValueError, match="2 curves, 4 vision and 4 language models: expected one model of each side"):
        plateau(np.ones((2, 15)), K, *models(2, 2))
