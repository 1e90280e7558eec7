"""Scores one table from stored activations, and keeps the result in the score store."""

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import psutil
import xarray as xr

from vla import devices
from vla.activations.averaging import running_means
from vla.alignment.caption_length import caption_lengths
from vla.alignment.score_blocks import BLOCK_LAYERS, score_blocks
from vla.alignment.score_store import ScoreRecipe, ScoreStore, score_recipe
from vla.alignment.table import DIRECTIONS, SYMMETRIC
from vla.experiments.experiment import LENGTH, Condition, Experiment, Layers, Side
from vla.experiments.gallery import Gallery, groups_of
from vla.experiments.participants import Participant
from vla.experiments.study import Study
from vla.metrics import find
from vla.metrics.folds import outer_folds
from vla.models import Model
from vla.records import Modality, View, canonical_hash
from vla.stimuli import derangement, sample


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where in a table the score of a condition is.

    Attributes:
      experiment: Its id.
      condition: Its name.
      image: Number of its image side.
      caption: Number of its caption side.
    """

    experiment: str
    condition: str
    image: int
    caption: int


@dataclasses.dataclass(frozen=True)
class Table:
    """What is scored in one call: image sides against caption sides of one pair of models.

    Attributes:
      vision: The vision model, as given.
      language: The language model, as given.
      dataset: Role of the dataset.
      part: Whose items are shown, with the experiment: (experiment, part).
      images: Sides of vision, more than one only at the penultimate block.
      captions: Sides of language, likewise.
      layers: "all", "penultimate", or names.
      items: How many items; 0 for all of the part.
      metric: Its name.
      direction: One of `DIRECTIONS`, or "symmetric".
      seed: Of the folds.
      cells: What is read from it.
    """

    vision: str
    language: str
    dataset: str
    part: tuple[str, str]
    images: tuple[Side, ...]
    captions: tuple[Side, ...]
    layers: Layers
    items: int
    metric: str
    direction: str
    seed: int
    cells: tuple[Cell, ...]

    @property
    def is_map(self) -> bool:
        """Whether its rows and columns are layers; else they are conditions, at the penultimate blocks."""
        return self.layers != "penultimate"


def directions(metric: str) -> tuple[str, ...]:
    """In which directions a metric is scored."""
    return DIRECTIONS if find(metric).directed else (SYMMETRIC,)


def tables(
    study: Study,
    usable: Callable[[Experiment, Condition], bool] = lambda *_: True,
    readable: Callable[[Condition, str, str], bool] = lambda *_: True,
) -> Iterator[Table]:
    """All tables of a study, in the order of its experiments.

    Args:
      study: What is asked.
      usable: Whether a condition can be scored.
      readable: Whether a vision and a language model can both have activations of a condition.
    """
    for experiment in study.experiments:
        conditions = [one for one in experiment.conditions if usable(experiment, one)]
        for some in _alike(conditions):
            first = some[0]
            for vision, language in study.pairs(first):
                own = [one for one in some if readable(one, vision, language)]
                for images, captions, cells in _stars(study, experiment, own):
                    for metric in study.metrics_of(experiment):
                        for direction in directions(metric):
                            for seed in study.seeds or (study.seed,):
                                yield Table(
                                    vision,
                                    language,
                                    first.dataset,
                                    (experiment.id, first.part),
                                    images,
                                    captions,
                                    first.layers,
                                    first.items,
                                    metric,
                                    direction,
                                    seed,
                                    cells,
                                )


def needs(study: Study, usable: Callable[[Experiment, Condition], bool] = lambda *_: True) -> dict[tuple, Layers]:
    """What has to be extracted: the layers by (modality, model, dataset, member)."""
    found: dict[tuple, Layers] = {}
    for experiment in study.experiments:
        for condition in experiment.conditions:
            if not usable(experiment, condition):
                continue
            for side, models in zip(
                study.sides(condition),
                (study.vision[condition.vision], study.language[condition.language]),
                strict=True,
            ):
                for model in models:
                    for member in side.members:
                        key = (side.modality, model, condition.dataset, member)
                        if member != LENGTH:
                            same = found.get(key, condition.layers) == condition.layers
                            found[key] = condition.layers if same else "all"
    return found


def _alike(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Conditions on the same items of one dataset, shown to the same models, at the same layers."""
    groups: dict[Any, list[Condition]] = {}
    for one in conditions:
        alike = (one.dataset, one.part, one.layers, one.items, one.vision, one.language)
        groups.setdefault(alike, []).append(one)
    return list(groups.values())


