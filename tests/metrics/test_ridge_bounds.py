import numpy as np
import pytest

from tests.metrics.test_ridge_search import _prepared
from vla import devices
from vla.metrics.ridge_bounds import at_least, share_left
from vla.metrics.ridge_losses import unit_losses
from vla.metrics.ridge_search import inner_blocks
from vla.metrics.ridge_spectrum import spectrum


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
