"""The length-only baseline: what it counts, and that it is scored like any layer."""

import numpy as np
import pytest

from vla.alignment.caption_length import caption_lengths
from vla.alignment.score import score


def test_lengths_by_hand():
    found = caption_lengths(["a dog", "", " two  words "], items=["x", "y", "z"], tokens=[3, 1, 4])
    assert found.dims == ("layer", "item", "unit") and found["layer"].values.tolist() == ["length"]
    assert found["item"].values.tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(found.values[0, :, :3], [[5, 2, 3], [0, 0, 1], [12, 2, 4]])
    np.testing.assert_allclose(found.values[0, :, 3:], np.log1p([[5, 2, 3], [0, 0, 1], [12, 2, 4]]))
    assert caption_lengths(["a", "b"])["item"].values.tolist() == [0, 1]


def test_it_finds_length_and_only_length():
    rng = np.random.default_rng(0)
    words = rng.integers(1, 15, 120)
    lengths = caption_lengths([" ".join(["word"] * n) for n in words])
    vision = np.stack([words + 0.5 * rng.standard_normal(120), rng.standard_normal(120)], axis=1)
    found = [float(score(lengths, vision[:, [unit]])["score"][0, 0]) for unit in (0, 1)]
    assert found[0] > 0.95 and abs(found[1]) < 0.25


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="There are no captions"):
        caption_lengths([])
    with pytest.raises(ValueError, match="1 item names for 2 captions"):
        caption_lengths(["a", "b"], items=["x"])
    with pytest.raises(ValueError, match="3 numbers of tokens for 2 captions"):
        caption_lengths(["a", "b"], tokens=[1, 2, 3])
