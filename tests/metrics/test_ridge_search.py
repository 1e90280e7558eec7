import itertools
import warnings

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tests.metrics.reference import ALPHAS, related
from vla import devices
from vla.metrics import ridge, ridge_host, ridge_host_search, ridge_search
from vla.metrics.folds import inner_blocks
from vla.metrics.ridge_host import moments, spectrum, standardise
from vla.metrics.ridge_host_search import at_least, choose_shared, losses, share_left, unit_losses

# Both engines, with the arrays that they take. That of devices is compiled for every shape, so it gets fewer of them.
HOST = ridge_host.spectrum, ridge_host_search, np
DEVICES = ridge.spectrum, ridge_search, jnp


def cases(*lists):
    """The host's engine with everything, that of devices with the first and the last of each list."""
    few = [[values[0], values[-1]] if len(values) > 2 else values for values in lists]
    return [(HOST, *case) for case in itertools.product(*lists)] + [
        (DEVICES, *case) for case in itertools.product(*few)
    ]


def _prepared(n, d, e, noise=1.0):
    x, y = related(0, n, d, e, noise)
    return tuple(standardise(v, moments(v)) for v in (x, y))


def _target(y):
    """A target layer of which only the training rows are looked at."""
    nothing = np.zeros(y.shape[1])
    return ridge_host_search.Target(y, nothing + 1, y[:0], nothing, nothing, nothing > 0)


