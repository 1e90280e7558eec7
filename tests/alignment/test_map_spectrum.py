"""The directions of the map carry what was put into them, and their shares add up to the explained variance."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import explained_variance_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from tests.alignment.layers import layers
from vla.alignment.held_out import fold_maps, held_out, ridge_settings
from vla.alignment.map_spectrum import effective_dimension, extremes, map_spectrum


def spectrum_of(x, y, **settings):
    return map_spectrum(list(fold_maps(x, y, ridge_settings(**settings))))


def test_shares_are_those_of_the_singular_vectors_of_scikit_learns_fit():
    x, y = layers()
    expected = []
    for train, test in KFold(5, shuffle=True, random_state=42).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        a, b, c, t = (
            of_x.transform(x[train]),
            of_y.transform(y[train]),
            of_x.transform(x[test]),
            of_y.transform(y[test]),
        )
        model = RidgeCV(ridge_settings().alphas).fit(a, b)
        v = np.linalg.svd(model.predict(a), full_matrices=False)[2].T
        p, t = model.predict(c) @ v, t @ v
        covariance = [np.cov(p[:, k], t[:, k], ddof=0) for k in range(9)]
        total = sum(m[1, 1] for m in covariance)  # v is a basis of the whole target
        expected.append([[m[1, 1] / total, m[0, 0] / total, m[0, 1] / total] for m in covariance])
    found = spectrum_of(x, y)
    assert found["rank"].tolist() == list(range(1, 10))
    np.testing.assert_allclose(
        found[["target_share", "predicted_share", "shared_share"]], np.mean(expected, axis=0), atol=1e-6
    )
    np.testing.assert_allclose(found["cumulative_explained"], np.cumsum(found["explained_share"]))


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 60)])
def test_the_sum_is_the_explained_variance(n, d):
    x, y = layers(n, d)
    maps = list(fold_maps(x, y, ridge_settings()))
    expected = [explained_variance_score(one.actual, one.predicted, multioutput="variance_weighted") for one in maps]
    total = map_spectrum(maps)["explained_share"].sum()
    np.testing.assert_allclose(total, np.mean(expected), atol=1e-8)


def test_strong_directions_come_first_and_noise_shares_nothing():
    x, y = layers(noise=0.2)
    found = spectrum_of(x, y)
    assert (found["r"][:3] > 0.9).all() and (found["r"][3:].abs() < 0.35).all()
    assert found["shared_share"][0] > found["shared_share"][1] > found["shared_share"][2] > 0.02
    assert found["shared_share"][3:].abs().max() < 0.005
    assert 1 < effective_dimension(found["shared_share"].to_numpy()) < 3.1
    rng = np.random.default_rng(5)
    nothing = spectrum_of(rng.standard_normal((80, 12)), rng.standard_normal((80, 9)))
    assert nothing["explained_share"].sum() < 0.01


def test_effective_dimension():
    assert effective_dimension(np.array([2.0, 2, 2, 2])) == pytest.approx(4)
    assert effective_dimension(np.array([3.0, 0, -5])) == 1
    assert effective_dimension(np.array([3.0, 1])) == pytest.approx(16 / 10)
    assert np.isnan(effective_dimension(np.array([-1.0, 0])))


def test_extremes_lie_at_the_ends_of_what_is_shared():
    rng = np.random.default_rng(1)
    shared = rng.standard_normal(80)
    x = np.outer(shared, rng.standard_normal(12)) + 0.05 * rng.standard_normal((80, 12))
    y = np.outer(shared, rng.standard_normal(9)) + 0.05 * rng.standard_normal((80, 9))
    settings = ridge_settings()
    found = extremes(x, y, held_out(list(fold_maps(x, y, settings))), settings, count=3)
    assert abs(np.corrcoef(found.predicted[:, 0], shared)[0, 1]) > 0.99
    assert abs(np.corrcoef(found.actual[:, 0], shared)[0, 1]) > 0.99
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(3), atol=1e-10)
    assert (found.directions[np.abs(found.directions).argmax(axis=0), range(3)] > 0).all()
    with pytest.raises(ValueError, match="count=0 directions"):
        extremes(x, y, held_out(list(fold_maps(x, y, settings))), settings, count=0)


def test_a_target_without_dimensions_is_refused():
    x, _ = layers()
    with pytest.raises(ValueError, match="no dimensions to explain"):
        spectrum_of(x, np.ones((80, 4)))
    flat = spectrum_of(np.ones((80, 4)), layers()[1])
    assert len(flat) == 0
