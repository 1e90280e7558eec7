"""Rows of one caption each, padded on either side."""

import jax.numpy as jnp
import numpy as np
import pytest

from vla.models.batch import Captions, Images, one_caption_per_row, packed_mask, padded_mask, without_pixels

TOKENS = np.array([[1, 5, 6, 0], [0, 1, 7, 8], [0, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]], bool)


def test_positions_count_tokens_and_each_reaches_to_the_end_of_its_caption():
    batch = one_caption_per_row(TOKENS, MASK, "mean", bos=1)
    assert batch.positions.tolist() == [[0, 1, 2, 0], [0, 0, 1, 2], [0, 0, 0, 0]]
    assert batch.ends.tolist() == [[3, 3, 3, 3], [0, 4, 4, 4], [0, 1, 2, 3]]
    assert all(part.dtype == np.int32 for part in (batch.tokens, batch.positions, batch.ends))


@pytest.mark.parametrize(
    "pool, first, second",
    [("mean", [1 / 3, 1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3, 1 / 3]),
     ("mean_no_bos", [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5]),
     ("last", [0, 0, 1, 0], [0, 0, 0, 1])],
)  # fmt: skip
def test_padding_counts_for_nothing(pool, first, second):
    weights = one_caption_per_row(TOKENS, MASK, pool, bos=1).weights
    assert weights.shape == (3, 1, 4)
    np.testing.assert_allclose(weights[:, 0], [first, second, [0, 0, 0, 0]], rtol=1e-6)


def test_behind_the_embedding_pixels_are_a_size_alone():
    images = without_pixels(Images(np.ones((3, 3, 8, 6), np.float32)))
    assert images.pixels.shape == (0, 3, 8, 6)
    captions = Captions(1, 2, 3, 4)
    assert without_pixels(captions) is captions


def test_padding_on_either_side():
    positions, allowed = padded_mask(jnp.array([[True, True, False], [False, True, True], [False, False, False]]))
    assert np.array_equal(positions, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    right = [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    left = [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert np.array_equal(allowed, np.array([right, left, np.zeros((3, 3))], bool))


def test_without_a_causal_mask_every_token_reaches_its_whole_caption():
    _, allowed = padded_mask(jnp.array([[True, True, False]]), causal=False)
    assert np.array_equal(allowed[0], np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool))
    allowed = packed_mask(jnp.array([[2, 2, 5, 5, 5, 5]]), causal=False)
    expected = np.zeros((6, 6), bool)
    expected[:2, :2] = expected[2:5, 2:5] = True
    assert np.array_equal(allowed[0], expected)


def test_reach_of_a_tree():
    """Tokens 0 1 2 | 3 are 'a b c' and 'a d' of one tree; 4 is a caption of its own, 5 padding."""
    allowed = packed_mask(jnp.array([[4, 3, 3, 4, 5, 5]]))
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert np.array_equal(allowed[0], np.array(expected, bool))