@pytest.mark.parametrize(("engine", "d", "blocks"), cases([40, 29, 8], [None, 4]))
@devices.in_float64
def test_residuals_equal_refitting_without_the_block(engine, d, blocks):
    """The one independent way: leave the block out, fit again with an intercept, predict it."""
    spectrum, search, library = engine
    a, y = _prepared(30, d, 5)
    cuts = inner_blocks(30, blocks) if blocks else None
    alphas = library.array([1e-8, 1e-2, 1.0, 1e4])
    found_all = np.asarray(search.unit_losses(spectrum(library.asarray(a)), alphas, library.asarray(y), cuts))
    for alpha, found in zip(alphas, found_all, strict=True):
        errors = []
        for start, stop in cuts or [(i, i + 1) for i in range(30)]:
            rest = np.r_[0:start, stop:30]
            model = Ridge(alpha, solver="svd").fit(a[rest], y[rest])
            errors.append(np.mean((model.predict(a[start:stop]) - y[start:stop]) ** 2, axis=0))
        np.testing.assert_allclose(found, np.mean(errors, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("engine", "d"), cases([40, 8]))
@devices.in_float64
def test_leave_one_out_losses_are_exact_at_every_penalty(engine, d):
    """Against 50-digit arithmetic, also at alpha = 1e-8 with n < d, where scikit-learn's own losses keep 8 digits."""
    spectrum, search, library = engine
    a, y = _prepared(24, d, 3)
    s = spectrum(library.asarray(a))
    found = np.asarray(search.unit_losses(s, library.asarray(ALPHAS), library.asarray(y), None)).mean(axis=1)
    with mpmath.workdps(50):
        rows, targets = mpmath.matrix(a.tolist()), mpmath.matrix(y.tolist())
        # A huge weight on the constant direction is an unpenalised intercept.
        gram = rows * rows.T + mpmath.mpf(10) ** 30 * mpmath.ones(24)
        for alpha, loss in zip(ALPHAS, found, strict=True):
            inverse = (gram + mpmath.mpf(float(alpha)) * mpmath.eye(24)) ** -1
            residuals = inverse * targets
            exact = sum((residuals[i, j] / inverse[i, i]) ** 2 for i in range(24) for j in range(3)) / 72
            assert loss == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize(
    ("engine", "kind", "d", "dtype"), cases(["related", "unrelated", "itself"], [150, 20], [np.float32, np.float64])
)
@devices.in_float64
def test_gram_losses_keep_within_their_stated_noise(engine, kind, d, dtype):
    spectrum, search, library = engine
    a, y = _prepared(100, d, 60)
    if kind == "unrelated":
        y = np.random.default_rng(5).standard_normal(y.shape)
        y -= y.mean(0)
    if kind == "itself":
        y = a
    s = spectrum(library.asarray(a))
    rows = library.asarray(y, dtype)
    for blocks in (None, inner_blocks(100, 5)):
        found = search.losses(s, library.asarray(ALPHAS), (rows @ rows.T / y.shape[1])[None], blocks)
        exact = np.asarray(search.unit_losses(s, library.asarray(ALPHAS), rows, blocks)).mean(axis=1)
        assert np.all(np.abs(np.asarray(found.loss[0]) - exact) <= np.asarray(found.noise[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@devices.in_float64
def test_losses_between_computed_penalties_keep_within_their_stated_noise(dtype):
    """Penalties far below the smallest eigenvalue are interpolated: here eight of nine are below 1e-4 of it."""
    a, y = _prepared(40, 400, 6)
    s = spectrum(a)
    alphas = np.append(np.logspace(-6, np.log10(0.9e-4 * float(s.values[0])), 8), 1e4)
    rows = y.astype(dtype)
    found = losses(s, alphas, (rows @ rows.T / y.shape[1])[None], None)
    exact = unit_losses(s, alphas, rows, None).mean(axis=1)
    assert np.all(np.abs(np.asarray(found.loss[0]) - exact) <= np.asarray(found.noise[0]))
    assert np.all(np.asarray(found.noise[0]) < 1e-3 * exact)


@pytest.mark.parametrize("engine", [HOST, DEVICES])
@devices.in_float64
def test_spectrum_drops_the_constant_direction_also_among_other_null_directions(engine):
    spectrum, _, library = engine
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 50))
    a -= a.mean(0)
    s = spectrum(library.asarray(a))
    u, values = np.asarray(s.vectors), np.asarray(s.values)
    assert u.shape == (30, 29) and s.complete
    np.testing.assert_allclose(u.T @ u, np.eye(29), atol=1e-12)
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((u * values) @ u.T, a @ a.T, atol=1e-10)
    assert np.sum(values > 0) == 4


def test_inner_blocks_are_contiguous_and_cover_everything():
    assert inner_blocks(10, 3) == ((0, 4), (4, 7), (7, 10))


def test_precision_outside_is_left_as_it_was():
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("noise", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("inner", [None, 4])
@devices.in_float64
def test_only_penalties_that_cannot_win_are_left_out(inner, noise):
    a, y = _prepared(41, 80, 6, noise)
    blocks = inner_blocks(41, inner) if inner else None
    alphas, s = np.logspace(-4, 9, 14), spectrum(a)
    found = losses(s, alphas, (y @ y.T / 6)[None], blocks)
    exact = np.asarray(unit_losses(s, alphas, y, blocks)).mean(axis=1)
    left_out = ~np.isfinite(found.loss[0])
    assert (left_out.any() or noise > 3) and np.all(exact[left_out] > exact.min())
    if noise > 3 and not inner:  # the largest may win; of small ones only the first is looked at
        assert np.isfinite(found.loss[0, 0]) and left_out[1:4].all()


@pytest.mark.parametrize("alphas", [(1e7, 1e9), (1e-300, 1.0)], ids=["only large ones", "one of no use"])
@devices.in_float64
def test_penalties_without_a_loss_are_no_cause_for_warnings(alphas):
    rng = np.random.default_rng(0)
    a, y = rng.standard_normal((20, 18)), rng.standard_normal((20, 3))
    a, y = a - a.mean(0), y - y.mean(0)
    s, blocks = spectrum(a), inner_blocks(20, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = losses(s, np.array(alphas), (y @ y.T / 3)[None], blocks)
    exact = unit_losses(s, np.array(alphas), y, blocks).mean(axis=1)
    known = np.isfinite(found.loss[0])
    assert known.any() and not known.all() or alphas[0] > 1
    np.testing.assert_allclose(found.loss[0, known], exact[known], rtol=1e-6)


@devices.in_float64
def test_penalties_that_are_neither_ruled_out_nor_computed_are_still_interpolated():
    """Two items a hundred times as large as the rest: what bounds the losses of small penalties says something of the
    smallest of them only. The target, found by search, prefers one that is in between."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 100))
    a[:2] *= 100
    a = standardise(a, moments(a))
    s, y = spectrum(a), rng.standard_normal((20, 4000))
    y = y[:, [11]] + 5.2706708251676755 * y[:, [365]]
    y -= y.mean()
    alphas = s.values[0] * np.logspace(-6, -2.1, 14)
    exact = np.asarray(unit_losses(s, alphas, y, None)).ravel()
    assert 7 < np.argmin(exact) < 13
    found = choose_shared(s, alphas, (y @ y.T)[None], [_target(y)], None)
    assert found.tolist() == [np.argmin(exact)]
    loss, noise = losses(s, alphas, (y @ y.T)[None], None)
    known = np.isfinite(loss[0])
    assert known[7:].all() and np.all(np.abs(loss[0] - exact)[known] <= noise[0, known])


@pytest.mark.parametrize("blocks", [None, 4])
@devices.in_float64
def test_losses_that_are_nothing_but_rounding_error_are_compared_by_residuals(blocks):
    """Of perfect predictions float32 products may leave negative losses, and of no penalty a positive one."""
    a, _ = _prepared(60, 20, 1)
    s, alphas, cuts = spectrum(a), 10.0 ** np.arange(-8, -3), inner_blocks(60, blocks) if blocks else None
    targets = np.stack([standardise(y, moments(y)) for y in a @ np.random.default_rng(0).standard_normal((30, 20, 3))])
    rows = targets.astype(np.float32)
    grams = rows @ rows.swapaxes(1, 2) / 3
    layers = list(map(_target, rows))
    found = choose_shared(s, alphas, grams, layers, cuts)
    exact = [np.argmin(np.asarray(unit_losses(s, alphas, y, cuts)).mean(axis=1)) for y in rows]
    assert (losses(s, alphas, grams, cuts).loss <= 0).all(axis=1).any()
    np.testing.assert_array_equal(found, exact)
    on_devices = ridge_search.choose_shared(
        ridge.spectrum(jnp.asarray(a)), *map(jnp.asarray, (alphas, grams, rows, np.ones((30, 3)))), cuts
    )
    np.testing.assert_array_equal(on_devices, exact)


@devices.in_float64
def test_of_the_smallest_loss_at_least_the_stated_share_is_left():
    a, y = _prepared(41, 45, 6)
    alphas, s = np.logspace(-6, 3, 10), spectrum(a)
    exact = np.asarray(unit_losses(s, alphas, y, None))
    share = share_left(s, alphas)[:, None]
    assert np.all(np.sqrt(exact) >= share * np.sqrt(exact[0])) and np.sum(share > 0.1) == 4


@pytest.mark.parametrize("blocks", [None, inner_blocks(41, 4)])
@devices.in_float64
def test_losses_are_at_least_what_is_stated(blocks):
    a, y = _prepared(41, 80, 6)
    alphas, s = np.logspace(0, 9, 10), spectrum(a)
    exact = np.asarray(unit_losses(s, alphas, y, blocks)).mean(axis=1)
    lowest = at_least(s, alphas, (y @ y.T / 6)[None], blocks)[0]
    assert np.all(lowest <= exact) and lowest[-1] > 0.5 * exact[-1]
