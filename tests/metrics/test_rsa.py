import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from vla.metrics import METRICS, rsa

all_pairs = METRICS["rsa"].all_pairs


def layers(n=25, d=8, e=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, n, d)) + 1
    return x, np.concatenate([rng.standard_normal((1, n, e)), x[:1, :, :e] + rng.standard_normal((1, n, e))])


def _rho_a(a, b):
    """Spearman's rho with ties broken at random, on average, from its definition."""
    m = len(a)
    a, b = stats.rankdata(a), stats.rankdata(b)
    return 12 * (a @ b) / (m**3 - m) - 3 * (m + 1) / (m - 1)


def _tau_a(a, b):
    """Concordant less discordant pairs over all pairs, from the definition."""
    signs = [np.sign(side[:, None] - side[None])[np.tril_indices(len(side), -1)] for side in (a, b)]
    return np.mean(signs[0] * signs[1])


COMPARE = {
    "pearson": lambda a, b: stats.pearsonr(a, b).statistic,
    "spearman": lambda a, b: stats.spearmanr(a, b).statistic,
    "rho_a": _rho_a,
    "tau_a": _tau_a,
    "tau_b": lambda a, b: stats.kendalltau(a, b).statistic,
    "cosine": lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
}


@pytest.mark.parametrize("comparison", sorted(COMPARE))
@pytest.mark.parametrize(
    ("dissimilarity", "name"),
    [("correlation", "correlation"), ("euclidean", "euclidean"), ("squared_euclidean", "sqeuclidean")],
)
def test_equals_scipy_on_the_distances_of_scipy(comparison, dissimilarity, name):
    x, y = layers()
    (table,) = all_pairs(x, y, rsa.RsaSettings(dissimilarity, comparison))
    expected = [[COMPARE[comparison](pdist(a, name), pdist(b, name)) for b in y] for a in x]
    np.testing.assert_allclose(table, expected, atol=1e-10)


@pytest.mark.parametrize("comparison", ["spearman", "rho_a", "tau_a", "tau_b"])
def test_tied_distances(comparison):
    x = np.round(layers()[0])
    x[:, 3] = x[:, 4]
    (table,) = all_pairs(x, x[:, ::-1], rsa.RsaSettings("squared_euclidean", comparison))
    a, b = pdist(x[0], "sqeuclidean"), pdist(x[1, ::-1], "sqeuclidean")
    assert len(np.unique(a)) < len(a) / 2
    assert table[0, 1] == pytest.approx(COMPARE[comparison](a, b), abs=1e-10)


@pytest.mark.parametrize("dissimilarity", ["correlation", "squared_euclidean"])
def test_the_whitened_comparison_is_a_cosine_under_the_covariance_of_distances(dissimilarity):
    """Diedrichsen et al. (2021): distances of estimates with independent, equal noise have the covariance (C C')^2 of
    the contrasts C between items; the comparison is a' V^-1 b / sqrt(a' V^-1 a b' V^-1 b)."""
    x, y = layers(12)
    n = 12
    contrasts = np.array([np.eye(n)[i] - np.eye(n)[j] for i in range(n) for j in range(i + 1, n)])
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    name = {"correlation": "correlation", "squared_euclidean": "sqeuclidean"}[dissimilarity]
    (table,) = all_pairs(x, y, rsa.RsaSettings(dissimilarity, "whitened"))
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            a_, b_ = pdist(a, name), pdist(b, name)
            expected = a_ @ inverse @ b_ / np.sqrt((a_ @ inverse @ a_) * (b_ @ inverse @ b_))
            assert table[i, j] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("comparison", ["spearman", "tau_b"])
def test_a_pairing_reorders_items(comparison):
    x, y = layers()
    order = np.random.default_rng(1).permutation(25)
    (table,) = all_pairs(x, y, rsa.RsaSettings(comparison=comparison), pairings=order[None])
    a, b = squareform(pdist(x[0], "correlation")), squareform(pdist(y[0], "correlation"))[np.ix_(order, order)]
    below = np.tril_indices(25, -1)
    assert table[0, 0] == pytest.approx(COMPARE[comparison](a[below], b[below]), abs=1e-10)


def test_items_without_a_pattern_have_no_correlation_distance():
    x, y = layers()
    x[0, 4] = 0.7
    table = all_pairs(x, y, rsa.RsaSettings())[0]
    assert np.isnan(table[0]).all() and np.isfinite(table[1]).all()
    x[0] = 0.7
    for dissimilarity in rsa.DISSIMILARITIES:
        for comparison in rsa.COMPARISONS:
            table = all_pairs(x, y, rsa.RsaSettings(dissimilarity, comparison))[0]
            assert np.isnan(table[0]).all() and np.isfinite(table[1]).all()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"dissimilarity": "manhattan"}, "dissimilarity='manhattan'; expected one of correlation, euclidean"),
        ({"comparison": "kendal"}, "comparison='kendal'; expected one of cosine, "),
    ],
)
def test_bad_settings(bad, words):
    with pytest.raises(ValueError, match=words):
        rsa.RsaSettings(**bad)


def test_too_little_data():
    with pytest.raises(ValueError, match="at least 3 items; 2 given"):
        all_pairs(np.ones((1, 2, 3)), np.ones((1, 2, 3)), rsa.RsaSettings())
    with pytest.raises(ValueError, match="at least 2 units"):
        all_pairs(np.ones((1, 5, 1)), np.ones((1, 5, 3)), rsa.RsaSettings())


@pytest.mark.parametrize("dissimilarity", rsa.DISSIMILARITIES)
@pytest.mark.parametrize("comparison", ["pearson", "spearman", "rho_a", "tau_a", "tau_b"])
def test_distances_that_are_all_alike_correlate_with_nothing(dissimilarity, comparison):
    """Up to rounding they are the same; what they differ by is not to be scaled up."""
    x, y = np.stack([np.eye(24), 0.3 * np.eye(24) + 0.7]), np.random.default_rng(0).standard_normal((1, 24, 7))
    assert np.isnan(all_pairs(x, y, rsa.RsaSettings(dissimilarity, comparison))).all()