def _stars(
    study: Study, experiment: Experiment, conditions: Sequence[Condition]
) -> Iterator[tuple[tuple[Side, ...], tuple[Side, ...], tuple[Cell, ...]]]:
    """Image sides, caption sides and cells: one side of each star is single."""
    sides = {one.name: study.sides(one) for one in conditions}
    are_maps = any(condition.layers != "penultimate" for condition in conditions)
    counts = [len({pair[which] for pair in sides.values()}) for which in (0, 1)]
    shared = 1 if counts[1] <= counts[0] else 0
    stars: dict[Any, list[str]] = {}
    for name, pair in sides.items():
        # Lengths are three units where a model has thousands: they do not stack.
        alone = are_maps or LENGTH in pair[1].members
        stars.setdefault((pair[shared], name if alone else ""), []).append(name)
    for names in stars.values():
        images, captions = (tuple(dict.fromkeys(sides[name][which] for name in names)) for which in (0, 1))
        cells = tuple(
            Cell(experiment.id, name, images.index(sides[name][0]), captions.index(sides[name][1])) for name in names
        )
        yield images, captions, cells


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


class Bench:
    """Models, galleries and stores at hand, to score tables with."""

    def __init__(
        self,
        study: Study,
        participants: Mapping[tuple[Modality, str], Participant],
        galleries: Mapping[str, Gallery],
        items: Mapping[tuple[str, str], Sequence[str]],
        store: ScoreStore,
    ) -> None:
        """Nothing is read yet.

        Args:
          study: What is asked.
          participants: Models by modality and source.
          galleries: Datasets by role.
          items: Ids by (experiment, part).
          store: Where scores are kept.
        """
        self.study, self.participants, self.galleries, self.items = study, participants, galleries, items
        self.store = store
        self._stacks = Stacks(study, participants, galleries)
        self._known: dict[Any, Any] = {}

    def recipes(self, table: Table) -> list[ScoreRecipe]:
        """What determines the table: one recipe, or one for each test fold, over which scores are then averaged."""
        return [self._recipe(table, ids) for ids in self._ids(table)]

    def pending(self, table: Table) -> Iterator[Callable[[], None]]:
        """What the store does not have yet of a table: its parts, activations read, each to be scored in any thread.

        Raises:
          ValueError: As `vla.score`, when a part is called; activations that are not there.
        """
        for ids in self._ids(table):
            wanted = self._recipe(table, ids)
            if self.store.has(wanted):  # before its sides are made
                continue
            images = self._stacks.stack(table, table.vision, table.images, ids)
            captions = self._stacks.stack(table, table.language, table.captions, ids)
            x, y = (captions, images) if table.direction == "language_to_vision" else (images, captions)
            block = BLOCK_LAYERS if table.is_map else 16
            yield functools.partial(score_blocks, x, y, wanted, self.store, block_layers=block)

    def side_key(self, table: Table, side: Side) -> str:
        """What determines the activations of a side, the choice of items included."""
        model = table.vision if side.modality == "vision" else table.language
        return self._key(table, model, side, self.ids(table))

    def width(self, table: Table, side: Side) -> int:
        """Number of units of a side."""
        given = table.vision if side.modality == "vision" else table.language
        if not self.has_layers(side):
            return self._stacks.member(table, given, side, LENGTH).sizes["unit"]
        view = self.galleries[table.dataset].view(side.modality, side.members[0])
        return self.participants[side.modality, given].width(view)

    @staticmethod
    def has_layers(side: Side) -> bool:
        """Whether a side is read from a model's layers."""
        return LENGTH not in side.members

    def ids(self, table: Table) -> list[str]:
        """The items that the table is about: those of its part; fewer where the table asks for fewer."""
        return list(self._once(("ids", table.part, table.items, table.seed), lambda: self._chosen(table)))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for a key before: conditions share models, views and items."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _chosen(self, table: Table) -> list[str]:
        ids = self.items[table.part]
        if not table.items:
            return list(ids)
        dataset = self.galleries[table.dataset].dataset
        known = set(ids)
        whole = dataclasses.replace(dataset, items=tuple(item for item in dataset.items if item.id in known))
        return list(sample(whole, table.items, table.seed).ids)

    def _ids(self, table: Table) -> list[list[str]]:
        """Items of every call: all at once, or fold by fold."""
        ids = self.ids(table)
        if find(table.metric).directed or self.study.choices.symmetric_items == "all":
            return [ids]
        folds = self.study.overrides.get("outer_folds", 5)
        groups = self._groups(table, ids)
        return [[ids[row] for row in test] for _, test in outer_folds(len(ids), folds, table.seed, groups)]

    def _groups(self, table: Table, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The label of every item, such as its prompt; None where they all differ, or are not to be grouped."""
        if not self.study.choices.grouped:
            return None
        groups = groups_of(self.galleries[table.dataset].dataset, ids)
        return None if groups is None or len(set(groups)) == len(groups) else tuple(groups)

    def _recipe(self, table: Table, ids: Sequence[str]) -> ScoreRecipe:
        asked = dataclasses.replace(table, cells=())
        return self._once(("recipe", asked, tuple(ids)), lambda: self._new_recipe(table, ids))

    def _new_recipe(self, table: Table, ids: Sequence[str]) -> ScoreRecipe:
        study = self.study
        keys = {}
        for model, sides in ((table.vision, table.images), (table.language, table.captions)):
            modality = sides[0].modality
            keys[modality] = canonical_hash([self._key(table, model, side, ids) for side in sides])
        ordered = ("language", "vision") if table.direction == "language_to_vision" else ("vision", "language")
        known = {field.name for field in dataclasses.fields(find(table.metric).settings)}
        wanted = {
            name: value for name, value in {**study.choices.overrides, **study.overrides}.items() if name in known
        }
        # The groups of the dataset, for every metric; else those that the study asks for.
        groups = self._groups(table, ids) or study.overrides.get("groups")
        if groups is not None:
            wanted["groups"] = groups
        names = {
            "vision": self.participants["vision", table.vision].name,
            "language": self.participants["language", table.language].name,
        }
        words = {"x": names[ordered[0]], "y": names[ordered[1]], "about": f"{table.dataset} {table.part[1]}".strip()}
        return score_recipe(
            (keys[ordered[0]], keys[ordered[1]]),
            table.metric,
            study.choices.protocol,
            table.seed,
            study.null,
            study.draws(table.layers),
            study.splits(table.layers),
            study.confidence,
            words=words,
            **wanted,
        )

    def _key(self, table: Table, given: str, side: Side, ids: Sequence[str]) -> str:
        known = ("key", table.dataset, given, side, table.layers, tuple(ids))
        return self._once(known, lambda: self._new_key(table, given, side, ids))

    def _new_key(self, table: Table, given: str, side: Side, ids: Sequence[str]) -> str:
        gallery, participant = self.galleries[table.dataset], self.participants[side.modality, given]
        members = [
            canonical_hash([LENGTH, participant.key(gallery.view(side.modality, member))])
            if member == LENGTH
            else participant.key(gallery.view(side.modality, member))
            for member in side.members
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

    def _mismatch(self, gallery: Gallery, ids: Sequence[str]) -> Any:
        """What determines which item's row each item is given: the seed, and groups where items share them."""
        groups = groups_of(gallery.dataset, ids)
        return self.study.seed if groups is None or len(set(groups)) == len(groups) else [self.study.seed, groups]


# What a part takes at least, of whatever size its layers are.
LEAST_BYTES = 1 << 28


@contextlib.contextmanager
def side_by_side(part_bytes: float = 0.0) -> Iterator[Callable[..., None]]:
    """A function that has a part of a table scored, `singly` by itself or beside as many as cores and memory allow.

    Parts are done when the block ends. An error of any ends it.

    Args:
      part_bytes: Memory that a part takes which is not scored by itself.
    """
    room = int(psutil.virtual_memory().available / max(part_bytes, LEAST_BYTES))
    count, running = max(1, min(devices.workers(), room)), set[Future[None]]()

    def settle(most: int) -> None:
        while len(running) > most:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(done)
                done.result()

    def submit(part: Callable[[], None], singly: bool) -> None:
        settle(0 if singly else count - 1)
        running.add(pool.submit(_alone, part))
        if singly:
            settle(0)

    # Set here, as numbers must not depend on who else is multiplying.
    with devices.one_thread_per_product(), ThreadPoolExecutor(count) as pool:
        try:
            yield submit
            settle(0)
        finally:
            pool.shutdown(cancel_futures=True)


def _alone(part: Callable[[], None]) -> None:
    with devices.alone():
        part()
