"""Scores the tables of a study from stored activations, and keeps the results in the score store."""

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import psutil
import xarray as xr

from vla import devices
from vla.activations.averaging import running_means
from vla.alignment.caption_length import caption_lengths
from vla.alignment.score_blocks import BLOCK_LAYERS, score_blocks
from vla.alignment.score_store import ScoreRecipe, ScoreStore, score_recipe
from vla.experiments.experiment import LENGTH, Side
from vla.experiments.gallery import Gallery, groups_of
from vla.experiments.participants import Participant
from vla.experiments.study import MODALITIES, OUTER_FOLDS, Study
from vla.experiments.tables import Table
from vla.metrics.folds import outer_folds
from vla.metrics.registry import find
from vla.models.model import Model
from vla.records import Modality, View, canonical_hash
from vla.stimuli.draws import sample
from vla.stimuli.mismatch import derangement
from vla.stimuli.views import ViewSpec

T = TypeVar("T")

# Stacks kept in memory for tables that share a side.
MOST_BYTES = 1 << 30


class Stacks:
    """Stacked activations; the stacks used last stay in memory."""

    def __init__(
        self,
        study: Study,
        participants: Mapping[tuple[Modality, str], Participant],
        galleries: Mapping[str, Gallery],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Nothing is read yet. Stacks of up to `most_bytes` are kept, and the last one whatever its size."""
        self._study, self._participants, self._galleries = study, participants, galleries
        self._most, self._kept = most_bytes, collections.OrderedDict[Hashable, xr.DataArray]()

    def stack(self, table: Table, model: str, sides: Sequence[Side], ids: Sequence[str]) -> xr.DataArray:
        """The activations of the sides [layer, item, unit], concatenated along the axis of layers.

        Args:
          table: The table, for its dataset and layers.
          model: The model, as the study lists it.
          sides: Sides of one modality; several only with one layer each.
          ids: The items in order.

        Raises:
          ValueError: As `Participant.read`; saved activations of different widths.
        """
        key = (table.dataset, model, tuple(sides), table.layers, tuple(ids))
        if key not in self._kept:
            self._kept[key] = self._read(table, model, sides, ids)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(array.nbytes for array in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def member(self, table: Table, model: str, side: Side, member: ViewSpec | str) -> xr.DataArray:
        """Activations of a single view of a side."""
        view = self._galleries[table.dataset].view(side.modality, member)
        participant = self._participants[side.modality, model]
        if member == LENGTH:
            return lengths(view, getattr(participant, "model", None))
        return participant.read(view, table.layers)

    def _read(self, table: Table, model: str, sides: Sequence[Side], ids: Sequence[str]) -> xr.DataArray:
        arrays: dict[Side, xr.DataArray] = {}
        for longest in sorted(sides, key=lambda side: -len(side.members)):
            if longest not in arrays:
                # The means over fewer of the same exemplars are computed on the way.
                shorter = {len(side.members): side for side in sides if _begins(longest, side)}
                for count, mean in enumerate(self._means(table, model, longest, ids), start=1):
                    if count in shorter:
                        arrays[shorter[count]] = mean
        if len(sides) == 1:
            return arrays[sides[0]].assign_coords(item=list(ids))
        widths = {side.members[0]: arrays[side].sizes["unit"] for side in sides}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{width} on {member}" for member, width in widths.items())
            raise ValueError(f"{model} has activations of different widths: {listed}; save all views at the same layer")
        stacked = np.concatenate([arrays[side].values for side in sides])
        coords = {"layer": [str(i) for i in range(len(sides))], "item": list(ids)}
        return xr.DataArray(stacked, dims=("layer", "item", "unit"), coords=coords)

    def _means(self, table: Table, model: str, side: Side, ids: Sequence[str]) -> Iterator[xr.DataArray]:
        """The first exemplar, then the mean of the first two, and so on."""
        rows = list(ids)
        if side.mismatched:
            groups = groups_of(self._galleries[table.dataset].dataset, ids)
            rows = list(derangement(rows, self._study.seed, groups))
        first = self.member(table, model, side, side.members[0]).sel(item=rows)
        yield first
        if len(side.members) > 1:
            more = (self.member(table, model, side, member).sel(item=rows) for member in side.members[1:])
            means = running_means(itertools.chain([first], more), self._study.choices.averaging == "z_score_first")
            next(means)
            yield from means


def _begins(longest: Side, side: Side) -> bool:
    """Whether a side averages the first exemplars of a longer one."""
    return side.mismatched == longest.mismatched and longest.members[: len(side.members)] == side.members


def lengths(view: View, model: Model | None) -> xr.DataArray:
    """Characters, words and, for a model with a tokenizer, tokens of every caption: the length-only baseline."""
    captions = [str(caption) for caption in view.stimuli]
    tokens = None if model is None else [len(tokens) for tokens in model.preprocess(captions)]
    return caption_lengths(captions, list(view.ids), tokens).astype(np.float32)


class Bench:
    """Models, galleries and stores of a study, and the recipes of its tables."""

    def __init__(
        self,
        study: Study,
        participants: Mapping[tuple[Modality, str], Participant],
        galleries: Mapping[str, Gallery],
        items: Mapping[tuple[str, str], Sequence[str]],
        store: ScoreStore,
    ) -> None:
        """Nothing is read yet. `participants` are by modality and source, `items` are ids by (experiment, part)."""
        self.study, self.participants, self.galleries, self.items = study, participants, galleries, items
        self.store = store
        self._stacks = Stacks(study, participants, galleries)
        self._cache: dict[Hashable, Any] = {}

    def recipes(self, table: Table) -> list[ScoreRecipe]:
        """What determines the table: one recipe, or one per test fold, over which scores are then averaged."""
        return [self._recipe(table, ids) for ids in self._item_sets(table)]

    def pending(self, table: Table) -> Iterator[Callable[[], None]]:
        """The parts of a table that the store lacks: functions that score them, in any thread; activations are read.

        Raises:
          ValueError: As `vla.score`, when a part is called; missing activations.
        """
        for ids in self._item_sets(table):
            recipe = self._recipe(table, ids)
            if self.store.has(recipe):  # before activations are read
                continue
            x, y = (
                self._stacks.stack(table, table.model(modality), table.sides(modality), ids) for modality in table.order
            )
            block = BLOCK_LAYERS if table.is_map else 16
            yield functools.partial(score_blocks, x, y, recipe, self.store, block_layers=block)

    def side_key(self, table: Table, side: Side) -> str:
        """The key of the activations of a side, which includes the items."""
        return self._key(table, side, self.ids(table))

    def width(self, table: Table, side: Side) -> int:
        """Number of units of a side."""
        model = table.model(side.modality)
        if not self.has_layers(side):
            return self._stacks.member(table, model, side, LENGTH).sizes["unit"]
        view = self.galleries[table.dataset].view(side.modality, side.members[0])
        return self.participants[side.modality, model].width(view)

    @staticmethod
    def has_layers(side: Side) -> bool:
        """Whether a side is read from the layers of a model."""
        return LENGTH not in side.members

    def ids(self, table: Table) -> list[str]:
        """The items of the table: those of its part, or a sample of them."""
        return list(self._cached(("ids", table.part, table.items, table.seed), lambda: self._sampled(table)))

    def _cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made once: conditions share models, views and items."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _sampled(self, table: Table) -> list[str]:
        ids = self.items[table.part]
        if not table.items:
            return list(ids)
        dataset, known = self.galleries[table.dataset].dataset, set(ids)
        of_part = dataclasses.replace(dataset, items=tuple(item for item in dataset.items if item.id in known))
        return list(sample(of_part, table.items, table.seed).ids)

    def _item_sets(self, table: Table) -> list[list[str]]:
        """The items of each call: all at once, or one test fold after another."""
        ids = self.ids(table)
        if find(table.metric).directed or self.study.choices.symmetric_items == "all":
            return [ids]
        folds = self.study.overrides.get("outer_folds", OUTER_FOLDS)
        groups = self._groups(table, ids)
        return [[ids[row] for row in test] for _, test in outer_folds(len(ids), folds, table.seed, groups)]

    def _groups(self, table: Table, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The group of each item, such as its prompt; None if all differ or the study does not group."""
        if not self.study.choices.grouped:
            return None
        groups = groups_of(self.galleries[table.dataset].dataset, ids)
        return None if groups is None or len(set(groups)) == len(groups) else tuple(groups)

    def _recipe(self, table: Table, ids: Sequence[str]) -> ScoreRecipe:
        without_cells = dataclasses.replace(table, cells=())
        return self._cached(("recipe", without_cells, tuple(ids)), lambda: self._new_recipe(table, ids))

    def _new_recipe(self, table: Table, ids: Sequence[str]) -> ScoreRecipe:
        study = self.study
        keys = {
            modality: canonical_hash([self._key(table, side, ids) for side in table.sides(modality)])
            for modality in MODALITIES
        }
        settings = {field.name for field in dataclasses.fields(find(table.metric).settings)}
        overrides = {**study.choices.overrides, **study.overrides}
        overrides = {name: value for name, value in overrides.items() if name in settings}
        # The groups of the dataset, for every metric; otherwise the study's.
        groups = self._groups(table, ids) or study.overrides.get("groups")
        if groups is not None:
            overrides["groups"] = groups
        x, y = (self.participants[modality, table.model(modality)].name for modality in table.order)
        return score_recipe(
            (keys[table.order[0]], keys[table.order[1]]),
            table.metric,
            study.choices.protocol,
            table.seed,
            study.null,
            study.draws(table.layers),
            study.splits(table.layers),
            study.confidence,
            labels={"x": x, "y": y, "about": f"{table.dataset} {table.part[1]}".strip()},
            **overrides,
        )

    def _key(self, table: Table, side: Side, ids: Sequence[str]) -> str:
        key = ("key", table.dataset, table.model(side.modality), side, table.layers, tuple(ids))
        return self._cached(key, lambda: self._new_key(table, side, ids))

    def _new_key(self, table: Table, side: Side, ids: Sequence[str]) -> str:
        gallery, participant = (
            self.galleries[table.dataset],
            self.participants[side.modality, table.model(side.modality)],
        )
        keys = [participant.key(gallery.view(side.modality, member)) for member in side.members]
        members = [
            canonical_hash([LENGTH, key]) if member == LENGTH else key
            for member, key in zip(side.members, keys, strict=True)
        ]
        return canonical_hash(
            {
                "members": members,
                "layers": table.layers,
                "averaging": self.study.choices.averaging if len(members) > 1 else "",
                "mismatched": self._mismatch(gallery, ids) if side.mismatched else None,
                "items": list(ids),
            }
        )

    def _mismatch(self, gallery: Gallery, ids: Sequence[str]) -> int | list[Any]:
        """What determines the row of another item that each item gets: the seed, and groups that items share."""
        groups = groups_of(gallery.dataset, ids)
        return self.study.seed if groups is None or len(set(groups)) == len(groups) else [self.study.seed, groups]


# Smallest estimate of the memory of one part.
LEAST_BYTES = 1 << 28


@contextlib.contextmanager
def side_by_side(part_bytes: float = 0.0) -> Iterator[Callable[..., None]]:
    """A function that scores a part of a table: `singly`, or in parallel as far as cores and memory allow.

    All parts have finished when the block ends. An error in a part ends the block.

    Args:
      part_bytes: Memory of one part that runs in parallel with others.
    """
    fitting = int(psutil.virtual_memory().available / max(part_bytes, LEAST_BYTES))
    count, running = max(1, min(devices.workers(), fitting)), set[Future[None]]()

    def wait_until(most: int) -> None:
        while len(running) > most:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(future)
                future.result()

    def submit(part: Callable[[], None], singly: bool) -> None:
        wait_until(0 if singly else count - 1)
        running.add(pool.submit(_alone, part))
        if singly:
            wait_until(0)

    # One thread per product, because results must not depend on what else runs.
    with devices.one_thread_per_product(), ThreadPoolExecutor(count) as pool:
        try:
            yield submit
            wait_until(0)
        finally:
            pool.shutdown(cancel_futures=True)


def _alone(part: Callable[[], None]) -> None:
    with devices.alone():
        part()
