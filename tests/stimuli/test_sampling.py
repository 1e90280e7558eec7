"""A sample is seeded, nested, and blind to the order of reading."""

import dataclasses
import hashlib
import random
from pathlib import Path

import pytest

from vla.records import Dataset, Item
from vla.stimuli import sample


def dataset(n: int) -> Dataset:
    return Dataset("toy", tuple(Item(str(i), Path(f"{i}.jpg"), (f"caption {i}",)) for i in range(n)), ("gone",))


def test_nested_without_replacement_and_seeded():
    whole = dataset(1000)
    large, small = sample(whole, 1000, seed=3), sample(whole, 500, seed=3)
    assert large.items[:500] == small.items
    assert len(set(small.ids)) == 500
    assert set(large.items) == set(whole.items)
    assert sample(whole, 500, seed=4).ids != small.ids
    assert (small.name, small.dropped) == ("toy", ("gone",))


def test_independent_of_reading_order_and_of_other_items():
    whole = dataset(200)
    items = list(whole.items)
    random.Random(0).shuffle(items)
    shuffled = dataclasses.replace(whole, items=tuple(items))
    drawn = sample(whole, 50, seed=1)
    assert sample(shuffled, 50, seed=1) == drawn
    others = tuple(item for item in whole.items if item != drawn.items[0])
    assert sample(dataclasses.replace(whole, items=others), 49, seed=1).items == drawn.items[1:]


def test_the_order_is_that_of_the_published_hash():
    # Written out once more: a sample drawn today must be drawn again by every later version.
    by_hand = sorted(map(str, range(30)), key=lambda id: hashlib.sha256(f'[7,"{id}"]'.encode()).hexdigest())
    assert sample(dataset(30), 10, seed=7).ids == tuple(by_hand[:10])


def test_each_item_is_drawn_about_equally_often():
    whole = dataset(20)
    times = dict.fromkeys(whole.ids, 0)
    for seed in range(400):
        for id in sample(whole, 5, seed).ids:
            times[id] += 1
    # Binomial with mean 100 and standard deviation 8.7.
    assert all(60 < count < 140 for count in times.values())


@pytest.mark.parametrize("n", [None, "all"])
def test_everything_in_the_datasets_order(n):
    assert sample(dataset(9), n, seed=0) == dataset(9)


def test_too_many():
    with pytest.raises(ValueError, match="sample of 11 items was asked for, but toy has 10"):
        sample(dataset(10), 11, seed=0)


@pytest.mark.parametrize("n", [0, -1, True, "some"])
def test_no_number(n):
    with pytest.raises(ValueError, match=f"n={n!r}; expected a whole number of at least 1"):
        sample(dataset(10), n, seed=0)
