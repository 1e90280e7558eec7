"""Captions packed into rows of tokens, where captions that begin alike share their beginning.

In a causal decoder a hidden state hangs on the tokens before it and on nothing else. So the captions of a row form a
tree of prefixes, each of whose nodes is computed once, in the order in which one walks it: what descends from a token
then stands right after it, and one number per token, where its descendants end, says who may attend to it.

Without a causal mask, a hidden state hangs on its whole caption: captions then share a row, but no token.

N captions, T tokens of a row.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

# Long enough that little of a row stays empty, short enough that attention costs little beside the linear maps: at
# 14 tokens a caption 64 to 256 are alike within a tenth.
ROW_TOKENS = 128

# Rows of fewer tokens, as few short captions need them, have a multiple of this.
_STEP = 16

# How many captions that do not fit are passed over before a row is closed.
_PASSED = 64


@dataclasses.dataclass(frozen=True)
class Row:
    """Captions that share one row.

    Attributes:
      tokens: Token ids.
      positions: The place of each token in its captions, from 0.
      ends: Token u may be attended to by tokens u to ends[u] - 1: by itself and what continues it.
      members: Numbers of the captions.
      places: Where in the row the tokens of each of them are.
    """

    tokens: Int[np.ndarray, "T"]
    positions: Int[np.ndarray, "T"]
    ends: Int[np.ndarray, "T"]
    members: tuple[int, ...]
    places: tuple[Int[np.ndarray, "_"], ...]


def pack(
    captions: Sequence[Int[np.ndarray, "_"]], longest: int = ROW_TOKENS, alone: int | None = None, *, share: bool = True
) -> list[Row]:
    """Rows that hold every caption once.

    A row takes captions in lexical order, in which those that begin alike are neighbours; where the next one does not
    fit, it takes the first that does out of the next few.

    Args:
      captions: Token ids of each caption, no two alike, none empty.
      longest: Tokens of a row, T at most; a caption of more gets a row of its own.
      alone: Captions of more tokens than this get rows of their own; None for no such captions.
      share: Whether captions that begin alike share their beginning; False for models without a causal mask.
    """
    most = longest if alone is None else min(longest, alone)
    # Few tokens are compared faster as a list's than as an array's.
    lists = [caption.tolist() for caption in captions]
    ordered = sorted(range(len(captions)), key=lists.__getitem__)
    rows = [_row(captions, [number], [0]) for number in ordered if len(captions[number]) > most]
    waiting = [number for number in ordered if len(captions[number]) <= most]
    while waiting:
        first, *others = waiting
        members, shared, passed = [first], [0], []
        room, taken = longest - len(captions[first]), 0
        for number in others:
            if not room or len(passed) == _PASSED:
                break
            taken += 1
            common = _common(lists[members[-1]], lists[number]) if share else 0
            if len(captions[number]) - common <= room:
                members.append(number)
                shared.append(common)
                room -= len(captions[number]) - common
            else:
                passed.append(number)
        rows.append(_row(captions, members, shared))
        waiting = passed + others[taken:]
    return rows


def row_length(captions: Sequence[Int[np.ndarray, "_"]]) -> int:
    """T for these captions: ROW_TOKENS, or fewer where all of them together need fewer."""
    return min(ROW_TOKENS, round_up(sum(map(len, captions)), _STEP))


def round_up(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


def _common(one: list[int], other: list[int]) -> int:
    """How many tokens both begin with."""
    n = min(len(one), len(other))
    return next((place for place in range(n) if one[place] != other[place]), n)


def _row(captions: Sequence[Int[np.ndarray, "_"]], members: list[int], shared: list[int]) -> Row:
    """The row of captions in lexical order, each of which shares its first `shared` tokens with the one before."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    path: list[int] = []
    places = []
    for number, common in zip(members, shared, strict=True):
        for place in path[common:]:
            ends[place] = len(tokens)
        fresh = captions[number][common:].tolist()
        path = [*path[:common], *range(len(tokens), len(tokens) + len(fresh))]
        positions += range(common, common + len(fresh))
        tokens += fresh
        ends += [0] * len(fresh)
        places.append(np.array(path, np.int32))
    for place in path:
        ends[place] = len(tokens)
    as_array = functools.partial(np.array, dtype=np.int32)
    return Row(as_array(tokens), as_array(positions), as_array(ends), tuple(members), tuple(places))
