"""The tables of scores of a study: which image and caption sides are scored together, for which models."""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence

from vla.alignment.table import DIRECTIONS, SYMMETRIC
from vla.experiments.experiment import LENGTH, Condition, Experiment, Layers, Side
from vla.experiments.study import Study
from vla.metrics.registry import find
from vla.records import Modality
from vla.stimuli.views import ViewSpec


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where in a table the score of a condition is.

    Attributes:
      experiment: Id of the experiment.
      condition: Name of the condition.
      image: Index of its image side in the table.
      caption: Index of its caption side in the table.
    """

    experiment: str
    condition: str
    image: int
    caption: int


@dataclasses.dataclass(frozen=True)
class Table:
    """What one call scores: image sides against caption sides of one pair of models.

    Attributes:
      vision: The vision model, as the study lists it.
      language: The language model, as the study lists it.
      dataset: Role of the dataset.
      part: (experiment, part), which determines the items.
      images: Image sides, more than one only at the penultimate block.
      captions: Caption sides, likewise.
      layers: "all", "penultimate", or names.
      items: Number of items; 0 for all of the part.
      metric: Name of the metric.
      direction: One of `DIRECTIONS`, or "symmetric".
      seed: Seed of the folds.
      cells: The conditions whose scores it holds.
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
        """Whether its rows and columns are layers; otherwise they are conditions, at the penultimate blocks."""
        return self.layers != "penultimate"

    def model(self, modality: Modality) -> str:
        """The model of a modality, as the study lists it."""
        return self.vision if modality == "vision" else self.language

    def sides(self, modality: Modality) -> tuple[Side, ...]:
        """The sides of a modality."""
        return self.images if modality == "vision" else self.captions

    @property
    def order(self) -> tuple[Modality, Modality]:
        """The modality of the predictor and that of the target; vision first where the metric is symmetric."""
        return ("language", "vision") if self.direction == "language_to_vision" else ("vision", "language")


def directions(metric: str) -> tuple[str, ...]:
    """The directions in which a metric is scored."""
    return DIRECTIONS if find(metric).directed else (SYMMETRIC,)


def tables(
    study: Study,
    usable: Callable[[Experiment, Condition], bool] = lambda *_: True,
    readable: Callable[[Condition, str, str], bool] = lambda *_: True,
) -> Iterator[Table]:
    """All tables of a study, in the order of its experiments.

    Args:
      study: The study.
      usable: Whether a condition can be scored.
      readable: Whether a vision and a language model can both have activations of a condition.
    """
    for experiment in study.experiments:
        conditions = [condition for condition in experiment.conditions if usable(experiment, condition)]
        scored = [(metric, direction, seed) for metric in study.metrics_of(experiment)
                  for direction in directions(metric) for seed in study.seeds or (study.seed,)]  # fmt: skip
        for group in _scored_together(conditions):
            first = group[0]
            for vision, language in study.pairs(first):
                of_pair = [condition for condition in group if readable(condition, vision, language)]
                for images, captions, cells in _stars(study, experiment, of_pair):
                    for metric, direction, seed in scored:
                        yield Table(vision, language, first.dataset, (experiment.id, first.part), images, captions,
                                    first.layers, first.items, metric, direction, seed, cells)  # fmt: skip


Need = tuple[Modality, str, str, ViewSpec | str]
"""Modality, model as the study lists it, role of the dataset, member of a side."""


def needs(study: Study, usable: Callable[[Experiment, Condition], bool] = lambda *_: True) -> dict[Need, Layers]:
    """The layers that must be extracted, by modality, model, dataset and member of a side."""
    layers: dict[Need, Layers] = {}
    for experiment in study.experiments:
        for condition in experiment.conditions:
            if not usable(experiment, condition):
                continue
            for side in study.sides(condition):
                for model in study.groups(side.modality)[getattr(condition, side.modality)]:
                    for member in side.members:
                        key = (side.modality, model, condition.dataset, member)
                        if member != LENGTH:
                            same = layers.get(key, condition.layers) == condition.layers
                            layers[key] = condition.layers if same else "all"
    return layers


def _scored_together(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Conditions grouped by dataset, part, layers, number of items and models."""
    groups: dict[Hashable, list[Condition]] = {}
    for condition in conditions:
        key = (condition.dataset, condition.part, condition.layers, condition.items, condition.vision,
               condition.language)  # fmt: skip
        groups.setdefault(key, []).append(condition)
    return list(groups.values())


def _stars(
    study: Study, experiment: Experiment, conditions: Sequence[Condition]
) -> Iterator[tuple[tuple[Side, ...], tuple[Side, ...], tuple[Cell, ...]]]:
    """Image sides, caption sides and cells of each table: one side is shared by all of its conditions."""
    sides = {condition.name: study.sides(condition) for condition in conditions}
    are_maps = any(condition.layers != "penultimate" for condition in conditions)
    counts = [len({pair[index] for pair in sides.values()}) for index in (0, 1)]
    shared = 1 if counts[1] <= counts[0] else 0
    stars: dict[Hashable, list[str]] = {}
    for name, pair in sides.items():
        # Lengths have three units and other sides thousands, so they cannot be stacked.
        alone = are_maps or LENGTH in pair[1].members
        stars.setdefault((pair[shared], name if alone else ""), []).append(name)
    for names in stars.values():
        images, captions = (tuple(dict.fromkeys(sides[name][index] for name in names)) for index in (0, 1))
        cells = tuple(
            Cell(experiment.id, name, images.index(sides[name][0]), captions.index(sides[name][1])) for name in names
        )
        yield images, captions, cells
