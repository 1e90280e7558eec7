import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from tests.metrics.test_cka import debiased_of_grams
from vla.metrics import METRICS
from vla.metrics.cka import KernelSettings


def kernel(x, bandwidth):
    """As Kornblith et al. write it, from SciPy's distances."""
    distances = pdist(x)
    return np.exp(-(squareform(distances) ** 2) / (2 * (bandwidth * np.median(distances)) ** 2))


def biased_of_grams(k, lo):
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(a, b):
        return np.trace(a @ h @ b @ h)

    return hsic(k, lo) / np.sqrt(hsic(k, k) * hsic(lo, lo))


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("name", "plain"), [("cka_rbf", biased_of_grams), ("cka_rbf_debiased", debiased_of_grams)])
def test_equals_plain_numpy(name, plain, bandwidth):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 30, 6)) + 2
    y = np.concatenate([rng.standard_normal((1, 30, 4)), x[:1, :, :4]])
    (table,) = METRICS[name].all_pairs(x, y, settings=KernelSettings(bandwidth))
    expected = [[plain(kernel(a, bandwidth), kernel(b, bandwidth)) for b in y] for a in x]
    np.testing.assert_allclose(table, expected, atol=1e-10)


def test_items_that_are_mostly_alike_have_no_median_distance():
    x = np.zeros((1, 10, 3))
    x[0, 0] = 1
    for name in ("cka_rbf", "cka_rbf_debiased"):
        assert np.isnan(METRICS[name].all_pairs(x, x, settings=KernelSettings())).all()


@pytest.mark.parametrize("bandwidth", [0, -1.0, np.inf, np.nan, "1", True])
def test_a_bandwidth_is_positive(bandwidth):
    with pytest.raises(ValueError, match="bandwidth=.*; expected a number > 0"):
        KernelSettings(bandwidth)


def test_three_items_are_too_few_for_the_unbiased_estimator():
    with pytest.raises(ValueError, match="cka_rbf_debiased needs at least 4 items; 3 given"):
        METRICS["cka_rbf_debiased"].all_pairs(np.ones((1, 3, 2)), np.ones((1, 3, 2)), settings=KernelSettings())


def test_one_item_has_no_distances():
    one = np.ones((1, 1, 3))
    with pytest.raises(ValueError, match="at least 2 items; 1 given"):
        METRICS["cka_rbf"].all_pairs(one, one, settings=METRICS["cka_rbf"].settings())
