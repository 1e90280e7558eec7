"""Conditions that are compared show the same items, and what was lost is told."""

from pathlib import Path

import pytest

from vla.records import Dataset, Item
from vla.stimuli import caption_view, common_items, image_view
from vla.stimuli.views import make_view


def words(name: str, said: dict[str, str], left_out: tuple[str, ...] = ()):
    return make_view(name, "language", list(said), list(said.values()), left_out)


ALL = words("all", {"a": "1", "b": "2", "c": "3", "d": "4"})
NO_B = words("no_b", {"d": "w", "a": "x", "c": "z"}, ("b",))
NO_C = words("no_c", {"a": "p", "b": "q", "d": "r"}, ("c",))


def test_only_what_all_show_in_the_order_of_the_first():
    (first, second, third), lost = common_items([ALL, NO_B, NO_C])
    assert first.ids == second.ids == third.ids == ("a", "d")
    assert (first.stimuli, second.stimuli, third.stimuli) == (("1", "4"), ("x", "w"), ("p", "r"))
    assert lost == {"b": ("no_b",), "c": ("no_c",)}
    assert (first.left_out, second.left_out, third.left_out) == (("b", "c"), ("b", "c"), ("c", "b"))
    # What a model sees of it is what it would see of a dataset of these items alone.
    assert first.content == words("alone", {"a": "1", "d": "4"}).content


def test_an_item_that_no_view_shows():
    (one, other), lost = common_items([NO_B, words("no_b_either", {"a": "x", "c": "y", "d": "z"}, ("b",))])
    assert one is NO_B and other.ids == NO_B.ids
    assert lost == {"b": ("no_b", "no_b_either")}


def test_views_that_lose_nothing_are_returned_as_they_are():
    views, lost = common_items([ALL, ALL])
    assert views == (ALL, ALL) and views[0] is ALL and lost == {}


def test_both_modalities(tmp_path):
    for id in "abcd":
        (tmp_path / id).write_bytes(id.encode())
    dataset = Dataset("toy", tuple(Item(id, tmp_path / id, (id,)) for id in "abcd"))
    (images, captions), lost = common_items([image_view(dataset), NO_C])
    assert images.ids == captions.ids == ("a", "b", "d") and images.stimuli[1] == tmp_path / "b"
    rest = Dataset("toy", tuple(item for item in dataset.items if item.id != "c"))
    assert images.content == image_view(rest).content and lost == {"c": ("no_c",)}
    assert caption_view(rest).ids == captions.ids
    assert isinstance(images.stimuli[0], Path)


def test_nothing_in_common():
    with pytest.raises(ValueError, match="no_b, other have no item in common"):
        common_items([NO_B, words("other", {"b": "1"})])
    with pytest.raises(ValueError, match="There are no views to compare"):
        common_items([])
