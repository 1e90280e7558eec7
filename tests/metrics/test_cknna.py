import itertools

import numpy as np
import pytest

from tests.metrics.reference import related
from vla.metrics import METRICS
from vla.metrics.cknna import CknnaSettings

all_pairs = METRICS["cknna"].all_pairs


def hsic(k, lo, unbiased):
    """Song et al. (2012), equation 5, as platonic-rep reads it for kernels that need not be symmetric."""
    n = len(k)
    if not unbiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ lo @ h)
    k, lo = k - np.diag(np.diag(k)), lo - np.diag(np.diag(lo))
    return (np.sum(k * lo.T) + k.sum() * lo.sum() / ((n - 1) * (n - 2)) - 2 * np.sum(k @ lo) / (n - 2)) / (n * (n - 3))


def near(k, count, unbiased):
    k = k - np.diag(np.full(len(k), np.inf)) if unbiased else k
    mask = np.zeros_like(k)
    np.put_along_axis(mask, np.argsort(-k, axis=1)[:, :count], 1.0, axis=1)
    return mask


def plain(x, y, count=10, unbiased=True, normalise=True, offset=0.0):
    """Huh et al. (2024), with whole matrices."""
    if normalise:
        x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    k, lo = x @ x.T, y @ y.T
    of_k, of_l = near(k, count, unbiased), near(lo, count, unbiased)
    both = of_k * of_l
    own = hsic(of_k * k, of_k * k, unbiased) * hsic(of_l * lo, of_l * lo, unbiased)
    return hsic(both * k, both * lo, unbiased) / (np.sqrt(own) + offset)


def layers(n=40):
    pairs = [related(seed, n, 9, 9) for seed in range(3)]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs[:2]])


@pytest.mark.parametrize(
    ("count", "unbiased", "normalise"),
    [(10, True, True), (10, False, False), (2, True, False), (39, False, True), (39, True, False)],
)
def test_equals_whole_matrices(count, unbiased, normalise):
    x, y = layers()
    x, y = x / 10, y / 10  # inner products of about one, so that the offset counts
    (table,) = all_pairs(x, y, CknnaSettings(count, unbiased, normalise, offset=1e-2))
    expected = [[plain(a, b, count, unbiased, normalise, 1e-2) for b in y] for a in x]
    np.testing.assert_allclose(table, expected, atol=1e-10)


def test_the_offset_of_the_published_code():
    x, y = layers()
    (table,) = all_pairs(x, y, CknnaSettings(offset=1e-6))
    assert table[0, 0] == pytest.approx(plain(x[0], y[0], offset=1e-6), abs=1e-12)
    assert 1e-7 < all_pairs(x, y, CknnaSettings())[0, 0, 0] - table[0, 0] < 1e-2


def test_with_all_others_as_neighbours_it_is_debiased_cka_of_normalised_items():
    x, y = layers()
    unit = [side / np.linalg.norm(side, axis=2, keepdims=True) for side in (x, y)]
    np.testing.assert_allclose(all_pairs(x, y, CknnaSettings(39)), METRICS["cka_debiased"].all_pairs(*unit), atol=1e-10)


def test_clipping_comes_before_normalising():
    x, y = layers()
    x[:, :, 0] *= 50
    limits = [np.quantile(np.abs(side), 0.95, axis=2).mean(axis=1)[:, None, None] for side in (x, y)]
    clipped = [np.clip(side, -limit, limit) for side, limit in zip((x, y), limits, strict=True)]
    (table,) = all_pairs(x, y, CknnaSettings(clip_quantile=0.95))
    np.testing.assert_allclose(table, all_pairs(*clipped, CknnaSettings())[0], atol=1e-12)
    assert np.abs(table - all_pairs(x, y, CknnaSettings())[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"neighbours": 1}, "neighbours=1; expected a whole number of at least 2"),
        ({"neighbours": 2.5}, "neighbours=2.5; expected a whole number"),
        ({"clip_quantile": 2}, "clip_quantile=2; expected a number > 0 and <= 1 or None"),
        ({"offset": -1}, "offset=-1; expected a number >= 0 and < 1"),
    ],
)
def test_bad_settings(bad, words):
    with pytest.raises(ValueError, match=words):
        CknnaSettings(**bad)


