"""Packed rows: every caption once, every token with its own beginning and nothing else in reach."""

import numpy as np
import pytest

from vla.activations.packing import ROW_TOKENS, pack, row_length


def ids(*captions: list[int]) -> list[np.ndarray]:
    return [np.array(caption, np.int32) for caption in captions]


def test_a_tree_by_hand():
    [row] = pack(ids([1, 8], [1, 5, 7], [1, 5, 6, 9], [1, 5]), 16)
    assert row.members == (3, 2, 1, 0)
    assert row.tokens.tolist() == [1, 5, 6, 9, 7, 8]
    assert row.positions.tolist() == [0, 1, 2, 3, 2, 1]
    assert row.ends.tolist() == [6, 5, 4, 4, 5, 6]
    assert [places.tolist() for places in row.places] == [[0, 1], [0, 1, 2, 3], [0, 1, 4], [0, 5]]


def random_captions(n: int) -> list[np.ndarray]:
    """Captions of a small alphabet, so that many begin alike, no two the same."""
    rng = np.random.default_rng(0)
    found = {tuple(rng.integers(0, 3, rng.integers(1, 21)).tolist()) for _ in range(n)}
    return ids(*map(list, sorted(found, key=hash)))


@pytest.mark.parametrize("longest", [8, 20, 64])
def test_every_token_sees_its_own_caption_up_to_itself_and_nothing_else(longest):
    captions = random_captions(300)
    rows = pack(captions, longest)
    assert sorted(member for row in rows for member in row.members) == list(range(len(captions)))
    for row in rows:
        assert len(row.tokens) <= longest or len(row.members) == 1
        reach = [{u for u in range(t + 1) if t < row.ends[u]} for t in range(len(row.tokens))]
        for member, places in zip(row.members, row.places, strict=True):
            assert np.array_equal(row.tokens[places], captions[member])
            assert np.array_equal(row.positions[places], np.arange(len(places)))
            for i, place in enumerate(places):
                assert reach[place] == set(places[: i + 1].tolist())


def test_what_captions_share_is_computed_once_and_rows_are_full():
    captions = random_captions(2000)
    rows = pack(captions, 64)
    nodes = {tuple(caption[:i].tolist()) for caption in captions for i in range(1, len(caption) + 1)}
    used = sum(len(row.tokens) for row in rows)
    # the beginnings that two rows have in common are what is left to pay
    assert used < 1.25 * len(nodes) < 0.75 * sum(map(len, captions))
    assert used > 0.97 * 64 * (len(rows) - 1)


@pytest.mark.parametrize("longest", [20, 64])
def test_without_sharing_captions_that_begin_alike_stand_side_by_side(longest):
    captions = random_captions(300)
    rows = pack(captions, longest, share=False)
    assert sorted(member for row in rows for member in row.members) == list(range(len(captions)))
    for row in rows:
        assert sorted(np.concatenate(row.places).tolist()) == list(range(len(row.tokens)))
        for member, places in zip(row.members, row.places, strict=True):
            assert np.array_equal(row.tokens[places], captions[member])
            assert np.array_equal(row.positions[places], np.arange(len(places)))
            # what `sequence.within` tells captions apart by
            assert set(row.ends[places].tolist()) == {places[-1] + 1}


def test_long_captions_are_alone():
    captions = ids([1, 2, 3], [1, 2], [1, 2, 3, 4], [1] * 9, [1])
    assert [sorted(row.members) for row in pack(captions, 8)] == [[3], [0, 1, 2, 4]]
    assert [sorted(row.members) for row in pack(captions, 8, alone=3)] == [[3], [2], [0, 1, 4]]


def test_few_captions_need_no_long_row():
    assert row_length(ids([1] * 7, [2] * 10)) == 32
    assert row_length(random_captions(300)) == ROW_TOKENS
