"""Finds the trained models that come with the package, and their training reports."""

import json
import re
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"


def checkpoint_name(model: str, step: int) -> str:
    """Folder name of the checkpoint after `step` steps; the checkpoint at the end has the name of the model."""
    return f"{model}-step{step}"


def shipped_models(weights: Path = WEIGHTS) -> tuple[str, ...]:
    """Names of the models: four that are studied, and micro-clip, which scores captions."""
    return tuple(sorted(path.parent.name for path in weights.glob("*/training.json")))


def shipped_steps(model: str, weights: Path = WEIGHTS) -> tuple[int, ...]:
    """The steps at which a model has checkpoints, ascending, without step 0; the last is the end of training."""
    last = int(training_report(model, weights)["settings"]["steps"])
    matches = (re.fullmatch(rf"{re.escape(model)}-step(\d+)", path.name) for path in weights.iterdir())
    return (*sorted(int(match[1]) for match in matches if match), last)


def shipped(model: str, step: int | None = None, weights: Path = WEIGHTS) -> Path:
    """The folder of a model in Hugging Face layout, for `vla.load_model` (micro-clip: for `load_clip`).

    The step is one of `shipped_steps(model)`; None for the end of training. A ValueError for an unknown model or step.
    """
    steps = shipped_steps(model, weights)
    if step is None or step == steps[-1]:
        return weights / model
    if step not in steps:
        raise ValueError(f"{model} has no checkpoint after {step} steps; expected one of {', '.join(map(str, steps))}")
    return weights / checkpoint_name(model, step)


def training_report(model: str, weights: Path = WEIGHTS) -> dict[str, Any]:
    """Settings of a training, held-out losses with those of a trivial guess, and evaluation results."""
    known = shipped_models(weights)
    if model not in known:
        raise ValueError(f"no model {model!r} is shipped; expected one of {', '.join(known)}")
    return json.loads((weights / model / "training.json").read_text(encoding="utf-8"))
