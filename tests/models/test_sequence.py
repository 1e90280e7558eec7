"""Positions and reach of padded batches, worked out by hand."""

import jax.numpy as jnp
import numpy as np

from vla.models.sequence import plain, within


def test_padding_on_either_side():
    positions, reach = plain(jnp.array([[True, True, False], [False, True, True], [False, False, False]]))
    assert np.array_equal(positions, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    right = [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    left = [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert np.array_equal(reach, np.array([right, left, np.zeros((3, 3))], bool))


def test_without_a_causal_mask_every_token_reaches_its_whole_caption():
    _, reach = plain(jnp.array([[True, True, False]]), causal=False)
    assert np.array_equal(reach[0], np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool))
    reach = within(jnp.array([[2, 2, 5, 5, 5, 5]]), causal=False)
    expected = np.zeros((6, 6), bool)
    expected[:2, :2] = expected[2:5, 2:5] = True
    assert np.array_equal(reach[0], expected)


def test_reach_of_a_tree():
    """Tokens 0 1 2 | 3 are 'a b c' and 'a d' of one tree; 4 is a caption of its own, 5 padding."""
    reach = within(jnp.array([[4, 3, 3, 4, 5, 5]]))
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert np.array_equal(reach[0], np.array(expected, bool))
