import itertools

import numpy as np
import pytest

from tests.metrics.reference import related
from vla.metrics import METRICS
from vla.metrics.matching import MatchingSettings


def score(name, x, y, absolute=False):
    return METRICS[name].all_pairs(x[None], y[None], MatchingSettings(absolute))[0, 0, 0]


def correlations(x, y, absolute=False):
    r = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    return np.abs(r) if absolute else r


def best_of_all_matchings(r):
    r = r if r.shape[0] <= r.shape[1] else r.T
    rows = np.arange(len(r))
    return max(np.mean(r[rows, list(order)]) for order in itertools.permutations(range(r.shape[1]), len(r)))


def layers(d, e, seed=0):
    x, y = related(seed, 30, d, e, latent=3)
    return x, y * [(-1) ** j for j in range(e)]


@pytest.mark.parametrize(
    ("widths", "absolute"), [((6, 6), False), ((4, 7), True), ((7, 4), False), ((1, 3), False), ((1, 1), True)]
)
def test_equals_brute_force(widths, absolute):
    x, y = layers(*widths)
    r = correlations(x, y, absolute)
    assert score("pairwise_matching", x, y, absolute) == pytest.approx(r.max(axis=0).mean(), abs=1e-12)
    assert score("permutation_matching", x, y, absolute) == pytest.approx(best_of_all_matchings(r), abs=1e-12)


def test_a_shuffled_copy_is_a_perfect_match():
    x, _ = layers(9, 2)
    order = np.random.default_rng(0).permutation(9)
    for name in ("pairwise_matching", "permutation_matching"):
        assert score(name, x, x[:, order]) == pytest.approx(1, abs=1e-12)
        assert score(name, x, -x[:, order]) < 0.95
        assert score(name, x, -x[:, order], absolute=True) == pytest.approx(1, abs=1e-12)


def test_many_targets_may_share_one_counterpart_only_in_pairwise_matching():
    x, _ = layers(6, 2)
    y = np.repeat(x[:, :1], 6, axis=1)
    assert score("pairwise_matching", x, y) == pytest.approx(1, abs=1e-12)
    expected = (1 + correlations(x[:, 1:], x[:, :1]).sum()) / 6
    assert score("permutation_matching", x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["pairwise_matching", "permutation_matching", "soft_matching"])
def test_constant_units_are_left_out(name):
    x, y = layers(5, 4)
    still = np.full((30, 2), 0.1)  # a constant whose mean is not exact in binary
    metric = METRICS[name]
    (plain,), (padded,) = (
        metric.all_pairs(a[None], b[None], metric.settings())[0]
        for a, b in ((x, y), (np.concatenate([still, x], axis=1), np.concatenate([y, still], axis=1)))
    )
    assert padded == pytest.approx(plain, abs=1e-12)
