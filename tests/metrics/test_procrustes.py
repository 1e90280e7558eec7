import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from tests.metrics.reference import related
from vla.metrics import METRICS

all_pairs = METRICS["procrustes"].all_pairs


def centred(x, width):
    """Of unit norm, with units of zeros up to a common width."""
    x = x - x.mean(0)
    return np.pad(x / np.linalg.norm(x), ((0, 0), (0, width - x.shape[1])))


@pytest.mark.parametrize("widths", [(8, 5), (9, 60), (90, 60)])
def test_equals_scipys_rotation(widths):
    pairs = [related(seed, 40, *widths) for seed in range(2)]
    table = all_pairs(*(np.stack(side) for side in zip(*pairs, strict=True)))[0]
    for i, (x, _) in enumerate(pairs):
        for j, (_, y) in enumerate(pairs):
            a, b = centred(x, max(widths)), centred(y, max(widths))
            rotation, _ = orthogonal_procrustes(a, b)
            assert table[i, j] == pytest.approx(np.sum(a @ rotation * b), abs=1e-12)
            assert 2 - 2 * table[i, j] == pytest.approx(np.sum((a @ rotation - b) ** 2), abs=1e-12)


def test_float32_activations_score_as_their_float64_values():
    x, y = (side[None].astype(np.float32) for side in related(0, 30, 40, 8))
    np.testing.assert_allclose(all_pairs(x, y), all_pairs(x.astype(float), y.astype(float)), atol=1e-13)


def test_unrelated_wide_layers_look_alike():
    """Why a null belongs beside this score."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 50, 400)), rng.standard_normal((1, 50, 500))
    assert all_pairs(x, y)[0, 0, 0] > 0.8