def test_more_neighbours_than_items():
    x, y = layers()
    with pytest.raises(ValueError, match="neighbours=40, but an item can have only 39: use at most 39"):
        all_pairs(x, y, CknnaSettings(40))
    assert np.isfinite(all_pairs(x, y, CknnaSettings(40, unbiased=False))).all()
    with pytest.raises(ValueError, match="at least 4 items; 3 given"):
        all_pairs(x[:, :3], y[:, :3], CknnaSettings(2))


def masks_of_all_orders(k, count, unbiased):
    """Every mask of the nearest items that an order of tied ones gives: a list of rows for every item."""
    near = np.round(k - np.diag(np.full(len(k), np.inf)) if unbiased else k, 9)
    found = []
    for row in near:
        last = np.sort(row)[-count]
        nearer, level = np.flatnonzero(row > last), np.flatnonzero(row == last)
        found.append([])
        for rest in itertools.combinations(level, count - len(nearer)):
            found[-1].append(np.isin(np.arange(len(k)), [*nearer, *rest]).astype(float))
    return found


def over_all_orders(x, y, count, unbiased):
    """The means of the three HSICs over all orders of tied neighbours, each side in an order of its own."""
    k, lo = x @ x.T, y @ y.T
    of_x, of_y = ([np.stack(rows) for rows in itertools.product(*masks_of_all_orders(side, count, unbiased))]
                  for side in (k, lo))  # fmt: skip
    both = np.mean([hsic(p * q * k, p * q * lo, unbiased) for p in of_x for q in of_y])
    own = [np.mean([hsic(p * side, p * side, unbiased) for p in of]) for of, side in ((of_x, k), (of_y, lo))]
    return both / np.sqrt(own[0] * own[1])


@pytest.mark.parametrize("unbiased", [True, False])
def test_ties_are_averaged_over_all_their_orders(unbiased):
    """Copies that tie in pairs and in threes, and on one side an item that ties with itself."""
    x = np.array([[3.0, 0, 1], [1, 2, 0], [1, 2, 0], [1, 2, 0], [0, 1, 3], [2, 1, 1]])
    y = np.array([[1.0, 1, 2], [0, 3, 1], [0, 3, 1], [2, 0, 1], [2, 0, 1], [1, 0, 0]])
    options = CknnaSettings(2, unbiased=unbiased, normalise=False)
    for a, b in ((x, y), (y, x), (x, x)):
        assert len(masks_of_all_orders(a @ a.T, 2, unbiased)) == 6
        expected = over_all_orders(a, b, 2, unbiased)
        for dtype in (np.float32, np.float64):
            found = all_pairs(a[None].astype(dtype), b[None].astype(dtype), options)[0, 0, 0]
            assert found == pytest.approx(expected, abs=1e-12)
    order = np.array([3, 5, 0, 2, 4, 1])
    found = all_pairs(x[None], y[None], options, pairings=order[None])[0, 0, 0]
    assert found == pytest.approx(over_all_orders(x, y[order], 2, unbiased), abs=1e-12)


def test_independent_labels_score_as_their_shuffles():
    """Taken in the order of items, ties of both sides would agree."""
    rng = np.random.default_rng(0)
    x, y = (np.eye(5)[rng.integers(5, size=(1, 60))] for _ in range(2))
    pairings = np.stack([np.arange(60), *(rng.permutation(60) for _ in range(40))])
    score, *null = all_pairs(x, y, CknnaSettings(8), pairings=pairings)[:, 0, 0]
    assert abs(score - np.mean(null)) < 3 * np.std(null)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_neither_over_nor_underflow(scale, normalise):
    x, y = (side.astype(np.float32) for side in layers())
    settings = CknnaSettings(normalise=normalise)
    found = all_pairs(x * np.float32(scale), y, settings)
    np.testing.assert_allclose(found, all_pairs(x, y, settings), rtol=1e-5)


def test_an_item_of_zeros_has_a_score():
    x, y = layers()
    x[0, 3] = 0
    assert np.isfinite(all_pairs(x, y, CknnaSettings())).all()
