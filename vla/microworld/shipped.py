"""Where the trained models are that come with the package."""

import json
import re
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"


def checkpoint_name(model: str, step: int) -> str:
    """What the folder of a model after so many steps is called; after all of them it bears the model's own name."""
    return f"{model}-step{step}"


def shipped_models(weights: Path = WEIGHTS) -> tuple[str, ...]:
    """Names of the models: four that are studied, and micro-clip, the judge of captions."""
    return tuple(sorted(path.parent.name for path in weights.glob("*/training.json")))


def shipped_steps(model: str, weights: Path = WEIGHTS) -> tuple[int, ...]:
    """After how many steps there are checkpoints of a model, in order; the last is its end. Step 0 is not among them.

    Raises:
      ValueError: There is no such model.
    """
    last = int(training_report(model, weights)["settings"]["steps"])
    found = (re.fullmatch(rf"{re.escape(model)}-step(\d+)", path.name) for path in weights.iterdir())
    return (*sorted(int(match[1]) for match in found if match), last)


def shipped(model: str, step: int | None = None, weights: Path = WEIGHTS) -> Path:
    """The folder of a trained model in Hugging Face layout, for `vla.load_model`; micro-clip for `load_clip`.

    Args:
      model: One of `shipped_models()`.
      step: One of `shipped_steps(model)`; None for the end of training.
      weights: Where the trained models are.

    Raises:
      ValueError: There is no such model, or no checkpoint after so many steps.
    """
    steps = shipped_steps(model, weights)
    if step is None or step == steps[-1]:
        return weights / model
    if step not in steps:
        raise ValueError(f"{model} has no checkpoint after {step} steps; expected one of {', '.join(map(str, steps))}")
    return weights / checkpoint_name(model, step)


def training_report(model: str, weights: Path = WEIGHTS) -> dict[str, Any]:
    """How a model was trained and how well: settings, held-out losses beside a trivial guess, findings.

    Raises:
      ValueError: There is no such model.
    """
    known = shipped_models(weights)
    if model not in known:
        raise ValueError(f"no model {model!r} is shipped; expected one of {', '.join(known)}")
    return json.loads((weights / model / "training.json").read_text(encoding="utf-8"))
