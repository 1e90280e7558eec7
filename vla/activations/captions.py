"""Batches of captions: equal captions once, packed into rows of tokens.

Axes: B rows of a batch, T tokens of a row, S pooled vectors of a row.
"""

import collections
import dataclasses
import functools
import os
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Int

from vla import devices
from vla.activations.batches import BatchItems, even_batch_size
from vla.checks import listed
from vla.models.batch import Captions
from vla.models.layers import caption_weights
from vla.models.model import Model
from vla.models.network_config import DecoderConfig
from vla.stimuli.images import has_image_suffix

# Long enough that rows have little padding, short enough that attention costs little beside the linear maps; with 14
# tokens per caption, 64 to 256 differ by less than a tenth.
ROW_TOKENS = 128

# Shorter rows, for few short captions, have a multiple of this.
_STEP = 16

# How many captions that do not fit are skipped before a row is closed.
_MOST_SKIPPED = 64


@dataclasses.dataclass(frozen=True)
class Row:
    """Captions that share one row.

    Attributes:
      tokens: Token ids.
      positions: Position of each token in its captions, from 0.
      ends: Tokens u to ends[u] - 1 may attend to token u: itself and the tokens that continue it.
      members: Numbers of the captions.
      indices: Indices in the row of the tokens of each of them.
    """

    tokens: Int[np.ndarray, "T"]
    positions: Int[np.ndarray, "T"]
    ends: Int[np.ndarray, "T"]
    members: tuple[int, ...]
    indices: tuple[Int[np.ndarray, "_"], ...]


def pack(
    captions: Sequence[Int[np.ndarray, "_"]], longest: int = ROW_TOKENS, limit: int | None = None, *, share: bool = True
) -> list[Row]:
    """Rows that hold every caption once.

    A row takes captions in lexical order, so that captions that begin alike are neighbours; if the next caption does
    not fit, it takes the first of the following few that does.

    Args:
      captions: Token ids of each caption, all different, none empty.
      longest: T, most tokens of a row; a longer caption gets its own row.
      limit: Captions of more tokens than this get their own rows; None for no such limit.
      share: Whether captions that begin alike share those tokens; False for models without a causal mask.
    """
    most = longest if limit is None else min(longest, limit)
    # Lists of few tokens are compared faster than arrays.
    lists = [caption.tolist() for caption in captions]
    ordered = sorted(range(len(captions)), key=lists.__getitem__)
    rows = [_row(captions, [number], [0]) for number in ordered if len(captions[number]) > most]
    waiting = [number for number in ordered if len(captions[number]) <= most]
    while waiting:
        first, *candidates = waiting
        members, shared, skipped = [first], [0], []
        room, taken = longest - len(captions[first]), 0
        for number in candidates:
            if not room or len(skipped) == _MOST_SKIPPED:
                break
            taken += 1
            common = _common(lists[members[-1]], lists[number]) if share else 0
            if len(captions[number]) - common <= room:
                members.append(number)
                shared.append(common)
                room -= len(captions[number]) - common
            else:
                skipped.append(number)
        rows.append(_row(captions, members, shared))
        waiting = skipped + candidates[taken:]
    return rows


def row_length(captions: Sequence[Int[np.ndarray, "_"]]) -> int:
    """T for these captions: ROW_TOKENS, or less if all of them together are shorter."""
    return min(ROW_TOKENS, round_up(sum(map(len, captions)), _STEP))


