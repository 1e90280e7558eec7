"""What of a study can be run: which conditions have their views, and on which items."""

import dataclasses
from collections.abc import Mapping

from vla.experiments.experiment import Condition, Experiment
from vla.experiments.gallery import Absent, Gallery
from vla.experiments.study import OUTER_FOLDS, Study
from vla.metrics import find
from vla.records import listed


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What can be run.

    Attributes:
      items: Ids by (experiment, part), in the dataset's order: those that every condition of the part can show.
      left_out: How many items each condition itself cannot show, by (experiment, condition).
      absent: Why a condition cannot be scored, and the command that helps, by (experiment, condition).
    """

    items: Mapping[tuple[str, str], tuple[str, ...]]
    left_out: Mapping[tuple[str, str], int]
    absent: Mapping[tuple[str, str], tuple[str, str]]

    def usable(self, experiment: Experiment, condition: Condition) -> bool:
        """Whether a condition can be scored."""
        return (experiment.id, condition.name) not in self.absent

    @property
    def reasons(self) -> tuple[str, ...]:
        """What cannot be scored, in words: the conditions of an experiment that fail for one reason together."""
        together: dict[tuple[str, str, str], list[str]] = {}
        for (experiment, condition), (why, command) in self.absent.items():
            together.setdefault((experiment, why, command), []).append(condition)
        return tuple(
            f"{experiment}, {listed(names)}: {why}" + (f" ({command})" if command else "")
            for (experiment, why, command), names in together.items()
        )


def resolve(study: Study, galleries: Mapping[str, Gallery]) -> Resolved:
    """Look at every view; nothing is extracted."""
    items: dict[tuple[str, str], tuple[str, ...]] = {}
    left_out: dict[tuple[str, str], int] = {}
    absent: dict[tuple[str, str], tuple[str, str]] = {}
    for experiment in study.experiments:
        shared: dict[str, set[str]] = {}
        homes: dict[str, str] = {}
        for condition in experiment.conditions:
            gallery, name = galleries[condition.dataset], (experiment.id, condition.name)
            try:
                ids = set(gallery.dataset.ids)
                for side in study.sides(condition):
                    ids &= gallery.ids(side.modality, side.members)
                if condition.items > len(ids):
                    raise Absent(f"{condition.items} items are asked for, and there are {len(ids)}")
            except Absent as error:
                absent[name] = (str(error), error.command)
                continue
            if homes.setdefault(condition.part, condition.dataset) != condition.dataset:
                raise ValueError(
                    f"experiment {experiment.id!r}: part {condition.part!r} has conditions on {homes[condition.part]} "
                    f"and {condition.dataset}; give them different parts"
                )
            left_out[name] = len(gallery.dataset) - len(ids)
            shared[condition.part] = shared.get(condition.part, ids) & ids
        for part, ids in shared.items():
            order = galleries[homes[part]].dataset.ids
            items[experiment.id, part] = tuple(id for id in order if id in ids)
        for condition in experiment.conditions:
            common = len(shared.get(condition.part, ()))
            few = _too_few(study, experiment, condition, common)
            if condition.items > common:
                few = f"{condition.items} items are asked for, and all conditions of its part can show {common}"
            if few and (experiment.id, condition.name) not in absent:
                absent[experiment.id, condition.name] = (few, "")
    return Resolved(items, left_out, absent)


def _too_few(study: Study, experiment: Experiment, condition: Condition, shared: int) -> str:
    """Why items are too few for the folds, of which each must test two; "" where they are enough."""
    folds, count = study.overrides.get("outer_folds", OUTER_FOLDS), condition.items or shared
    split = study.choices.symmetric_items == "test_folds" or any(
        find(name).directed for name in study.metrics_of(experiment)
    )
    if not split or count >= 2 * folds:
        return ""
    fewer = f", or fewer folds ({study.flag('outer_folds', count // 2)})" if count >= 4 else ""
    return (
        f"{count} items that all conditions of its part can show are too few for {folds} folds: at least {2 * folds} "
        f"are needed{fewer}"
    )
