import numpy as np
import pytest
from scipy.optimize import linprog

from tests.metrics.test_matching import correlations, layers
from vla.metrics import METRICS
from vla.metrics.matching import transport


def score(name, x, y):
    return METRICS[name].all_pairs(x[None], y[None])[0, 0, 0]


def plan(r):
    """The best plan as a linear programme with all its marginals written out."""
    d, e = r.shape
    sums = np.concatenate([np.kron(np.eye(d), np.ones((1, e))), np.kron(np.ones((1, d)), np.eye(e))])
    found = linprog(-r.ravel(), A_eq=sums, b_eq=np.concatenate([np.full(d, 1 / d), np.full(e, 1 / e)]))
    assert found.status == 0
    return found.x.reshape(d, e)


@pytest.mark.parametrize("widths", [(4, 6), (7, 5), (6, 6), (1, 5)])
def test_equals_the_linear_programme(widths):
    x, y = layers(*widths)
    r = correlations(x, y)
    p = plan(r)
    assert score("soft_matching", x, y) == pytest.approx(np.sum(p * r), abs=1e-9)
    a, b = ((side - side.mean(0)) / np.linalg.norm(side - side.mean(0), axis=0) for side in (x, y))
    squares = np.sum((a[:, :, None] - b[:, None, :]) ** 2, axis=0)
    assert score("soft_matching_distance", x, y) == pytest.approx(np.sqrt(np.sum(p * squares)), abs=1e-9)


def test_of_equal_widths_it_is_one_to_one_matching():
    x, y = layers(40, 40)
    assert score("soft_matching", x, y) == pytest.approx(score("permutation_matching", x, y), abs=1e-12)


def test_copies_of_every_unit_change_nothing():
    """What matching one to one cannot do."""
    x, y = layers(7, 5)
    twice = np.repeat(x, 2, axis=1)
    assert score("soft_matching", twice, y) == pytest.approx(score("soft_matching", x, y), abs=1e-9)
    assert score("soft_matching", twice, x) == pytest.approx(1, abs=1e-9)
    assert score("soft_matching_distance", twice, x) == pytest.approx(0, abs=1e-6)


def test_the_triangle_inequality_holds():
    x, y = layers(7, 5)
    z, _ = layers(6, 1, seed=1)
    distance = METRICS["soft_matching_distance"].all_pairs
    xy, xz, zy = (distance(a[None], b[None])[0, 0, 0] for a, b in ((x, y), (x, z), (z, y)))
    assert xy <= xz + zy


def test_a_larger_problem_is_solved_to_the_optimum():
    """Dual certificate: no plan is better than the potentials allow, here those of a plan known to be the best."""
    rng = np.random.default_rng(0)
    r = rng.uniform(-0.2, 0.2, (60, 150))
    assert transport(r) == pytest.approx(np.sum(plan(r) * r), abs=1e-8)
