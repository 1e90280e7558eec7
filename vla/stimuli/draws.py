"""Random draws from a hash of what they are for, the same on every machine and in every version of a library."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

# A float64 holds 53 bits exactly.
_BITS = 53

Key = tuple[Any, ...]


def uniform(key: Key, n: int) -> list[float]:
    """`n` numbers in [0, 1) drawn for a key of JSON values, such as (seed, item id); the first do not depend on `n`."""
    return [(int.from_bytes(_digest(key, place)[:8]) >> (64 - _BITS)) / 2**_BITS for place in range(n)]


def permutation(key: Key, n: int) -> list[int]:
    """0..n-1 in an order drawn for a key of JSON values, every order equally likely."""
    return sorted(range(n), key=lambda place: _digest(key, place))


def shuffled(key: Key, values: Sequence[Any]) -> list[Any]:
    """The values in an order drawn for a key of JSON values."""
    return [values[place] for place in permutation(key, len(values))]


def _digest(key: Key, place: int) -> bytes:
    return hashlib.sha256(json.dumps([*key, place], ensure_ascii=True, separators=(",", ":")).encode()).digest()
