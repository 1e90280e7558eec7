"""No item keeps its partner, every derangement is equally likely, and groups are kept apart."""

import collections
import itertools

import pytest

from vla.stimuli import derangement, mismatched
from vla.stimuli.views import make_view


def test_nobody_keeps_their_own_and_everybody_is_given_once():
    ids = [f"item {i}" for i in range(1000)]
    for seed in range(5):
        partners = derangement(ids, seed)
        assert sorted(partners) == sorted(ids) and all(a != b for a, b in zip(ids, partners, strict=True))
    assert derangement(ids, 1) == derangement(ids, 1) != derangement(ids, 2)


def test_all_derangements_are_about_equally_likely():
    times = collections.Counter(derangement("abcd", seed) for seed in range(1800))
    expected = {p for p in itertools.permutations("abcd") if all(x != y for x, y in zip(p, "abcd", strict=True))}
    # Nine of them: binomial with mean 200 and standard deviation 13.
    assert set(times) == expected and all(140 < count < 260 for count in times.values())


@pytest.mark.parametrize("groups", [None, "xxyyzzww"])
def test_the_order_of_the_ids_does_not_matter(groups):
    ids = list("abcdefgh")
    forward = dict(zip(ids, derangement(ids, 3, groups), strict=True))
    backward = dict(zip(ids[::-1], derangement(ids[::-1], 3, groups and groups[::-1]), strict=True))
    assert forward == backward


@pytest.mark.parametrize("groups", ["aaaabbbb", "aabbccddeeff", "aaabcdefff", "abcdef" * 30 + "a" * 90])
def test_no_partner_is_of_the_same_group(groups):
    ids = [str(i) for i in range(len(groups))]
    group = dict(zip(ids, groups, strict=True))
    for seed in range(3):
        partners = derangement(ids, seed, list(groups))
        assert sorted(partners) == sorted(ids)
        assert all(group[a] != group[b] for a, b in zip(ids, partners, strict=True))


def test_with_groups_all_assignments_are_about_equally_likely():
    ids, groups = list("abcd"), ["x", "x", "y", "z"]
    allowed = {
        p for p in itertools.permutations(ids) if all(groups[ids.index(b)] != groups[i] for i, b in enumerate(p))
    }
    times = collections.Counter(derangement(ids, seed, groups) for seed in range(1000))
    assert set(times) == allowed and len(allowed) == 4
    # Binomial with mean 250 and standard deviation 14.
    assert all(180 < count < 320 for count in times.values())


def test_groups_of_one_are_no_groups():
    assert derangement("abcdef", 3, [1, 2, 3, 4, 5, 6]) == derangement("abcdef", 3)


def test_a_mismatched_view_shows_the_stimuli_of_others():
    view = make_view("toy/caption_0", "language", ["a", "b", "c"], ["of a", "of b", "of c"], ["d"])
    other = mismatched(view, 7)
    assert other.ids == view.ids and other.left_out == ("d",) and other.name == "toy/caption_0/mismatched-7"
    assert other.stimuli == tuple(f"of {partner}" for partner in derangement("abc", 7))
    assert other.content != view.content


@pytest.mark.parametrize(
    ("ids", "groups", "words"),
    [
        (["a"], None, "1 different ids among 1; expected two or more"),
        (["a", "a", "b"], None, "2 different ids among 3; expected two or more, each of them once"),
        (["a", "b", "c"], ["x"], "1 groups for 3 ids; expected one for each"),
        (["a", "b", "c"], ["x", "x", "y"], "group 'x' has 2 of the 3 ids, more than half: .* Leave some out"),
    ],
)
def test_what_cannot_be(ids, groups, words):
    with pytest.raises(ValueError, match=words):
        derangement(ids, 1, groups)
