"""Activations of the sides of a table: read, averaged, mismatched, and stacked as if they were layers."""

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from vla.activations.averaging import running_means
from vla.alignment.caption_length import caption_lengths
from vla.experiments.gallery import Gallery, groups_of
from vla.experiments.participants import Participant
from vla.experiments.sides import LENGTH, Side
from vla.experiments.study import Study
from vla.experiments.tables import Table
from vla.models import Model
from vla.records import Modality, View
from vla.stimuli import derangement

# Held at a time, for tables that share a side.
MOST_BYTES = 1 << 30


class Stacks:
    """Stacked activations; those asked for last are held."""

    def __init__(
        self,
        study: Study,
        participants: Mapping[tuple[Modality, str], Participant],
        galleries: Mapping[str, Gallery],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Nothing is read yet.

        Args:
          study: Whose choices hold.
          participants: Models by modality and source.
          galleries: Datasets by role.
          most_bytes: Of what is held; the last stack is held whatever its size.
        """
        self._study, self._participants, self._galleries = study, participants, galleries
        self._most, self._held = most_bytes, collections.OrderedDict[Any, xr.DataArray]()

    def stack(self, table: Table, given: str, sides: Sequence[Side], ids: Sequence[str]) -> xr.DataArray:
        """The sides' activations, one after another along the axis of layers.

        Args:
          table: Whose dataset and layers are meant.
          given: The model, as given.
          sides: Of one modality; several only of one layer each.
          ids: The items in order.

        Raises:
          ValueError: As `Participant.read`; saved activations of several widths.
        """
        key = (table.dataset, given, tuple(sides), table.layers, tuple(ids))
        if key not in self._held:
            self._held[key] = self._made(table, given, sides, ids)
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(one.nbytes for one in self._held.values()) > self._most:
            self._held.popitem(last=False)
        return self._held[key]

    def member(self, table: Table, given: str, side: Side, member: str) -> xr.DataArray:
        """Activations of a single view of a side."""
        view, participant = (
            self._galleries[table.dataset].view(side.modality, member),
            self._participants[side.modality, given],
        )
        if member == LENGTH:
            return lengths(view, getattr(participant, "model", None))
        return participant.read(view, table.layers)

    def _made(self, table: Table, given: str, sides: Sequence[Side], ids: Sequence[str]) -> xr.DataArray:
        found: dict[Side, xr.DataArray] = {}
        for longest in sorted(sides, key=lambda side: -len(side.members)):
            if longest not in found:
                # Means of the first few of the same exemplars come about on the way.
                own = {len(side.members): side for side in sides if _begins(longest, side)}
                for count, mean in enumerate(self._means(table, given, longest, ids), start=1):
                    if count in own:
                        found[own[count]] = mean
        if len(sides) == 1:
            return found[sides[0]].assign_coords(item=list(ids))
        widths = {side.members[0]: found[side].sizes["unit"] for side in sides}
        if len(set(widths.values())) > 1:
            said = ", ".join(f"{width} on {member}" for member, width in widths.items())
            raise ValueError(f"{given} has activations of different widths: {said}; save those of one layer alike")
        whole = np.concatenate([found[side].values for side in sides])
        coords = {"layer": [str(i) for i in range(len(sides))], "item": list(ids)}
        return xr.DataArray(whole, dims=("layer", "item", "unit"), coords=coords)

    def _means(self, table: Table, given: str, side: Side, ids: Sequence[str]) -> Iterator[xr.DataArray]:
        """The first exemplar as it is, then the mean of the first two, and so on."""
        rows = list(ids)
        if side.mismatched:
            groups = groups_of(self._galleries[table.dataset].dataset, ids)
            rows = list(derangement(rows, self._study.seed, groups))
        first = self.member(table, given, side, side.members[0]).sel(item=rows)
        yield first
        if len(side.members) > 1:
            more = (self.member(table, given, side, member).sel(item=rows) for member in side.members[1:])
            means = running_means(itertools.chain([first], more), self._study.choices.averaging == "z_score_first")
            next(means)
            yield from means


def _begins(longest: Side, side: Side) -> bool:
    """Whether a side averages the first of the exemplars of a longer one."""
    return side.mismatched == longest.mismatched and longest.members[: len(side.members)] == side.members


def lengths(view: View, model: Model | None) -> xr.DataArray:
    """Characters, words and, of a model with a tokenizer, tokens of every caption: what a length alone tells."""
    captions = [str(caption) for caption in view.stimuli]
    tokens = None if model is None else [len(tokens) for tokens in model.preprocess(captions)]
    return caption_lengths(captions, list(view.ids), tokens).astype(np.float32)
