"""What is read of a batch finds its way back to its items."""

import numpy as np
import pytest

from vla.activations.batches import BatchItems, even_batch_size


def test_each_item_gets_the_vectors_of_its_own_slot():
    R, B, slots, pools, D = 2, 3, 4, 2, 5
    r, b, s, p, d = np.indices((R, B, slots, pools, D))
    named = 10000 * r + 1000 * b + 100 * s + 10 * p + d
    read = named.reshape(R, B, slots * pools, D).astype(np.float32)
    places = BatchItems(np.array([7, 2]), np.array([2, 0]), np.array([3, 1]))
    vectors = places.vectors(read, pools)
    assert vectors.shape == (pools, R, 2, D)
    assert vectors[1, 0, 0, 4] == 2000 + 300 + 10 + 4
    assert vectors[0, 1, 1, 0] == 10000 + 0 + 100


@pytest.mark.parametrize("items, most, multiple", [(10, 4, 1), (9, 4, 2), (1, 64, 8), (1000, 64, 8), (5, 0, 1)])
def test_batches_are_few_and_none_is_much_emptier(items, most, multiple):
    size = even_batch_size(items, most, multiple)
    batches = -(-items // size)
    assert size % multiple == 0 and size < max(most, 1) + multiple
    assert batches <= -(-items // max(most, 1)) and batches * size - items < batches * multiple


@pytest.mark.parametrize(
    "items, most, multiple, expected",
    [(97, 8, 1, 7), (25, 8, 1, 5), (96, 8, 1, 8), (9, 8, 4, 4), (3, 8, 1, 3), (7, 0, 1, 1), (7, 1, 1, 1)],
)
def test_with_a_least_size_as_little_as_can_be_is_empty(items, most, multiple, expected):
    size = even_batch_size(items, most, multiple, most // 2)
    sizes = [s for s in range(multiple, max(most, multiple) + 1, multiple) if s >= most // 2 or s >= items]
    assert -(-items // size) * size == min(-(-items // s) * s for s in sizes)
    assert size == expected
