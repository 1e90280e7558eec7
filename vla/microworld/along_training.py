"""Experiments on the shipped models before, during and after their training, as data for a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla.microworld.shipped import WEIGHTS, shipped, shipped_steps
from vla.microworld.step_zero import write_step_zero

# The two of which checkpoints on the way are shipped.
VISION, LANGUAGE = "micro-dinov2", "micro-llama"

Groups = dict[str, tuple[str, ...]]


def untrained(models: Mapping[str, tuple[str, ...]], folder: Path) -> tuple[dict[str, Groups], dict[str, Any]]:
    """The models as they were before training, beside themselves afterwards.

    Args:
      models: Names by modality.
      folder: Where their weights before training shall be; what is there already is used again.

    Returns:
      Groups of models by modality, and an experiment, a dictionary of fields of
      `vla.experiments.experiment.Experiment`.
    """
    groups = {
        modality: {"untrained": tuple(_at(name, 0, folder) for name in names)} for modality, names in models.items()
    }
    part = "training"
    return groups, {
        "id": "Untrained",
        "title": "Trained and untrained models",
        "question": "Does alignment come from training, or is it there in the same networks before?",
        "expected": "Trained far above untrained, and both above items shuffled.",
        "conditions": (
            {"name": "trained", "part": part},
            {"name": "untrained", "part": part, "vision": "untrained", "language": "untrained"},
        ),
        "comparisons": ({"name": "training", "higher": "trained", "lower": "untrained"},),
    }


def along_training(folder: Path, weights: Path = WEIGHTS) -> tuple[dict[str, Groups], tuple[dict[str, Any], ...]]:
    """Layer by layer against the step: both models at their checkpoints, and each of them beside the other's end.

    Checkpoints of both are paired in their order, first with first and last with last. Step 0 is drawn anew.

    Args:
      folder: Where the weights before training shall be; what is there already is used again.
      weights: Where the trained models are.

    Returns:
      Groups of models by modality, and three experiments, as of `untrained`.
    """
    steps = {name: (0, *shipped_steps(name, weights)) for name in (VISION, LANGUAGE)}
    groups = {
        modality: {_group(name, step): (_at(name, step, folder, weights),) for step in steps[name]}
        for modality, name in (("vision", VISION), ("language", LANGUAGE))
    }
    ends = {name: of[-1] for name, of in steps.items()}
    both = [(v, _beside(place, steps[VISION], steps[LANGUAGE])) for place, v in enumerate(steps[VISION])]
    paired = ", ".join(f"{v} and {t}" for v, t in both)
    asked = "When in training does alignment come about, and in which layers?"
    return groups, (
        _experiment(
            "Training",
            "Both models along training",
            f"{asked} Steps are those of {VISION}; it is paired with {LANGUAGE} in the order of their checkpoints: "
            f"steps {paired}.",
            [(v, t, v) for v, t in both],
        ),
        _experiment(
            "Vision training",
            "The vision model along training",
            f"{asked} {VISION} at each checkpoint, with {LANGUAGE} at its end.",
            [(v, ends[LANGUAGE], v) for v in steps[VISION]],
        ),
        _experiment(
            "Language training",
            "The language model along training",
            f"{asked} {LANGUAGE} at each checkpoint, with {VISION} at its end.",
            [(ends[VISION], t, t) for t in steps[LANGUAGE]],
        ),
    )


def _experiment(id: str, title: str, question: str, points: list[tuple[int, int, int]]) -> dict[str, Any]:
    """An experiment of points (step of vision, step of language, place on the curve)."""
    return {
        "id": id,
        "title": title,
        "question": question,
        "expected": "Alignment rises along training, most in middle and late layers.",
        "layers": "all",
        "conditions": tuple(
            {
                "name": f"{VISION} {v}, {LANGUAGE} {t}",
                "vision": _group(VISION, v),
                "language": _group(LANGUAGE, t),
                "series": "step",
                "k": k,
            }
            for v, t, k in points
        ),
    }


def _beside(place: int, own: tuple[int, ...], others: tuple[int, ...]) -> int:
    """The other model's step that stands as far along its checkpoints as this place along one's own."""
    return others[round(place * (len(others) - 1) / (len(own) - 1))]


def _group(name: str, step: int) -> str:
    return f"{name} at {step}"


def _at(name: str, step: int, folder: Path, weights: Path = WEIGHTS) -> str:
    """A checkpoint by name and place; the end of training bears the model's own name."""
    if step == 0:
        return f"{name}@0={write_step_zero(name, folder, weights)}"
    if step == shipped_steps(name, weights)[-1]:
        return str(shipped(name, weights=weights))
    return f"{name}@{step}={shipped(name, step, weights)}"
