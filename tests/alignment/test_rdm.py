"""Distances of humans or brains as the target of RSA, CKA and mutual k-NN."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist, squareform

import vla


def layers():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((30, 3))
    return (
        side(rng, z, 6) for side in 2 * [lambda rng, z, d: z @ rng.standard_normal((3, d)) + rng.normal(size=(30, d))]
    )


@pytest.mark.parametrize("comparison", ["spearman", "pearson", "tau_b"])
def test_rsa_with_distances_is_scipys(comparison):
    x, y = layers()
    d = pdist(y, "cityblock")
    expected = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "tau_b": stats.kendalltau}[comparison]
    result = vla.score(x, vla.rdm(d), metric="rsa", comparison=comparison)
    assert result.score.item() == pytest.approx(expected(pdist(x, "correlation"), d).statistic, abs=1e-10)


@pytest.mark.parametrize(
    ("metric", "measure", "options"),
    [
        ("cka", "euclidean", {}),
        ("cka_debiased", "euclidean", {}),
        ("cka_rbf", "euclidean", {}),
        ("mutual_knn", "euclidean", {"neighbours": 4, "nearness": "euclidean"}),
        ("rsa", "euclidean", {"dissimilarity": "euclidean"}),
    ],
)
def test_distances_of_a_layer_score_as_the_layer(metric, measure, options):
    """With nulls, groups and intervals."""
    x, y = layers()
    more = {"null": 19, "bootstrap": 8, "groups": np.repeat(np.arange(10), 3), **options}
    result = vla.score(x, vla.rdm(cdist(y, y, measure)), metric=metric, **more)
    expected = vla.score(x, y, metric=metric, **more)
    for name in ("score", "null_score", "resampled_score"):
        np.testing.assert_allclose(result[name], expected[name], atol=1e-9)


def test_items_are_joined_by_name_on_both_axes():
    x, y = layers()
    names = [f"item {i}" for i in range(30)]
    order = np.random.default_rng(1).permutation(30)
    d = pd.DataFrame(cdist(y, y)[np.ix_(order, order)], index=[names[i] for i in order])
    frame = pd.DataFrame(x, index=names)
    joined, plain = (vla.score(frame, vla.rdm(of), metric="rsa") for of in (d, pd.DataFrame(cdist(y, y), index=names)))
    assert joined.score.item() == plain.score.item()
    several = vla.rdm(np.stack([cdist(y, y), cdist(x, x, "correlation")]), items=names)
    assert vla.score(frame, several, metric="rsa").score.values[0] == pytest.approx([plain.score.item(), 1.0])


def refused(change):
    d = 3.5 * squareform(np.ones(435))
    change(d)
    return d


@pytest.mark.parametrize(
    ("d", "words"),
    [
        (np.ones((30, 29)), r"shape \(30, 29\); expected as many columns as items"),
        (refused(lambda d: d.__setitem__((0, 1), 9)), "not symmetric, at layer 0, items 0 and 1"),
        (-refused(lambda d: None), r"negative \(a similarity s becomes a distance as s.max\(\) - s\)"),
        (refused(lambda d: d.__setitem__((2, 2), 1)), "not 0 on the diagonal, at layer 0, items 2 and 2"),
    ],
)
def test_what_is_no_matrix_of_distances_is_refused(d, words):
    with pytest.raises(ValueError, match=words):
        vla.rdm(d)


def test_metrics_that_need_activations_say_so():
    x, y = layers()
    d = vla.rdm(cdist(y, y))
    for metric in ("linear_predictivity", "cknna", "procrustes"):
        with pytest.raises(ValueError, match=f"{metric} needs activations; y is a matrix of distances"):
            vla.score(x, d, metric=metric)
    with pytest.raises(ValueError, match="give them as y"):
        vla.score(d, x, metric="rsa")
