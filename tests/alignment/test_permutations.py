"""Which items trade places: counted by brute force, distinct, and p-values that are exact by simulation."""

import collections
import itertools

import numpy as np
import pytest

from vla.alignment.measure import measure, pairings
from vla.alignment.permutations import Permutations, halves
from vla.alignment.score import score
from vla.alignment.significance import significance
from vla.alignment.task import make_tasks
from vla.metrics import METRICS

SIZES = {"equal": [3] * 8, "unequal": [1] * 3 + [2] * 3 + [3] * 3 + [4] * 2}
# Small enough to be quick, and large enough for every metric.
OPTIONS = {
    "linear_predictivity": {"alphas": (1.0,), "outer_folds": 2},
    "mutual_knn": {"neighbours": 3},
    "cknna": {"neighbours": 3},
}


def exchanges(groups):
    """Every order of the items that puts whole groups in place of groups of equal size, by brute force."""
    rows = {name: [i for i, group in enumerate(groups) if group == name] for name in sorted(set(groups))}
    for names in itertools.permutations(rows):
        if all(len(rows[a]) == len(rows[b]) for a, b in zip(rows, names, strict=True)):
            order = [0] * len(groups)
            for a, b in zip(rows, names, strict=True):
                for i, j in zip(rows[a], rows[b], strict=True):
                    order[i] = j
            yield tuple(order)


@pytest.mark.parametrize("groups", ["aabbcdddeefg", "abcabdce", None])
def test_all_permutations_are_drawn_each_once(groups):
    n = 5 if groups is None else len(groups)
    expected = set(itertools.permutations(range(5))) if groups is None else set(exchanges(groups))
    drawn = Permutations(n, None if groups is None else list(groups), 0)
    orders = drawn.first(10**6)
    assert drawn.possible == len(expected) == len(orders) + 1
    assert {tuple(order) for order in orders.tolist()} == expected - {tuple(range(n))}
    np.testing.assert_array_equal(drawn.first(7), orders[:7])


def test_few_of_them_are_drawn_alike_often():
    """Three of the five exchanges of three groups of two, over seeds: each in 3/5 of them."""
    times = collections.Counter(
        tuple(order) for seed in range(1000) for order in Permutations(6, list("aabbcc"), seed).first(3).tolist()
    )
    assert len(times) == 5 and all(abs(count - 600) < 80 for count in times.values())


def test_many_are_distinct_and_a_longer_sequence_begins_with_the_shorter():
    groups = np.repeat(np.arange(20), 2)
    long = Permutations(40, groups, 1).first(300)
    assert len(np.unique(long, axis=0)) == 300
    np.testing.assert_array_equal(Permutations(40, groups, 1).first(10), long[:10])
    assert Permutations(40, groups, 1).fixed_items == 0
    assert Permutations(7, list("aabbccc"), 1).fixed_items == 3


