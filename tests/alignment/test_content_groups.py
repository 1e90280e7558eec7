"""Groups of items: means by pandas, intervals by SciPy's bootstrap and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from vla.alignment.content_groups import by_group, by_level, expanded_tails, rank_correlation


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    scores = {f"i{row}": float(value) for row, value in enumerate(rng.normal(0.3, 0.1, 200))}
    groups = {f"i{row}": ("animal",) * (row % 2) + ("food",) * (row % 3 == 0) for row in range(200)}
    for row in range(1, 200, 2):
        scores[f"i{row}"] += 0.2
    return scores, groups


def test_means_and_their_intervals(scored):
    scores, groups = scored
    table = by_group(scores, groups, resamples=4000).set_index("group")
    assert table.index.tolist() == ["animal", "food"]
    animal = np.array([scores[item] for item in scores if "animal" in groups[item]])
    rest = np.array([scores[item] for item in scores if "animal" not in groups[item]])
    row = table.loc["animal"]
    assert [row["n_items"], row["n_rest"]] == [100, 100] and row["mean"] == pytest.approx(animal.mean())
    expected = stats.bootstrap((animal,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(expected), abs=0.003)
    assert row["difference"] == pytest.approx(animal.mean() - rest.mean())
    gap = stats.bootstrap(
        (animal, rest), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert [row["difference_ci_low"], row["difference_ci_high"]] == pytest.approx(list(gap), abs=0.004)
    assert row["difference_ci_low"] > 0 and table.loc["food", "difference_ci_low"] < 0
    assert by_group(scores, groups, seed=3).equals(by_group(scores, groups, seed=3))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        values = {f"i{i:02}": float(v) for i, v in enumerate(rng.normal(1, 1, 40))}
        row = by_group(values, {i: ("a" if i < "i30" else "b",) for i in values}, resamples=400, confidence=0.9)
        row = row.set_index("group").loc["a"]
        covered += row["ci_low"] <= 1 <= row["ci_high"]
    assert 0.82 <= covered / 200 <= 0.96


def test_intervals_of_few_items_are_as_wide_as_those_of_t():
    """Percentiles as they are would be 22 % narrower of eight items."""
    rng = np.random.default_rng(1)
    few, many = rng.normal(0, 1, 8), rng.normal(0, 1, 300)
    scores = {f"i{row}": float(value) for row, value in enumerate([*few, *many])}
    groups = {f"i{row}": ("few" if row < 8 else "many",) for row in range(308)}
    row = by_group(scores, groups, resamples=10000).set_index("group").loc["few"]
    for name, t in (("", stats.ttest_1samp(few, 0)), ("difference_", stats.ttest_ind(few, many, equal_var=False))):
        width = np.ptp(t.confidence_interval())
        assert row[f"{name}ci_high"] - row[f"{name}ci_low"] == pytest.approx(width, rel=0.12)


def test_small_groups_are_said_to_be_small(scored):
    scores, groups = scored
    few = {**groups, "i0": ("kite",), "i2": ("kite",)}
    row = by_group(scores, few).set_index("group").loc["kite"]
    assert row["n_items"] == 2 and np.isnan(row["ci_low"]) and np.isnan(row["difference_ci_high"])
    assert row["note"].startswith("too few items") and np.isfinite(row["mean"])
    alone = by_group(scores, dict.fromkeys(scores, ("all",))).iloc[0]
    assert np.isfinite(alone["ci_low"]) and np.isnan(alone["difference"]) and alone["n_rest"] == 0


def test_items_without_a_score_are_left_out(scored):
    scores, groups = scored
    assert by_group({**scores, "i1": np.nan}, groups).set_index("group").loc["animal", "n_items"] == 99
    with pytest.raises(ValueError, match="None of the 200 scored items is in a group"):
        by_group(scores, {"elsewhere": ("animal",)})
    with pytest.raises(ValueError, match="confidence=1.5"):
        by_group(scores, groups, confidence=1.5)


def test_levels_of_equal_size():
    levels = {"a": 3.0, "b": 1.0, "c": 2.0, "d": np.nan, "e": 2.0, "f": 5.0, "g": 0.0}
    parts = by_level(levels, 3, ("low", "middle", "high"))
    assert parts == {"g": ("low",), "b": ("low",), "c": ("middle",), "e": ("middle",), "a": ("high",), "f": ("high",)}
    with pytest.raises(ValueError, match="1 items with a value"):
        by_level({"a": 1.0}, 2, ("low", "high"))


def test_rank_correlation(scored):
    scores, _ = scored
    rng = np.random.default_rng(2)
    levels = {item: 5 * value + rng.normal(0, 0.3) for item, value in scores.items()}
    found = rank_correlation(scores, levels)
    expected = stats.spearmanr(list(scores.values()), list(levels.values())).statistic
    assert found["rho"] == pytest.approx(expected) and found["ci_low"] < expected < found["ci_high"]
    values = np.array([[scores[item], levels[item]] for item in scores])
    peer = stats.bootstrap(
        (values[:, 0], values[:, 1]),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=1,
    ).confidence_interval
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(peer), abs=0.02)
    assert rank_correlation(scores, dict.fromkeys(scores, 1.0))["note"] == "all values are the same"
    with pytest.raises(ValueError, match="2 items have both"):
        rank_correlation(scores, {"i0": 1.0, "i1": 2.0, "other": 3.0, "i2": np.nan})


def test_expanded_quantiles_by_hand():
    """The t quantile of 9 degrees of freedom at 97.5 % is 2.262157; many units need no widening."""
    assert expanded_tails(10, 0.95)[0] == pytest.approx(stats.norm.cdf(-np.sqrt(10 / 9) * 2.262157), abs=1e-6)
    assert expanded_tails(10_000, 0.9) == pytest.approx((0.05, 0.95), abs=1e-4)


def test_means_of_eight_are_covered():
    """1,500 simulations at 95 %, standard error 0.6 points; plain percentiles cover 89 %."""
    rng = np.random.default_rng(0)
    covered, plain = [], []
    for _ in range(1500):
        values = rng.standard_normal(8)
        draws = values[rng.integers(8, size=(1000, 8))].mean(axis=1)
        low, high = np.quantile(draws, expanded_tails(8, 0.95))
        covered.append(low <= 0 <= high)
        low, high = np.quantile(draws, [0.025, 0.975])
        plain.append(low <= 0 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97 and np.mean(plain) < 0.91
