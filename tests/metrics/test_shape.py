import numpy as np
import pytest
from scipy import linalg

from tests.metrics.reference import related
from vla.metrics import METRICS, shape
from vla.metrics.folds import outer_folds


def score(name, x, y, *choices):
    metric = METRICS[name]
    return metric.all_pairs(x[None], y[None], metric.settings(*choices))[0, 0, 0]


def whitening(x, alpha):
    """alpha I + (1 - alpha) C^(-1/2) of the covariance of x, x scaled so that C has a mean eigenvalue of 1."""
    c = x.T @ x
    scale = np.sqrt(np.trace(c) / len(c))
    return scale, alpha * np.eye(len(c)) + (1 - alpha) * np.linalg.inv(linalg.sqrtm(c / scale**2))


def angle(a, b):
    return np.arccos(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))


def wide(x, width):
    return np.pad(x, ((0, 0), (0, width - x.shape[1])))


def expected(x, y, alpha, train, test):
    """Whitening and rotation from the training items, by SciPy; the angle from the test items."""
    parts = []
    for side in (x, y):
        mean = side[train].mean(0)
        scale, map_ = whitening(side[train] - mean, alpha)
        parts.append([wide((side[rows] - mean) / scale @ map_, 9) for rows in (train, test)])
    (a, a_test), (b, b_test) = parts
    return angle(a_test @ linalg.orthogonal_procrustes(a, b)[0], b_test)


@pytest.mark.parametrize("alpha", [1.0, 0.6, 0.0])
def test_equals_scipys_rotation_of_whitened_layers(alpha):
    x, y = related(0, 40, 9, 6)
    everything = np.arange(40)
    assert score("shape_distance", x, y, alpha) == pytest.approx(expected(x, y, alpha, everything, everything), 1e-9)


@pytest.mark.parametrize(("alpha", "groups"), [(1.0, None), (0.3, [i // 3 for i in range(43)]), (0.0, None)])
def test_cross_validated_angle_is_taken_on_other_items(alpha, groups):
    """43 items: folds of unequal size."""
    x, y = related(1, 43, 9, 6)
    angles = [expected(x, y, alpha, *fold) for fold in outer_folds(43, 4, 7, groups)]
    assert score("shape_distance_cv", x, y, alpha, 4, groups, 7) == pytest.approx(np.mean(angles), 1e-9)


def test_at_alpha_zero_the_cosine_is_the_mean_canonical_correlation():
    x, y = related(2, 60, 7, 7)
    assert np.cos(score("shape_distance", x, y, 0)) == pytest.approx(score("cca", x, y), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_more_units_than_items(alpha):
    """Fitted distances of unrelated layers shrink with the widths; held-out ones are right angles."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, 100)), rng.standard_normal((50, 80))
    assert score("shape_distance_cv", x, y, alpha) == pytest.approx(np.pi / 2, abs=0.2)
    assert score("shape_distance_cv", x, x, alpha) == pytest.approx(0, abs=1e-6)
    assert score("shape_distance", x, y, alpha) < 0.9


def test_the_triangle_inequality_holds():
    x, y = related(4, 40, 6, 6)
    z = np.concatenate([x[:, :3], y[:, :3]], axis=1)
    for alpha in (0.0, 0.5):
        around = score("shape_distance", x, z, alpha) + score("shape_distance", z, y, alpha)
        assert score("shape_distance", x, y, alpha) <= around


def test_full_whitening_needs_more_items_than_units():
    x, y = related(5, 20, 30, 6)
    with pytest.raises(ValueError, match="alpha=0: a layer of 30 units has 19 .* over 20 items.*shape_distance_cv"):
        score("shape_distance", x, y, 0)


def test_a_layer_that_is_constant_over_the_training_items_of_a_fold():
    x, y = related(6, 30, 4, 3)
    _, test = outer_folds(30, 5, 42)[2]
    x[np.setdiff1d(np.arange(30), test)] = 1.5
    assert np.isnan(score("shape_distance_cv", x, y))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, "1", True, np.nan])
def test_alpha_is_a_share(alpha):
    for settings in (shape.ShapeSettings, shape.CrossValidatedShapeSettings):
        with pytest.raises(ValueError, match="alpha=.*; expected a number >= 0 and <= 1"):
            settings(alpha)


def test_too_few_items_for_the_folds():
    x, y = related(7, 9, 4, 3)
    with pytest.raises(ValueError, match="9 items are too few for 5 folds"):
        score("shape_distance_cv", x, y)
