"""Scores one table from stored activations, and keeps the result in the score store."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vla.alignment.score_blocks import BLOCK_LAYERS, score_blocks
from vla.alignment.score_recipe import ScoreRecipe, score_recipe
from vla.alignment.score_store import ScoreStore
from vla.experiments.gallery import Gallery, groups_of
from vla.experiments.participants import Participant
from vla.experiments.sides import LENGTH, Side
from vla.experiments.stacks import Stacks
from vla.experiments.study import Study
from vla.experiments.tables import Table
from vla.metrics import find
from vla.metrics.folds import outer_folds
from vla.records import Modality, canonical_hash
from vla.stimuli import sample


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
