"""Random draws and samples from hashes: the same on every machine and in every version of a library."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from vla.checks import check_whole_number
from vla.records import Dataset, canonical_hash

# A float64 holds 53 bits exactly.
_BITS = 53

Key = tuple[Any, ...]


def uniform(key: Key, n: int) -> list[float]:
    """`n` numbers in [0, 1) drawn for a key of JSON values, such as (seed, item id); the first do not depend on `n`."""
    return [(int.from_bytes(_digest(key, index)[:8]) >> (64 - _BITS)) / 2**_BITS for index in range(n)]


def permutation(key: Key, n: int) -> list[int]:
    """0..n-1 in an order drawn for a key of JSON values, every order equally likely."""
    return sorted(range(n), key=lambda index: _digest(key, index))


def shuffled(key: Key, values: Sequence[Any]) -> list[Any]:
    """The values in an order drawn for a key of JSON values."""
    return [values[index] for index in permutation(key, len(values))]


def _digest(key: Key, index: int) -> bytes:
    return hashlib.sha256(json.dumps([*key, index], ensure_ascii=True, separators=(",", ":")).encode()).digest()


def sample(dataset: Dataset, n: int | str | None, seed: int) -> Dataset:
    """`n` items of a dataset drawn at random without replacement; None or "all" for all in the dataset's order.

    They are the first in the order of a hash of seed and id. So the sample does not depend on the order in which items
    were read, on the machine, or on a library's random stream; samples of one seed are nested (the sample of 500 is
    the first half of the sample of 1,000); and an item missing from the dataset moves no other item.

    Raises:
      ValueError: `n` is larger than the dataset, or not a positive whole number.
    """
    check_whole_number("n", n, other=["all", None])
    if n is None or isinstance(n, str):
        return dataset
    if n > len(dataset):
        raise ValueError(
            f"a sample of {n} items was asked for, but {dataset.name} has {len(dataset)}; "
            f'ask for at most {len(dataset)}, or for n="all"'
        )
    drawn = sorted(dataset.items, key=lambda item: canonical_hash([seed, item.id]))
    return dataclasses.replace(dataset, items=tuple(drawn[:n]))
