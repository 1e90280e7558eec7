"""One training from its settings to a folder that can be shipped."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vla.microworld.shipped import checkpoint_name
from vla.microworld.training.attributes import Attributes
from vla.microworld.training.curves import draw_curves
from vla.microworld.training.loop import Row, run_loop
from vla.microworld.training.material import material
from vla.microworld.training.next_token import NextToken
from vla.microworld.training.pairs import Pairs
from vla.microworld.training.self_distillation import SelfDistillation
from vla.microworld.training.settings import MODELS, Settings
from vla.microworld.training.task import Tree

TASKS: dict[str, Any] = {
    "attributes": Attributes,
    "image-caption pairs": Pairs,
    "next token": NextToken,
    "self-distillation": SelfDistillation,
}


def train(settings: Settings, workdir: Path, show_progress: bool = False) -> Path:
    """Train a model, or take up a training that was interrupted, or find it done.

    Scenes are kept in `workdir` for the next model. `workdir/<model>` has the trained checkpoint with its settings and
    losses (`training.json`, `losses.csv`, `losses.png`); `workdir/<model>-step<k>` has it after k steps, 0 included.

    Returns:
      The folder of the trained model.

    Raises:
      ValueError: The folder has a training of other settings; a loss that is not finite.
    """
    place = workdir / settings.model
    if (place / "training.json").exists():
        _same(place / "training.json", settings)
        return place
    scratch = workdir / f".{settings.model}"
    scratch.mkdir(parents=True, exist_ok=True)
    begun = scratch / "settings.json"
    if begun.exists():
        _same(begun, settings)
    begun.write_text(json.dumps({"settings": settings.to_dict()}), encoding="utf-8")

    n = settings.n_scenes
    scenes = material(
        workdir / f"scenes-{n + settings.n_held_out}-{settings.world_seed}",
        n + settings.n_held_out,
        settings.world_seed,
        show_progress,
    )
    seen, unseen = scenes.part(slice(0, n)), scenes.part(slice(n, None))
    task = TASKS[MODELS[settings.model]](settings, seen, unseen, scratch / "untrained")

    def keep(step: int, parameters: Tree) -> None:
        if step < settings.steps:
            folder = workdir / checkpoint_name(settings.model, step)
            shutil.rmtree(folder, ignore_errors=True)
            task.write(folder, parameters)

    state = run_loop(task, settings, scratch, keep, show_progress)
    draft = scratch / "trained"
    task.write(draft, state.parameters)
    with (draft / "losses.csv").open("w", newline="", encoding="utf-8") as file:
        columns: list[str] = ["step", "part", "loss", "value"]
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        rows.writerows({**row, "value": f"{row['value']:.5g}"} for row in state.rows)
    draw_curves(draft / "losses.png", state.rows, task.constant, f"{settings.model}: {MODELS[settings.model]}")
    report = {
        "settings": settings.to_dict(),
        "trained_by": MODELS[settings.model],
        "parameters": _size(state.parameters["network"]),
        "held_out": {
            "trivial": task.constant,
            "untrained": _at(state.rows, 0),
            "trained": _at(state.rows, settings.steps),
        },
        **task.findings(task.fresh(), state.parameters),
    }
    text = json.dumps(_rounded(report), indent=2) + "\n"
    (draft / "training.json").write_text(text, encoding="utf-8")
    draft.rename(place)
    shutil.rmtree(scratch)
    return place


def _same(path: Path, settings: Settings) -> None:
    """Refuse to mix two trainings."""
    found = json.loads(path.read_text(encoding="utf-8"))["settings"]
    if found != settings.to_dict():
        differ = sorted(name for name, value in settings.to_dict().items() if found.get(name) != value)
        raise ValueError(
            f"{path.parent} has a training with other values of {', '.join(differ)}: name another workdir, or delete it"
        )


def _at(rows: list[Row], step: int) -> dict[str, float]:
    return {row["loss"]: row["value"] for row in rows if row["step"] == step and row["part"] == "held out"}


def _size(parameters: Tree) -> int:
    import jax

    return int(sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(parameters)))


def _rounded(value: Any) -> Any:
    """Numbers with four significant digits: what is said of them."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
