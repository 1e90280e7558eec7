"""Hashes that do not hang on order or place, and lists in messages."""

import hashlib
import math

import pytest

from vla.records import Dataset, Item, canonical_hash


def test_a_hash_is_that_of_the_canonical_text():
    text = b'{"a":[1,2.5,null],"b":"\\u00fc"}'
    assert canonical_hash({"b": "ü", "a": (1, 2.5, None)}) == hashlib.sha256(text).hexdigest()
    assert canonical_hash({"b": "ü", "a": [1, 2.5, None]}) == canonical_hash({"a": [1, 2.5, None], "b": "ü"})
    assert canonical_hash([1, 2]) != canonical_hash([2, 1])


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": {1}}, {"a": b"x"}])
def test_what_has_no_canonical_text_has_no_hash(value):
    with pytest.raises((ValueError, TypeError)):
        canonical_hash(value)


def test_a_dataset_is_its_items_in_order(tmp_path):
    items = tuple(Item(id, tmp_path / id, ("a dog",)) for id in "cab")
    assert Dataset("d", items).ids == ("c", "a", "b") and len(Dataset("d", items)) == 3
