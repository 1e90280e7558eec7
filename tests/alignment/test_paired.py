"""The paired t-test: the paper's printed p from its printed t, SciPy, and where nothing can be said."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from vla.alignment.paired import crossed_test, mean_squares, paired_test


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


@pytest.mark.usefixtures("no_type_checks")
def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 scores against 3"):
        paired_test([1, 2], [1, 2, 3])
    for confidence in (0, 1, 95, True):
        with pytest.raises(ValueError, match=f"confidence={confidence}; expected a number > 0 and < 1"):
            paired_test([1, 2, 4], [1, 1, 1], confidence)


def design(rng, I=2, J=4, mean=0.0, vision=1.0, language=1.0, rest=1.0):  # noqa: E741
    """Differences of all pairs, long."""
    table = mean + vision * rng.standard_normal((I, 1)) + language * rng.standard_normal((1, J))
    table = table + rest * rng.standard_normal((I, J))
    v, l = (axis.ravel() for axis in np.meshgrid(range(I), range(J), indexing="ij"))  # noqa: E741
    return pd.DataFrame({"d": table.ravel(), "v": [f"v{i}" for i in v], "l": [f"l{j}" for j in l]})


def test_mean_squares_are_those_of_statsmodels():
    data = design(np.random.default_rng(0), 3, 5)
    anova = sm.stats.anova_lm(smf.ols("d ~ C(v) + C(l)", data).fit())
    np.testing.assert_allclose(mean_squares(data["d"].to_numpy().reshape(3, 5)), anova["mean_sq"], rtol=1e-10)


def test_a_mixed_model_by_restricted_likelihood_agrees():
    """Balanced, all components positive: the same components and the same standard error."""
    data = design(np.random.default_rng(1), 6, 7, mean=0.5)
    ours = crossed_test(data["d"], data["v"], data["l"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm(
            "d ~ 1", data, groups=np.ones(len(data)), vc_formula={"v": "0 + C(v)", "l": "0 + C(l)"}, re_formula="0"
        ).fit(reml=True, method=["powell", "lbfgs"])
    components = np.array([*dict(zip(model.model.exog_vc.names, model.vcomp, strict=True)).values(), model.scale])
    named = dict(zip([*model.model.exog_vc.names, "rest"], components / components.sum(), strict=True))
    assert ours.share_vision == pytest.approx(named["v"], abs=2e-3)
    assert ours.share_language == pytest.approx(named["l"], abs=2e-3)
    assert ours.mean_difference / ours.t == pytest.approx(float(model.bse.iloc[0]), rel=2e-3)
    assert ours.share_vision + ours.share_language + ours.share_rest == pytest.approx(1)


def test_by_hand_on_two_by_two():
    """d = [[1, 2], [4, 7]]: means 1.5, 5.5 | 2.5, 4.5; squares 16, 4, 1; variance (16 + 4 - 1) / 4."""
    found = crossed_test([1, 2, 4, 7], ["a", "a", "b", "b"], ["p", "q", "p", "q"])
    assert mean_squares(np.array([[1.0, 2], [4, 7]])) == (16, 4, 1)
    assert found.t == pytest.approx(3.5 / np.sqrt(19 / 4))
    assert found.df == pytest.approx(19**2 / (16**2 + 4**2 + 1))
    assert found.p == pytest.approx(2 * stats.t.sf(found.t, found.df))
    assert (found.share_vision, found.share_language) == (7.5 / 10, 1.5 / 10)
    assert found.ci_low == pytest.approx(3.5 - stats.t.ppf(0.975, found.df) * np.sqrt(19 / 4))
    assert "one degree of freedom" in found.note


def test_a_component_below_zero_counts_as_zero():
    """No spread between vision models: what is left is the test of the language models' means."""
    table = np.array([[1.0, 2, 5], [1.2, 1.9, 4.9]])
    found = crossed_test(table.ravel(), ["a"] * 3 + ["b"] * 3, list("pqr") * 2)
    alone = stats.ttest_1samp(table.mean(axis=0), 0)
    assert found.share_vision == 0
    assert (found.t, found.df, found.p) == pytest.approx((alone.statistic, 2, alone.pvalue))


def test_nothing_between_models_leaves_the_rest():
    rng = np.random.default_rng(3)
    rest = rng.standard_normal((3, 4))
    rest = rest - rest.mean(0) - rest.mean(1, keepdims=True) + rest.mean() + 2.0
    found = crossed_test(rest.ravel(), np.repeat(list("abc"), 4), list("pqrs") * 3)
    assert (found.share_vision, found.share_language, found.df) == (0, 0, pytest.approx(6))
    assert found.mean_difference / found.t == pytest.approx(np.sqrt(mean_squares(rest)[2] / 12))


def test_it_holds_its_level_where_the_paired_test_does_not():
    """2 x 4 models, nothing to find, as much variance between models as within: at 5 %, 3,000 designs (standard error
    0.4 points). The paired test over eight pairs finds far too much."""
    rng = np.random.default_rng(4)
    ours, paired = [], []
    for _ in range(3000):
        data = design(rng)
        ours.append(crossed_test(data["d"], data["v"], data["l"]).p)
        paired.append(paired_test(data["d"], np.zeros(8)).p)
    assert np.mean(np.array(ours) < 0.05) <= 0.07
    assert np.mean(np.array(paired) < 0.05) > 0.2


def test_a_large_difference_is_found():
    data = design(np.random.default_rng(5), mean=6.0, vision=0.1, language=0.5, rest=0.5)
    found = crossed_test(data["d"], data["v"], data["l"])
    assert found.p < 0.05 and found.ci_low < 6 < found.ci_high


@pytest.mark.parametrize(
    ("d", "vision", "language", "words"),
    [
        ([1.0, 2.0], ["a", "a"], ["p", "q"], "1 vision and 2 language, at least 2 of each"),
        ([1.0, 2.0, 3.0], ["a", "a", "b"], ["p", "q", "p"], "1 of the 4 model pairs have no score"),
        ([1.0, 2.0, 3.0, np.nan], ["a", "a", "b", "b"], ["p", "q"] * 2, "1 of the 4 model pairs have no score"),
        ([1.0] * 4, ["a", "a", "b", "b"], ["p", "q"] * 2, "all model pairs are alike"),
        ([], [], [], "0 vision and 0 language"),
    ],
)
def test_where_nothing_can_be_said_nothing_is(d, vision, language, words):
    found = crossed_test(d, vision, language)
    assert np.isnan([found.t, found.p, found.df, found.ci_low]).all() and words in found.note


def test_pairs_given_twice_or_without_a_model_are_refused():
    with pytest.raises(ValueError, match="The pair a and p is given twice"):
        crossed_test([1, 2], ["a", "a"], ["p", "p"])
    with pytest.raises(ValueError, match="3 differences, 2 vision and 3 language"):
        crossed_test([1, 2, 3], ["a", "b"], ["p", "q", "r"])
