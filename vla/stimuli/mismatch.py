"""Gives every item the stimulus of another item, drawn at random from a seed."""

import itertools
from collections.abc import Sequence
from typing import Any

from vla.records import View
from vla.stimuli.draws import shuffled, uniform
from vla.stimuli.views import restricted


def derangement(ids: Sequence[str], seed: int, groups: Sequence[Any] | None = None) -> tuple[str, ...]:
    """A partner for each id, another id; every id is the partner of exactly one other.

    Without groups every such assignment is equally likely. It depends on the set of ids, not on their order.

    Args:
      ids: The ids, such as `dataset.ids`.
      seed: Which assignment; any whole number.
      groups: The group of each id, such as its prompt; partners are then of different groups, and the assignment is the
        end of a long random walk among those that are allowed. None for a group for each id.

    Returns:
      The partner of each id, in the order of the ids: `x.sel(item=list(partners))` mismatches activations.

    Raises:
      ValueError: Fewer than two ids, or one twice; not one group per id; a group has more than half of the ids.
    """
    if len(set(ids)) < len(ids) or len(ids) < 2:
        raise ValueError(f"{len(set(ids))} different ids among {len(ids)}; expected two or more, each of them once")
    groups = list(ids if groups is None else groups)
    if len(groups) != len(ids):
        raise ValueError(f"{len(groups)} groups for {len(ids)} ids; expected one for each")
    group_of = dict(zip(ids, groups, strict=True))
    is_free = len(set(groups)) == len(ids)
    partners = _deranged(sorted(ids), seed) if is_free else _walked(sorted(ids), group_of, seed)
    return tuple(partners[id] for id in ids)


def mismatched(view: View, seed: int, groups: Sequence[Any] | None = None) -> View:
    """The view with every item shown the stimulus of another: the baseline of everything that needs matching pairs.

    `seed` and `groups` are as of `derangement`, for the ids of the view.

    Raises:
      ValueError: As `derangement`.
    """
    partners = derangement(view.ids, seed, groups)
    return restricted(view, dict(zip(view.ids, partners, strict=True)), f"{view.name}/mismatched-{seed}")


def _deranged(ids: list[str], seed: int) -> dict[str, str]:
    """The first random order that moves every id; it takes 2.7 attempts on average."""
    for attempt in itertools.count():
        drawn = shuffled((seed, "derangement", attempt), ids)
        if all(id != partner for id, partner in zip(ids, drawn, strict=True)):
            return dict(zip(ids, drawn, strict=True))
    raise AssertionError


def _walked(ids: list[str], groups: dict[str, Any], seed: int) -> dict[str, str]:
    """Partners of other groups: a valid assignment, then many exchanges of two partners that keep it valid."""
    members: dict[Any, list[str]] = {}
    for id in ids:
        members.setdefault(groups[id], []).append(id)
    largest = max(members, key=lambda group: len(members[group]))
    most = len(members[largest])
    if 2 * most > len(ids):
        raise ValueError(
            f"group {largest!r} has {most} of the {len(ids)} ids, more than half: not all of them can have a partner "
            "of another group. Leave some out, or pass no groups"
        )
    # Groups end to end, shifted by the size of the largest: no id then meets its group.
    line = [id for group in shuffled((seed, "groups"), list(members)) for id in members[group]]
    partners = line[most:] + line[:most]
    for step, draw in enumerate(uniform((seed, "exchanges"), 20 * len(ids))):
        a, b = step % len(ids), int(draw * len(ids))
        if groups[line[a]] != groups[partners[b]] and groups[line[b]] != groups[partners[a]]:
            partners[a], partners[b] = partners[b], partners[a]
    return dict(zip(line, partners, strict=True))
