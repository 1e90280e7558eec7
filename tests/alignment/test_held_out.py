"""The maps are scikit-learn's, and their predictions those that vla.score measures."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

import vla
from tests.alignment.layers import layers
from vla.alignment.held_out import fold_maps, held_out, ridge_settings


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 60)])
@pytest.mark.parametrize("per_target", [False, True])
def test_predictions_are_those_of_scikit_learn(n, d, per_target):
    x, y = layers(n, d)
    # Smaller penalties interpolate where n < d: their losses differ by rounding alone.
    settings = ridge_settings(alpha_per_target=per_target, alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    maps = list(fold_maps(x, y, settings))
    for one, (train, test) in zip(maps, KFold(5, shuffle=True, random_state=42).split(x), strict=True):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        model = RidgeCV(settings.alphas, alpha_per_target=per_target).fit(
            of_x.transform(x[train]), of_y.transform(y[train])
        )
        np.testing.assert_array_equal(one.test, test)
        np.testing.assert_allclose(one.alpha, model.alpha_)
        np.testing.assert_allclose(one.predicted, model.predict(of_x.transform(x[test])), atol=1e-8)
        np.testing.assert_allclose(one.actual, of_y.transform(y[test]), atol=1e-10)
        fitted = model.predict(of_x.transform(x[train]))
        np.testing.assert_allclose(one.image.T @ one.image, fitted.T @ fitted, atol=1e-7)


def test_every_item_is_predicted_once_by_a_map_that_did_not_see_it():
    x, y = layers()
    maps = list(fold_maps(x, y, ridge_settings(seed=3)))
    out = held_out(maps)
    for number, one in enumerate(maps):
        assert set(np.flatnonzero(out.fold == number)) == set(one.test) and not set(one.test) & set(one.train)
        np.testing.assert_array_equal(out.predicted[one.test], one.predicted)
    assert len(out.fold) == 80 and out.varies.all()


@pytest.mark.parametrize("settings", [{}, {"protocol": "khosla_lab"}, {"inner_cv": 4}])
def test_their_correlations_are_the_score(settings):
    x, y = layers()
    maps = list(fold_maps(x, y, ridge_settings(**settings)))
    means = [
        np.mean([np.corrcoef(p, a)[0, 1] for p, a in zip(one.predicted.T, one.actual.T, strict=True)]) for one in maps
    ]
    scored = vla.score(x, y, **settings)["fold_score"].values.ravel()
    np.testing.assert_allclose(means, scored, atol=1e-6)


def test_constant_units_are_marked_and_left_at_zero():
    x, y = layers()
    y[:, 4] = 7.0
    out = held_out(list(fold_maps(x, y, ridge_settings())))
    assert np.flatnonzero(~out.varies).tolist() == [4] and not out.predicted[:, 4].any() and not out.actual[:, 4].any()


def test_what_cannot_be_mapped_is_refused():
    x, y = layers()
    with pytest.raises(ValueError, match="x has 80 items, y has 79"):
        list(fold_maps(x, y[:-1], ridge_settings()))
    with pytest.raises(ValueError, match="y has the shape"):
        list(fold_maps(x, y[:, 0], ridge_settings()))
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="x has NaN or infinite"):
        list(fold_maps(x, y, ridge_settings()))
    with pytest.raises(ValueError, match="alpha: no setting of the ridge map; expected one of alpha_per_target"):
        ridge_settings(alpha=3)
    with pytest.raises(ValueError, match="Unknown protocol"):
        ridge_settings("papers")
