"""Batches of captions: identical ones once, packed into rows of tokens.

N items, B rows of a batch, T tokens of a row, S vectors wanted of a row.
"""

import collections
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from vla import devices
from vla.activations.places import Places, even_size
from vla.checks import listed
from vla.models import Model
from vla.models.batch import Captions
from vla.models.decoder_config import DecoderConfig
from vla.models.pooling import caption_weights
from vla.stimuli.images import has_image_suffix

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


# Tokens per forward pass: enough for matrix products to be as fast as they get, few enough for caches.
_PASS_TOKENS = {"cpu": 1024, "accelerator": 8192}

# Parameters from which the numbers of a row take a CPU longer than a program for another number of rows: batches then
# have the size, from half of the most, that leaves least of them empty.
_LARGE = 50_000_000

# Rows hold this many captions, or a multiple of it, however few there are: few shapes to compile.
_SLOTS = 16


def caption_batches(
    model: Model, captions: Sequence[Any], names: Sequence[str], pools: tuple[str, ...], batch_size: int | None = None
) -> list[tuple[Captions, Places]]:
    """All captions, each in one batch, packed.

    Args:
      model: A language model.
      captions: Each a str.
      names: One per caption, for messages.
      pools: What is wanted of each caption.
      batch_size: Rows of `ROW_TOKENS` tokens in a batch; by default what suits the device.

    Raises:
      ValueError: Something that is no caption, an empty caption, or one that the model cannot take, by name.
    """
    tokens = caption_tokens(model, captions, names)
    items: dict[bytes, list[int]] = collections.defaultdict(list)
    for item, ids in enumerate(tokens):
        items[ids.tobytes()].append(item)
    same = list(items.values())
    unique = [tokens[group[0]] for group in same]

    groups = devices.groups(model.mesh)
    suits = _PASS_TOKENS["cpu" if devices.on_cpu() else "accelerator"] * groups
    most = suits if batch_size is None else batch_size * ROW_TOKENS
    exactly = devices.on_cpu() and sum(leaf.size for leaf in jax.tree.leaves(model.network.blocks)) >= _LARGE
    length = row_length(unique)
    by_length: dict[int, list[Row]] = collections.defaultdict(list)
    config = model.network.config
    share = not isinstance(config, DecoderConfig) or config.causal
    for row in pack(unique, length, model.alone_beyond, share=share):
        # Long captions have rows of their own, of a few lengths.
        by_length[length if len(row.tokens) <= length else round_up(len(row.tokens), ROW_TOKENS)].append(row)
    batches = []
    for T, rows in sorted(by_length.items()):
        size = even_size(len(rows), most // T, groups, most // T // 2 if exactly else None)
        slots = round_up(max(len(row.members) for row in rows), _SLOTS)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            where = [
                (item, r, s)
                for r, row in enumerate(some)
                for s, member in enumerate(row.members)
                for item in same[member]
            ]
            batch = _batch(model, some, unique, pools, (size, T, slots))
            batches.append((batch, Places(*np.array(where, np.int64).T)))
    return batches


def _batch(
    model: Model,
    rows: Sequence[Row],
    captions: Sequence[Int[np.ndarray, "_"]],
    pools: tuple[str, ...],
    shape: tuple[int, int, int],
) -> Captions:
    """The rows as a batch of that shape: rows, tokens, captions of a row."""
    B, T, slots = shape
    tokens, positions = np.zeros((B, T), np.int32), np.zeros((B, T), np.int32)
    ends = np.tile(np.arange(T, dtype=np.int32), (B, 1))
    weights = np.zeros((B, slots, len(pools), T), np.float32)
    for r, row in enumerate(rows):
        n = len(row.tokens)
        tokens[r, :n], positions[r, :n], ends[r, :n] = row.tokens, row.positions, row.ends
        for s, (member, places) in enumerate(zip(row.members, row.places, strict=True)):
            for p, pool in enumerate(pools):
                weights[r, s, p, places] = caption_weights(pool, captions[member], model.bos)
    return Captions(tokens, positions, ends, weights.reshape(B, slots * len(pools), T))


def caption_tokens(model: Model, captions: Sequence[Any], names: Sequence[str]) -> list[Int[np.ndarray, "_"]]:
    """Token ids of every caption, for which the model needs no weights.

    Raises:
      ValueError: As `caption_batches`.
    """
    for name, caption in zip(names, captions, strict=True):
        if not isinstance(caption, str):
            raise ValueError(
                f"item {name!r} is a {type(caption).__name__}, but {model.name} is a language model: give captions, "
                "each a str."
            )
    empty = [name for name, caption in zip(names, captions, strict=True) if not caption.strip()]
    if empty:
        raise ValueError(
            f"{len(empty)} captions are empty, of items {listed(empty)}: give each item a caption or leave it out."
        )
    paths = [name for name, caption in zip(names, captions, strict=True) if _names_an_image(caption.strip())]
    if paths:
        first = captions[list(names).index(paths[0])]
        raise ValueError(
            f"{len(paths)} of the {len(captions)} captions name an image file, of items {listed(paths)}, such as "
            f"{first[:80]!r}, but {model.name} is a language model: use a vision model, or give captions."
        )
    try:
        return model.preprocess(captions)
    except ValueError:
        # One by one, to find the item that it is about.
        for name, caption in zip(names, captions, strict=True):
            try:
                model.preprocess([caption])
            except ValueError as error:
                raise ValueError(f"item {name!r}: {str(error).replace('caption 0 (', 'caption (', 1)}") from error
        raise


def _names_an_image(caption: str) -> bool:
    """Whether a caption is the name of an image file: without blanks, or of a file that exists."""
    return has_image_suffix(caption) and (len(caption.split()) == 1 or os.path.isfile(caption))
