"""Runs one training, from its settings to a finished checkpoint with its losses and report."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from examples.microworld_training.attributes import Attributes
from examples.microworld_training.loop import Row, Task, draw_loss_curves, run_loop
from examples.microworld_training.next_token import NextToken
from examples.microworld_training.pairs import Pairs
from examples.microworld_training.self_distillation import SelfDistillation
from examples.microworld_training.settings import MODELS, Settings
from examples.microworld_training.training_scenes import TrainingScenes, training_scenes
from vla.microworld.shipped import checkpoint_name

# The task of each training objective in `MODELS`.
TASKS: dict[str, Callable[[Settings, TrainingScenes, TrainingScenes, Path], Task]] = {
    "attributes": Attributes,
    "image-caption pairs": Pairs,
    "next token": NextToken,
    "self-distillation": SelfDistillation,
}


def train(settings: Settings, workdir: Path, show_progress: bool = False) -> Path:
    """Train a model; an interrupted training resumes, a finished one is returned as it is.

    Scenes are kept in `workdir` and shared by all models. `workdir/<model>` has the trained checkpoint with its
    settings and losses (`training.json`, `losses.csv`, `losses.png`); `workdir/<model>-step<k>` has the checkpoint
    after k steps, including step 0.

    Returns:
      The folder of the trained model.

    Raises:
      ValueError: The folder has a training with other settings, or a loss is not finite.
    """
    path = workdir / settings.model
    if (path / "training.json").exists():
        _check_settings(path / "training.json", settings)
        return path
    scratch = workdir / f".{settings.model}"
    scratch.mkdir(parents=True, exist_ok=True)
    settings_file = scratch / "settings.json"
    if settings_file.exists():
        _check_settings(settings_file, settings)
    settings_file.write_text(json.dumps({"settings": settings.to_dict()}), encoding="utf-8")

    n = settings.n_scenes
    scenes = training_scenes(
        workdir / f"scenes-{n + settings.n_held_out}-{settings.world_seed}",
        n + settings.n_held_out,
        settings.world_seed,
        show_progress,
    )
    objective = MODELS[settings.model]
    task = TASKS[objective](settings, scenes.part(slice(0, n)), scenes.part(slice(n, None)), scratch / "untrained")

    def save_checkpoint(step: int, parameters: PyTree) -> None:
        if step < settings.steps:
            folder = workdir / checkpoint_name(settings.model, step)
            shutil.rmtree(folder, ignore_errors=True)
            task.write(folder, parameters)

    state = run_loop(task, settings, scratch, save_checkpoint, show_progress)
    draft = scratch / "trained"
    task.write(draft, state.parameters)
    with (draft / "losses.csv").open("w", newline="", encoding="utf-8") as file:
        columns: list[str] = ["step", "part", "loss", "value"]
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        rows.writerows({**row, "value": f"{row['value']:.5g}"} for row in state.rows)
    draw_loss_curves(draft / "losses.png", state.rows, task.trivial, f"{settings.model}: {objective}")
    report = {
        "settings": settings.to_dict(),
        "trained_by": objective,
        "parameters": int(sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(state.parameters["network"]))),
        "held_out": {
            "trivial": task.trivial,
            "untrained": _held_out_losses(state.rows, 0),
            "trained": _held_out_losses(state.rows, settings.steps),
        },
        **task.results(task.initial_parameters(), state.parameters),
    }
    text = json.dumps(_rounded(report), indent=2) + "\n"
    (draft / "training.json").write_text(text, encoding="utf-8")
    draft.rename(path)
    shutil.rmtree(scratch)
    return path


def _check_settings(path: Path, settings: Settings) -> None:
    """Refuse to resume a training with other settings."""
    recorded = json.loads(path.read_text(encoding="utf-8"))["settings"]
    if recorded != settings.to_dict():
        different = sorted(name for name, value in settings.to_dict().items() if recorded.get(name) != value)
        raise ValueError(
            f"{path.parent} has a training with other values of {', '.join(different)}: name another workdir, or "
            "delete it"
        )


def _held_out_losses(rows: Sequence[Row], step: int) -> dict[str, float]:
    return {row["loss"]: row["value"] for row in rows if row["step"] == step and row["part"] == "held out"}


def _rounded(value: Any) -> Any:
    """A JSON value with all numbers rounded to four significant digits."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
