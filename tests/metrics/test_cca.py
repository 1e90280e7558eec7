import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA

from tests.metrics.reference import related
from vla.metrics import METRICS, cca


def scores(name, x, y, settings=None):
    metric = METRICS[name]
    return metric.all_pairs(np.stack(x), np.stack(y), settings or metric.settings())[0]


def score(name, x, y, settings=None):
    return scores(name, [x], [y], settings)[0, 0]


def canonical(x, y):
    """From the principal angles between the spaces of the centred units."""
    return np.cos(linalg.subspace_angles(x - x.mean(0), y - y.mean(0)))


def layers(n=50, d=8, e=5):
    pairs = [related(seed, n, d, e, noise) for seed, noise in enumerate([0.3, 1, 5])]
    return [x for x, _ in pairs], [y for _, y in pairs[:2]]


@pytest.mark.parametrize(("widths", "squared"), [((8, 5), False), ((8, 5), True), ((1, 6), False), ((30, 40), False)])
def test_equals_the_angles_between_subspaces(widths, squared):
    x, y = layers(100, *widths)
    expected = [[np.mean(canonical(a, b) ** (2 if squared else 1)) for b in y] for a in x]
    np.testing.assert_allclose(scores("cca", x, y, cca.CcaSettings(squared=squared)), expected, atol=1e-10)


def test_dependent_units_add_nothing():
    (x, *_), (y, _) = layers()
    mixed = np.concatenate([x, x @ np.random.default_rng(0).standard_normal((8, 6))], axis=1)
    assert score("cca", mixed, y) == pytest.approx(score("cca", x, y), abs=1e-9)
    single = np.float32(mixed), np.float32(y)
    assert score("cca", *single) == pytest.approx(score("cca", x, y), abs=1e-4)


@pytest.mark.parametrize(("ridge", "widths"), [(0.5, (8, 5)), (1e-3, (80, 70))])
def test_ridge_equals_the_generalised_eigenproblem(ridge, widths):
    x, y = (side[0] - side[0].mean(0) for side in layers(40, *widths))
    covariances = [a.T @ a for a in (x, y)]
    xx, yy = (
        c + ridge * np.trace(c) / np.linalg.matrix_rank(a) * np.eye(len(c))
        for a, c in zip((x, y), covariances, strict=True)
    )
    xy = x.T @ y
    squares = linalg.eigh(xy @ np.linalg.solve(yy, xy.T), xx, eigvals_only=True)
    expected = np.sum(np.sqrt(np.clip(squares, 0, None))) / min(*widths, 39)
    assert score("cca", x, y, cca.CcaSettings(regularisation=ridge)) == pytest.approx(expected, abs=1e-6)


def test_components_are_those_of_most_variance():
    x, y = layers(30, 60, 45)
    expected = [[np.mean(canonical(PCA(4).fit_transform(a), PCA(4).fit_transform(b))) for b in y] for a in x]
    np.testing.assert_allclose(scores("cca", x, y, cca.CcaSettings(components=4)), expected, atol=1e-9)


@pytest.mark.parametrize("variance", [0.7, 0.99])
def test_svcca_keeps_a_share_of_the_variance(variance):
    x, y = layers(40, 30, 25)
    kept = [[PCA(variance, svd_solver="full").fit_transform(a) for a in side] for side in (x, y)]
    assert len({a.shape[1] for a in kept[0]}) > 1  # states of different size
    expected = [[np.mean(canonical(a, b)) for b in kept[1]] for a in kept[0]]
    np.testing.assert_allclose(scores("svcca", x, y, cca.SvccaSettings(variance)), expected, atol=1e-9)


def projection_weighted(x, y):
    """Morcos et al. (2018), section 2.1, with canonical variables from the generalised eigenproblem."""
    x, y = x - x.mean(0), y - y.mean(0)
    squares, vectors = linalg.eigh(x.T @ y @ np.linalg.solve(y.T @ y, y.T @ x), x.T @ x)
    count = min(x.shape[1], y.shape[1])
    variables = x @ vectors[:, -count:]
    variables /= np.linalg.norm(variables, axis=0)
    weights = np.abs(variables.T @ x).sum(axis=1)
    return weights @ np.sqrt(np.clip(squares[-count:], 0, 1)) / weights.sum()


@pytest.mark.parametrize("widths", [(8, 5), (5, 8)])
def test_pwcca_weighs_by_the_chosen_side(widths):
    x, y = layers(50, *widths)
    of_x = [[projection_weighted(a, b) for b in y] for a in x]
    of_y = [[projection_weighted(b, a) for b in y] for a in x]
    np.testing.assert_allclose(scores("pwcca", x, y), of_x, atol=1e-9)
    np.testing.assert_allclose(scores("pwcca", x, y, cca.PwccaSettings(weights="y")), of_y, atol=1e-9)
    assert np.abs(np.subtract(of_x, of_y)).max() > 1e-3


def test_pwcca_of_components():
    x, y = (side[0] for side in layers(30, 60, 45))
    reduced = [PCA(6).fit(a).inverse_transform(PCA(6).fit_transform(a)) for a in (x, y)]
    bases = [PCA(6).fit_transform(a) for a in (x, y)]
    u, r, _ = np.linalg.svd(np.linalg.qr(bases[0])[0].T @ np.linalg.qr(bases[1])[0])
    weights = np.abs((np.linalg.qr(bases[0])[0] @ u).T @ (reduced[0] - reduced[0].mean(0))).sum(axis=1)
    settings = cca.PwccaSettings(components=6)
    assert score("pwcca", x, y, settings) == pytest.approx(weights @ r / weights.sum(), abs=1e-9)


@pytest.mark.parametrize("name", ["cca", "pwcca", "svcca"])
def test_as_many_directions_as_items_less_one_are_refused(name):
    """Unrelated layers would score 1."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 40)), rng.standard_normal((20, 5))
    settings = cca.SvccaSettings(1.0) if name == "svcca" else None
    words = rf"{name}: a layer of 40 units has 19 independent directions over 20 items.*at most 18 directions\. Give"
    for pair in ((x, y), (y, x)):
        with pytest.raises(ValueError, match=words):
            score(name, *pair, settings)
    assert np.mean(canonical(x, y)) == pytest.approx(1, abs=1e-6)
    for cure in (cca.CcaSettings(components=4), cca.CcaSettings(regularisation=0.1)):
        assert score("cca", x, y, cure) < 0.9


def test_unrelated_layers_have_the_mean_square_of_their_widths():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 60, 7)), rng.standard_normal((20, 60, 12))
    squares = scores("cca", x, y, cca.CcaSettings(squared=True))
    assert np.mean(squares) == pytest.approx(12 / 59, abs=0.005)


@pytest.mark.parametrize(
    ("settings", "bad", "words"),
    [
        (cca.CcaSettings, {"components": 0}, "components=0; expected a whole number of at least 1 or None"),
        (cca.CcaSettings, {"components": 2.5}, "components=2.5"),
        (cca.CcaSettings, {"regularisation": 0}, "regularisation=0; expected a number > 0 or None"),
        (cca.SvccaSettings, {"variance": 0}, "variance=0; expected a number > 0 and <= 1"),
        (cca.SvccaSettings, {"variance": 99}, "<= 1"),
        (cca.PwccaSettings, {"components": "all"}, "components='all'"),
        (cca.PwccaSettings, {"weights": "both"}, "weights='both'; expected one of x, y"),
    ],
)
def test_bad_settings(settings, bad, words):
    with pytest.raises(ValueError, match=words):
        settings(**bad)
