"""The tables of scores that a study needs: conditions that share one side are scored together.

Conditions of one part mostly vary one side: five kinds of image against one caption, one image against means of 1 to 15
captions. The varied side is stacked as if it were layers, so that the shared side is factored once.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vla.alignment.table import DIRECTIONS, SYMMETRIC
from vla.experiments.experiment import Condition, Experiment, Layers
from vla.experiments.sides import LENGTH, Side
from vla.experiments.study import Study
from vla.metrics import find


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
