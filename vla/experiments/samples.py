"""Sample items of every condition, as the models saw them, kept in the run folder for its report."""

from pathlib import Path

from vla.experiments.experiment import Condition, Experiment
from vla.experiments.resolve import Resolved
from vla.experiments.scoring import Bench
from vla.stimuli.samples import write_samples


def write(bench: Bench, resolved: Resolved, folder: Path) -> dict[tuple[str, str], str]:
    """Write one file for each way in which items are shown; returns its name by (experiment, condition).

    Of the points of a curve the last is shown. Conditions with mismatched captions, and those that were not run, have
    none.
    """
    names: dict[tuple[str, str], str] = {}
    written: dict[str, str] = {}
    for experiment in bench.study.experiments:
        for condition in _shown(experiment, resolved):
            sides = bench.study.sides(condition)
            if any(side.mismatched for side in sides):
                continue
            gallery = bench.galleries[condition.dataset]
            name = f"{condition.dataset}--{condition.image}--{condition.caption}"
            if name not in written:
                images, captions = ([gallery.view(side.modality, member) for member in side.members] for side in sides)
                written[name] = write_samples(folder, name, images, captions).stem
            names[experiment.id, condition.name] = written[name]
    return names


def _shown(experiment: Experiment, resolved: Resolved) -> list[Condition]:
    usable = [one for one in experiment.conditions if resolved.usable(experiment, one)]
    last: dict[str, Condition] = {}
    for one in usable:
        if one.series and one.k >= last.get(one.series, one).k:
            last[one.series] = one
    return [one for one in usable if not one.series or last[one.series] is one]
