"""Prepares the study of the quick start: draws its world, and fills its config with datasets and shipped models."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla import progress
from vla.checks import check_choice
from vla.microworld.checkpoints import write_step_zero
from vla.microworld.shipped import shipped, shipped_steps
from vla.microworld.world_folder import write_world

MODELS = ("trained", "untrained")
STUDIED = {"vision": ("micro-dinov2", "micro-vit"), "language": ("micro-llama", "micro-bloom")}
# Computes CLIP Score of captions.
JUDGE = "micro-clip"
# The two models that are shipped with checkpoints during training.
VISION, LANGUAGE = "micro-dinov2", "micro-llama"

# Seconds of the stages with two cores, fixed and per scene: the progress display uses them until the study is planned.
_EXPECTED = {"extracting": (10.0, 0.08), "scoring": (25.0, 0.03), "writing tables": (5.0, 0.0), "drawing": (12.0, 0.0)}

# Models by group name.
Groups = dict[str, tuple[str, ...]]


def fill_config(config: Mapping[str, Any], folder: Path, show_progress: bool = False) -> dict[str, Any]:
    """The values of a study's config with the folders of a drawn world and the models filled in.

    `config["microworld"]` has the number of scenes (`n`), the `seed`, the numbers of `renderings` and `paraphrases` per
    scene, and in `models` which models are studied where the config names none: the four "trained" ones of the package,
    or the same "untrained". With `training`, the trained models are also compared with their checkpoints before and
    during training. Where the config names no CLIP model, micro-clip is used. What exists in the folder is reused.

    Raises:
      ValueError: As for `write_world`, or `models` is unknown.
    """
    values = {**config}
    options = values.pop("microworld")
    check_choice("microworld.models", options["models"], MODELS)
    n, seed = options["n"], options["seed"]
    progress.expect({stage: fixed + per_scene * n for stage, (fixed, per_scene) in _EXPECTED.items()})
    world = write_world(
        folder / f"world-{n}-{seed}",
        n,
        seed,
        renderings=options["renderings"],
        paraphrases=options["paraphrases"],
        show_progress=show_progress,
    )
    datasets = {role: {**dataset, "tagger": str(world.tagger)} for role, dataset in values["datasets"].items()}
    for role, directory in (("coco", world.coco), ("pick_a_pic", world.pick_a_pic)):
        if directory is not None:
            datasets[role]["directory"] = str(directory)
    datasets["coco"]["paraphrases"] = str(world.paraphrases)
    datasets["coco"]["synthetic"] = "" if world.synthetic is None else str(world.synthetic)
    datasets["coco"]["clip"] = datasets["coco"]["clip"] or str(shipped(JUDGE))
    values["datasets"] = datasets
    _fill_models(values, options, folder / "models")
    return values


def _fill_models(values: dict[str, Any], options: Mapping[str, Any], folder: Path) -> None:
    """Fill in the models where the config names none; if it names none at all, also the experiments on training."""
    trained = options["models"] == "trained"
    find = shipped if trained else functools.partial(write_step_zero, folder=folder)
    core = {
        modality: tuple(str(find(name)) for name in names)
        for modality, names in STUDIED.items()
        if not values[modality]["core"]
    }
    groups = {modality: {**values[modality], "core": models} for modality, models in core.items()}
    if options["training"] and trained and set(core) == set(STUDIED):
        before, comparison = untrained(STUDIED, folder)
        during, followed = along_training(folder)
        groups = {modality: {**group, **before[modality], **during[modality]} for modality, group in groups.items()}
        values["own_experiments"] = (*values["own_experiments"], comparison, *followed)
    values.update(groups)


def untrained(models: Mapping[str, tuple[str, ...]], folder: Path) -> tuple[dict[str, Groups], dict[str, Any]]:
    """An experiment that compares models, named by modality, with their state before training.

    Weights before training go to the folder; what exists is reused.

    Returns:
      Groups of models by modality, and the experiment: fields of `vla.experiments.experiment.Experiment`.
    """
    groups = {
        modality: {"untrained": tuple(_source(name, 0, folder) for name in names)} for modality, names in models.items()
    }
    trained = {"name": "trained", "part": "training"}
    comparison = {"name": "training", "higher": "trained", "lower": "untrained"}
    comparison["claim"] = "trained networks are more aligned than the same networks before training"
    return groups, {
        "id": "Untrained",
        "title": "Trained and untrained models",
        "question": "Does alignment come from training, or do the same networks have it before training?",
        "expected": "Trained far above untrained, and both above shuffled items.",
        "conditions": (trained, {**trained, "name": "untrained", "vision": "untrained", "language": "untrained"}),
        "comparisons": (comparison,),
    }


def along_training(folder: Path) -> tuple[dict[str, Groups], tuple[dict[str, Any], ...]]:
    """Three experiments on checkpoints: both models along training, and each of them with the other fully trained.

    The checkpoints of both models are paired in their order, first with first and last with last. Weights before
    training are drawn again from the seed, in the folder.

    Returns:
      Groups of models by modality, and the experiments, as for `untrained`.
    """
    steps = {name: (0, *shipped_steps(name)) for name in (VISION, LANGUAGE)}
    groups = {
        modality: {_group_name(name, step): (_source(name, step, folder),) for step in steps[name]}
        for modality, name in (("vision", VISION), ("language", LANGUAGE))
    }
    of_vision, of_language = steps[VISION], steps[LANGUAGE]
    # The language model's step at the same relative position.
    scale = (len(of_language) - 1) / (len(of_vision) - 1)
    both = [(step, of_language[round(i * scale)]) for i, step in enumerate(of_vision)]
    pairs = ", ".join(f"{v} and {t}" for v, t in both)
    end_v, end_t = of_vision[-1], of_language[-1]
    paired = f"Steps are those of {VISION}; it is paired with {LANGUAGE} in the order of their checkpoints: "
    paired += f"steps {pairs}."
    at_each = "{} at each checkpoint, with {} at the end of its training."
    # Vision step, language step, and position on the curve of each condition.
    points = [(v, t, v) for v, t in both], [(v, end_t, v) for v in of_vision], [(end_v, t, t) for t in of_language]
    notes = paired, at_each.format(VISION, LANGUAGE), at_each.format(LANGUAGE, VISION)
    titles = "Both models", "The vision model", "The language model"
    return groups, tuple(
        {
            "id": id,
            "title": f"{title} along training",
            "question": f"When in training does alignment emerge, and in which layers? {note}",
            "expected": "Alignment rises along training, most in middle and late layers.",
            "layers": "all",
            "conditions": tuple(
                {
                    "name": f"{VISION} {v}, {LANGUAGE} {t}",
                    "vision": _group_name(VISION, v),
                    "language": _group_name(LANGUAGE, t),
                    "series": "step",
                    "k": k,
                }
                for v, t, k in of_curve
            ),
        }
        for id, title, note, of_curve in zip(
            ("Training", "Vision training", "Language training"), titles, notes, points, strict=True
        )
    )


def _group_name(model: str, step: int) -> str:
    return f"{model} at {step}"


def _source(name: str, step: int, folder: Path) -> str:
    """A checkpoint as `name=path`; the end of training is the plain path, as in the other experiments."""
    if step == 0:
        return f"{name}@0={write_step_zero(name, folder)}"
    if step == shipped_steps(name)[-1]:
        return str(shipped(name))
    return f"{name}@{step}={shipped(name, step)}"
