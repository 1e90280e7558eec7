"""Small datasets for the generators, their pictures never opened."""

from pathlib import Path

from vla.records import Dataset, Item

WORDS = ("one", "two", "three", "four", "five")


def dataset(n: int = 3, captions: int = 5, name: str = "world", subject: str = "thing") -> Dataset:
    def item(i: int) -> Item:
        return Item(
            f"item_{i}", Path(f"{i}.jpg"), tuple(f"a {subject} {i} seen {WORDS[c]} times" for c in range(captions))
        )

    return Dataset(name, tuple(map(item, range(n))))