def round_up(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


def _common(first: list[int], second: list[int]) -> int:
    """With how many equal tokens both begin."""
    n = min(len(first), len(second))
    return next((i for i in range(n) if first[i] != second[i]), n)


def _row(captions: Sequence[Int[np.ndarray, "_"]], members: list[int], shared: list[int]) -> Row:
    """The row of captions in lexical order, each of which shares its first `shared` tokens with the previous one."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    path: list[int] = []
    indices = []
    for number, common in zip(members, shared, strict=True):
        for index in path[common:]:
            ends[index] = len(tokens)
        rest = captions[number][common:].tolist()
        path = [*path[:common], *range(len(tokens), len(tokens) + len(rest))]
        positions += range(common, common + len(rest))
        tokens += rest
        ends += [0] * len(rest)
        indices.append(np.array(path, np.int32))
    for index in path:
        ends[index] = len(tokens)
    as_array = functools.partial(np.array, dtype=np.int32)
    return Row(as_array(tokens), as_array(positions), as_array(ends), tuple(members), tuple(indices))


# Tokens per forward pass: enough for fast matrix products, few enough for caches.
_PASS_TOKENS = {"cpu": 1024, "accelerator": 8192}

# For models of at least this many parameters, computing a padded row on a CPU takes longer than compiling for another
# batch size: batches may then be smaller, down to half, to have less padding.
_LARGE = 50_000_000

# Rows hold a multiple of this many captions, so that few shapes are compiled.
_SLOTS = 16


def caption_batches(
    model: Model,
    captions: Sequence[object],
    names: Sequence[str],
    pools: tuple[str, ...],
    batch_size: int | None = None,
) -> list[tuple[Captions, BatchItems]]:
    """All captions, each in one batch, packed.

    Args:
      model: A language model.
      captions: Each a str.
      names: Name of each caption, for messages.
      pools: The pools of each caption.
      batch_size: Rows of `ROW_TOKENS` tokens in a batch; by default what suits the device.

    Raises:
      ValueError: A stimulus that is not a caption, is empty, or cannot be taken by the model; the message names it.
    """
    tokens = caption_tokens(model, captions, names)
    items: dict[bytes, list[int]] = collections.defaultdict(list)
    for item, ids in enumerate(tokens):
        items[ids.tobytes()].append(item)
    items_of = list(items.values())
    unique = [tokens[equal[0]] for equal in items_of]

    groups = devices.groups(model.mesh)
    default = _PASS_TOKENS["cpu" if devices.on_cpu() else "accelerator"] * groups
    most = default if batch_size is None else batch_size * ROW_TOKENS
    minimise = devices.on_cpu() and sum(leaf.size for leaf in jax.tree.leaves(model.network.blocks)) >= _LARGE
    length = row_length(unique)
    by_length: dict[int, list[Row]] = collections.defaultdict(list)
    config = model.network.config
    share = not isinstance(config, DecoderConfig) or config.causal
    for row in pack(unique, length, model.packing_limit, share=share):
        # Longer captions have their own rows, of few different lengths.
        by_length[length if len(row.tokens) <= length else round_up(len(row.tokens), ROW_TOKENS)].append(row)
    batches = []
    for T, rows in sorted(by_length.items()):
        size = even_batch_size(len(rows), most // T, groups, most // T // 2 if minimise else None)
        slots = round_up(max(len(row.members) for row in rows), _SLOTS)
        for start in range(0, len(rows), size):
            in_batch = rows[start : start + size]
            located = [
                (item, r, s)
                for r, row in enumerate(in_batch)
                for s, member in enumerate(row.members)
                for item in items_of[member]
            ]
            batch = _batch(model, in_batch, unique, pools, (size, T, slots))
            batches.append((batch, BatchItems(*np.array(located, np.int64).T)))
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
        for s, (member, indices) in enumerate(zip(row.members, row.indices, strict=True)):
            for p, pool in enumerate(pools):
                weights[r, s, p, indices] = caption_weights(pool, captions[member], model.bos)
    return Captions(tokens, positions, ends, weights.reshape(B, slots * len(pools), T))


def caption_tokens(model: Model, captions: Sequence[object], names: Sequence[str]) -> list[Int[np.ndarray, "_"]]:
    """Token ids of every caption, for which the model needs no weights; raises as `caption_batches`."""
    texts: list[str] = []
    for name, caption in zip(names, captions, strict=True):
        if not isinstance(caption, str):
            raise ValueError(
                f"item {name!r} is a {type(caption).__name__}, but {model.name} is a language model: give captions, "
                "each a str."
            )
        texts.append(caption)
    empty = [name for name, text in zip(names, texts, strict=True) if not text.strip()]
    if empty:
        raise ValueError(
            f"{len(empty)} captions are empty, of items {listed(empty)}: give each item a caption or leave it out."
        )
    paths = [(name, text) for name, text in zip(names, texts, strict=True) if _names_an_image(text.strip())]
    if paths:
        raise ValueError(
            f"{len(paths)} of the {len(texts)} captions name an image file, of items "
            f"{listed([name for name, _ in paths])}, such as {paths[0][1][:80]!r}, but {model.name} is a language "
            "model: use a vision model, or give captions."
        )
    try:
        return model.preprocess(texts)
    except ValueError:
        # One by one, to name the item.
        for name, text in zip(names, texts, strict=True):
            try:
                model.preprocess([text])
            except ValueError as error:
                raise ValueError(f"item {name!r}: {str(error).replace('caption 0 (', 'caption (', 1)}") from error
        raise


def _names_an_image(caption: str) -> bool:
    """Whether a caption is the name of an image file: a single word, or a file that exists."""
    return has_image_suffix(caption) and (len(caption.split()) == 1 or os.path.isfile(caption))
