import jax.numpy as jnp
import numpy as np
import pytest

from vla import devices
from vla.metrics import METRICS, cka


def _plain_cka(x, y):
    """The paper's appendix A.1, letter by letter."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    k, lo = h @ (x @ x.T) @ h, h @ (y @ y.T) @ h

    def hsic(a, b):
        return np.trace(a @ b) / n**2

    return hsic(k, lo) / np.sqrt(hsic(k, k) * hsic(lo, lo))


def debiased_of_grams(k, lo):
    """Song et al. (2012), equation 5: traces and sums, no centring."""

    def hsic(k, lo):
        n = len(k)
        k, lo = k - np.diag(np.diag(k)), lo - np.diag(np.diag(lo))
        one = np.ones(n)
        return (
            np.trace(k @ lo)
            + (one @ k @ one) * (one @ lo @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ lo @ one)
        ) / (n * (n - 3))

    return hsic(k, lo) / np.sqrt(hsic(k, k) * hsic(lo, lo))


def _plain_debiased(x, y):
    return debiased_of_grams(x @ x.T, y @ y.T)


@pytest.mark.parametrize(("name", "plain"), [("cka", _plain_cka), ("cka_debiased", _plain_debiased)])
@pytest.mark.parametrize("shape", [(40, 10, 90), (25, 60, 3)])
def test_equals_plain_numpy(name, plain, shape):
    n, d, e = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, n, d)) + 2
    y = np.concatenate([rng.standard_normal((2, n, e)), x[:1, :, :1] + 0.1 * rng.standard_normal((1, n, e))])
    table = METRICS[name].all_pairs(x, y)
    expected = [[plain(a, b) for b in y] for a in x]
    np.testing.assert_allclose(table[0], expected, atol=1e-10)


def test_a_large_mean_costs_no_digits():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((1, 30, 8)), rng.standard_normal((1, 30, 8))
    np.testing.assert_allclose(METRICS["cka"].all_pairs(x + 1e6, y), METRICS["cka"].all_pairs(x, y), atol=1e-8)


def test_float32_activations_score_as_their_float64_values():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((1, 30, 8)).astype(np.float32), rng.standard_normal((1, 30, 9)).astype(np.float32)
    for name in ("cka", "cka_debiased"):
        single, double = (METRICS[name].all_pairs(x.astype(t), y.astype(t)) for t in (np.float32, np.float64))
        np.testing.assert_allclose(single, double, atol=1e-13)


def test_independent_features_show_the_bias_and_its_removal():
    """At n=1,000 and widths 1,024 and 2,560 independent Gaussian features have biased CKA of about 0.60."""
    rng = np.random.default_rng(3)
    x, y = (rng.standard_normal((1, 1000, d)).astype(np.float32) for d in (1024, 2560))
    assert METRICS["cka"].all_pairs(x, y)[0, 0, 0] == pytest.approx(0.60, abs=0.01)
    assert abs(METRICS["cka_debiased"].all_pairs(x, y)[0, 0, 0]) < 0.01


def test_a_pairing_equals_reordering_the_items():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 20, 5)), rng.standard_normal((2, 20, 6))
    order = rng.permutation(20)
    for name in ("cka", "cka_debiased"):
        both = METRICS[name].all_pairs(x, y, pairings=np.stack([np.arange(20), order]))
        np.testing.assert_allclose(both[1], METRICS[name].all_pairs(x, y[:, order])[0], atol=1e-14)


def test_items_that_are_all_alike_have_no_score():
    x, y = np.full((1, 10, 4), 0.1), np.random.default_rng(0).standard_normal((1, 10, 4))
    for name in ("cka", "cka_debiased"):
        assert np.isnan(METRICS[name].all_pairs(x, y)).all()


@devices.in_float64
def test_three_items_are_too_few_for_the_unbiased_estimator():
    with pytest.raises(ValueError, match="at least 4 items; 3 given"):
        cka.debiased(jnp.ones((3, 3)))


@pytest.mark.parametrize("name", ["cka_debiased", "cka_rbf_debiased"])
def test_items_that_are_all_as_alike_as_each_other_have_no_debiased_score(name):
    """The unbiased HSIC of such a layer with itself is zero: what rounding leaves of it must not be scaled up."""
    n, rng = 24, np.random.default_rng(0)
    y, alone = rng.standard_normal((1, n, 5)), np.zeros((n, n))
    alone[2] = rng.standard_normal(n)
    x = np.stack([np.eye(n), 0.3 * np.eye(n) + 0.7, alone])
    metric = METRICS[name]
    for found in (
        metric.all_pairs(x, y, settings=metric.settings()),
        metric.scores_of_subsets(x, y, metric.settings(), [np.arange(1, n)]),
    ):
        assert np.isnan(found).all()


def test_a_subset_of_copies_of_one_item_has_no_score():
    """Their inner products differ by rounding error, which scaled up is a score of -0.16."""
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((1, 18, 40)) + 1, rng.standard_normal((1, 18, 5))
    x[0, 1:10] = x[0, 1]
    assert np.isnan(METRICS["cka"].scores_of_subsets(x, y, METRICS["cka"].settings(), [np.arange(1, 10)])).all()
