"""Extreme activations: an item or a unit far larger than the rest, tiny and huge float32 values, a large offset.

The reference of every metric is written out in float64 from its definition, on layers that are centred first where the
metric ignores an offset.
"""

import functools

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.optimize import linear_sum_assignment
from sklearn.model_selection import KFold

from tests.metrics.reference import ALPHAS, related
from tests.metrics.test_cka import debiased_of_grams
from tests.metrics.test_cka_rbf import biased_of_grams, kernel
from tests.metrics.test_cknna import plain as cknna
from tests.metrics.test_matching import correlations
from tests.metrics.test_mutual_knn import expected as shared_neighbours
from tests.metrics.test_ridge_measures import matching, retrieval
from tests.metrics.test_shape import expected
from vla.metrics import METRICS


def score(name, x, y):
    metric, order = METRICS[name], np.arange(len(x))[None]
    return float(metric.scores(x[None], y[None], metric.settings(), order).score[0, 0, 0])


def layers(dtype):
    return related(0, 30, 6, 6, dtype=dtype)


def centred(x):
    return x - x.mean(axis=0)


def predicted(x, y, alpha):
    """Ridge regression with an intercept as least squares with one more row for every unit."""
    mean, rows = x.mean(axis=0), centred(x)
    stacked = np.concatenate([rows, np.sqrt(alpha) * np.eye(x.shape[1])])
    coefficients = linalg.lstsq(stacked, np.concatenate([centred(y), np.zeros((x.shape[1], y.shape[1]))]))[0]
    return lambda other: y.mean(axis=0) + (other - mean) @ coefficients


def ridge(measure, x, y):
    """Every item of a training fold is left out in turn to choose the penalty."""
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=42).split(x):
        (a, b), (a_test, b_test) = (
            [(side[rows] - side[train].mean(axis=0)) / side[train].std(axis=0) for side in (x, y)]
            for rows in (train, test)
        )
        others = [np.delete(np.arange(len(a)), i) for i in range(len(a))]
        losses = [
            sum(np.sum((predicted(a[rest], b[rest], alpha)(a[i]) - b[i]) ** 2) for i, rest in enumerate(others))
            for alpha in ALPHAS
        ]
        scores.append(measure(b_test, predicted(a, b, ALPHAS[np.argmin(losses)])(a_test)))
    return np.mean(scores)


def pearson(true, predictions):
    return np.mean([stats.pearsonr(a, b).statistic for a, b in zip(true.T, predictions.T, strict=True)])


def canonical(x, y, variance=1.0):
    bases = []
    for side in (x, y):
        vectors, values, _ = np.linalg.svd(centred(side), full_matrices=False)
        share = np.cumsum(values**2) / np.sum(values**2)
        bases.append(vectors[:, : np.searchsorted(share, variance - 1e-12) + 1])
    return np.mean(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False))


def projection_weighted(x, y):
    """Morcos et al. (2018), section 2.1, from orthonormal bases of units of equal scale."""
    bases = [np.linalg.svd(centred(side / side.std(axis=0)), full_matrices=False)[0] for side in (x, y)]
    u, r, _ = np.linalg.svd(bases[0].T @ bases[1])
    weights = np.abs((bases[0] @ u).T @ centred(x)).sum(axis=1)
    return weights @ r / weights.sum()


def correlation_distances(x):
    """1 - r as half the squared distance of unit vectors, which keeps the digits where r is close to 1."""
    unit = centred(x.astype(np.longdouble).T).T
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return [np.sum((unit[i] - unit[j]) ** 2) / 2 for i in range(len(x)) for j in range(i)]


def procrustes(x, y):
    return np.linalg.norm(centred(x).T @ centred(y), "nuc") / np.linalg.norm(centred(x)) / np.linalg.norm(centred(y))


def one_to_one(x, y):
    r = correlations(x, y)
    return r[linear_sum_assignment(r, maximize=True)].mean()


def gram(x):
    return centred(x) @ centred(x).T


REFERENCES = {
    "linear_predictivity": functools.partial(ridge, pearson),
    "retrieval": functools.partial(ridge, retrieval),
    "matching_accuracy": functools.partial(ridge, matching),
    "cka": lambda x, y: biased_of_grams(gram(x), gram(y)),
    "cka_debiased": lambda x, y: debiased_of_grams(gram(x), gram(y)),
    "cka_rbf": lambda x, y: biased_of_grams(kernel(x, 1.0), kernel(y, 1.0)),
    "cka_rbf_debiased": lambda x, y: debiased_of_grams(kernel(x, 1.0), kernel(y, 1.0)),
    "mutual_knn": lambda x, y: shared_neighbours(x, y, 10),
    "cknna": cknna,
    "rsa": lambda x, y: stats.spearmanr(correlation_distances(x), correlation_distances(y)).statistic,
    # Correlations with all directions do not see the scale of a unit.
    "cca": lambda x, y: canonical(x / x.std(axis=0), y / y.std(axis=0)),
    "svcca": lambda x, y: canonical(x, y, 0.99),
    "pwcca": projection_weighted,
    "procrustes": procrustes,
    "shape_distance": lambda x, y: np.arccos(procrustes(x, y)),
    "shape_distance_cv": lambda x, y: np.mean(
        [expected(x, y, 1.0, *fold) for fold in KFold(5, shuffle=True, random_state=42).split(x)]
    ),
    "pairwise_matching": lambda x, y: correlations(x, y).max(axis=0).mean(),
    "permutation_matching": one_to_one,
    "soft_matching": one_to_one,
    "soft_matching_distance": lambda x, y: np.sqrt(2 - 2 * one_to_one(x, y)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("larger", ["an item", "a unit"])
@pytest.mark.parametrize("name", sorted(METRICS))
def test_an_item_or_a_unit_a_million_times_larger(name, larger, dtype):
    x, y = layers(dtype)
    if larger == "an item":
        x[3] *= 1e6
    else:
        # Of one sign: where it differs, 1 - r is so close to 2 that distances of float64 tie.
        x[:, 3] = 1e6 * np.abs(x[:, 3])
    assert score(name, x, y) == pytest.approx(REFERENCES[name](x.astype(float), y.astype(float)), abs=1e-6)


@pytest.mark.parametrize("exponent", [-100, 100])
@pytest.mark.parametrize("name", sorted(METRICS))
def test_tiny_and_huge_float32_values_score_as_others(name, exponent):
    """By a power of two, 8e-31 and 1.3e30, so that nothing is rounded."""
    x, y = layers(np.float32)
    before = score(name, x, y)
    assert score(name, x * np.float32(2.0**exponent), y) == pytest.approx(before, abs=1e-12)
    assert score(name, x, y * np.float32(2.0**exponent)) == pytest.approx(before, abs=1e-12)


OFFSET = sorted(name for name, metric in METRICS.items() if "translation" in metric.invariances)


@pytest.mark.parametrize("name", OFFSET)
def test_a_large_offset_costs_no_digits(name):
    """Whole numbers, so that 10,000,000 more are exact in float32."""
    x, y = (np.round(100 * side) for side in layers(np.float32))
    assert score(name, x + np.float32(1e7), y) == pytest.approx(score(name, x, y), abs=1e-9)
    assert score(name, x, y + np.float32(1e7)) == pytest.approx(score(name, x, y), abs=1e-9)
