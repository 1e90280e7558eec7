"""The paired t-test: the paper's printed p from its printed t, SciPy, and where nothing can be said."""

import numpy as np
import pytest
from scipy import stats

from vla.alignment.paired import paired_test


def with_t(t, n=8):
    """Scores of n pairs whose paired t is that number."""
    base = np.linspace(-1, 1, n)
    base = (base - base.mean()) / base.std(ddof=1)
    return 0.3 + 0.01 * (base + t / np.sqrt(n)), np.full(n, 0.3)


@pytest.mark.parametrize(("t", "p"), [(-0.8405, 0.4284), (3.4304, 0.0110), (5.3561, 0.0011), (3.9231, 0.0057)])
def test_printed_t_gives_printed_p(t, p):
    found = paired_test(*with_t(t))
    assert (found.n_pairs, found.df, found.note) == (8, 7, "")
    assert found.t == pytest.approx(t, abs=1e-9) and found.p == pytest.approx(p, abs=5e-5)
    assert found.effect_size == pytest.approx(t / np.sqrt(8))


def test_means_and_interval_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t with 2 degrees of freedom 4.3027 at 95 %."""
    found = paired_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.mean_higher, found.mean_lower, found.mean_difference, found.effect_size) == (4, 2, 2, 2)
    reach = 4.302652729911275 / np.sqrt(3)
    np.testing.assert_allclose([found.ci_low, found.ci_high], [2 - reach, 2 + reach])
    wider = paired_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], confidence=0.99)
    assert wider.ci_low < found.ci_low and wider.p == found.p == pytest.approx(2 * stats.t.sf(2 * np.sqrt(3), 2))


def test_turned_round_only_signs_change():
    a, b = np.random.default_rng(0).standard_normal((2, 6))
    there, back = paired_test(a, b), paired_test(b, a)
    assert (there.t, there.mean_difference, there.ci_low) == pytest.approx(
        (-back.t, -back.mean_difference, -back.ci_high)
    )
    assert there.p == back.p


@pytest.mark.parametrize(
    ("higher", "lower", "n", "words"),
    [
        ([], [], 0, "too few model pairs for a test: 0"),
        ([0.4], [0.3], 1, "too few model pairs for a test: 1, at least 2"),
        ([0.4, np.nan], [0.3, 0.2], 1, "1 of 2 model pairs left out: no score; too few"),
        ([0.4, 0.3], [0.2, 0.1], 2, "the differences of all model pairs are alike"),
        ([0.4, 0.4], [0.4, 0.4], 2, "the differences of all model pairs are alike"),
    ],
)
def test_no_number_is_invented(higher, lower, n, words):
    found = paired_test(higher, lower)
    assert found.n_pairs == n and words in found.note
    assert np.isnan([found.t, found.p, found.ci_low, found.ci_high, found.effect_size]).all()
    if n:
        assert found.mean_difference == pytest.approx(np.nanmean(np.subtract(higher, lower)))


def test_pairs_without_a_score_are_left_out_and_counted():
    found = paired_test([1.0, 2.5, 3.0, np.nan], [0.5, 1.0, 2.0, 1.0])
    rest = paired_test([1.0, 2.5, 3.0], [0.5, 1.0, 2.0])
    assert (found.t, found.n_pairs) == (rest.t, 3) and "1 of 4 model pairs left out" in found.note


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 scores against 3"):
        paired_test([1, 2], [1, 2, 3])
    for confidence in (0, 1, 95, True):
        with pytest.raises(ValueError, match=f"confidence={confidence}: expected a share"):
            paired_test([1, 2, 4], [1, 1, 1], confidence)