def test_too_few_to_reach_any_p_value_are_refused_in_words():
    x, y = np.random.default_rng(0).standard_normal((2, 14, 3))
    with pytest.raises(ValueError, match="1 group of 2, 2 groups of 6 have only 2 arrangements.*set null=0"):
        score(x, y, "cka", groups=[0] * 6 + [1] * 6 + [2] * 2, null=19)
    with pytest.raises(ValueError, match="3 items have only 6 orders.*at least 4 items, or null=0"):
        score(x[:3], y[:3], "cka", null=19)
    result = score(x, y, "cka", groups=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4], null=99)
    assert result.sizes["permutation"] == 23 and result.attrs["null_fixed_items"] == 6  # 4! less the identity


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("sizes", SIZES)
def test_groups_reach_every_metric(metric, sizes):
    """The null is that of the exchanged groups, the halves part none; the same alone and among other metrics."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(len(SIZES[sizes])), SIZES[sizes]))
    x, y = rng.standard_normal((2, 1, len(groups), 3))
    options = OPTIONS.get(metric, {})
    (task,) = make_tasks([metric], "paper", 5, 20, {**options, "groups": groups.tolist()})
    (measured,) = measure([task], x, y)
    order = pairings(task, len(groups))[3]
    for group in range(len(SIZES[sizes])):
        there = groups[order[groups == group]]
        assert len(set(there)) == 1 and (groups == there[0]).sum() == len(there)
    np.testing.assert_allclose(
        measured["null_score"].values[2], measure([task], x, y[:, order])[0]["score"].values, atol=1e-9
    )
    together = score(x, y, ["cka", metric] if metric != "cka" else ["cka", "rsa"], seed=5, null=20,
                     groups=groups, **options)[metric]  # fmt: skip
    np.testing.assert_allclose(together["null_score"].values, measured["null_score"].values, atol=1e-12)
    assert "groups" in together.attrs["settings"]


@pytest.mark.parametrize("sizes", SIZES)
def test_false_findings_on_grouped_data(sizes):
    """Of unrelated sides that are alike within groups, 5 % within 2.2 points (three standard errors of 900 runs).

    30 layers of x, each with one of y, under 30 seeds. Without whole groups the rate is 73 % for CKA.
    """
    rng, found = np.random.default_rng(1), []
    for seed in range(30):
        groups = rng.permutation(np.repeat(np.arange(len(SIZES[sizes])), SIZES[sizes]))
        x, y = (rng.standard_normal((30, len(SIZES[sizes]), 3))[:, groups] for _ in range(2))
        x, y = (side + 0.3 * rng.standard_normal(side.shape) for side in (x, y))
        (task,) = make_tasks(["cka_debiased"], "paper", seed, 19, {"groups": groups.tolist()})
        found.extend(np.diag(significance(measure([task], x, y)[0], null=19)["p_value"].values) <= 0.05)
    assert abs(np.mean(found) - 0.05) <= 0.022


def sparse_target(rng, ones=3, n=24):
    """A few items that are not zero: where all are in one fold, the training targets of the other are constant."""
    y = np.zeros((n, 1))
    y[rng.choice(n, ones, replace=False)] = 1
    return y


def test_further_permutations_are_drawn_until_enough_have_a_score():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((3, 24, 4)), np.stack([sparse_target(rng) for _ in range(4)])
    options = {"outer_folds": 2, "alphas": (1.0, 100.0)}
    result = score(x, y, null=39, seed=1, **options)
    known = np.isfinite(result["null_score"].values).sum(axis=0)
    scored = np.isfinite(result["score"].values)
    assert scored.any() and (known[scored] == 39).all() and result.sizes["permutation"] > 39
    # Whatever other layers there are.
    for i, j in np.argwhere(scored):
        alone = score(x[i : i + 1], y[j : j + 1], null=39, seed=1, **options)
        assert alone["p_value"].item() == result["p_value"][i, j].item()
        assert alone["null_mean"].item() == pytest.approx(result["null_mean"][i, j].item())
    one, other = (score(x, {"a": y[:2], "b": y[2:]}, null=39, seed=1, **options)[name] for name in "ab")
    np.testing.assert_array_equal(np.hstack([one["p_value"], other["p_value"]]), result["p_value"])


def test_halves_are_disjoint_and_even():
    for n in (10, 11):
        for first, second in halves(n, None, 20, 3):
            assert len(first) == len(second) == 5 and not set(first) & set(second)
    again = halves(11, None, 20, 3)
    np.testing.assert_array_equal(again[7][0], halves(11, None, 20, 3)[7][0])
    assert len({tuple(first) for first, _ in again}) > 15


def test_halves_of_groups_are_of_whole_groups():
    groups = np.array(["a"] * 5 + ["b"] * 3 + ["c", "d", "e", "f"])
    for first, second in halves(12, groups, 10, 0):
        assert sorted([*first, *second]) == list(range(12))
        assert not set(groups[first]) & set(groups[second]) and 4 <= len(first) <= 8
