"""The loop over batches: every so often held-out losses, checkpoints, and all that a killed run needs to go on."""

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vla import devices, progress
from vla.microworld.training.optimizer import make_optimizer
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Task, Tree

# How often, over a training, held-out losses are taken and its state is kept.
LOOKS = 12

Row = dict[str, Any]


@dataclasses.dataclass
class State:
    """Where a training stands after `step` batches.

    Attributes:
      step: Batches so far.
      parameters: Of the task.
      optimizer: Moments of the gradients.
      memory: Of the task.
      rows: Losses so far: step, part ("training" or "held out"), loss (its name), value.
    """

    step: int
    parameters: Tree
    optimizer: Tree
    memory: Tree
    rows: list[Row]


def run_loop(
    task: Task,
    settings: Settings,
    folder: Path,
    keep: Callable[[int, Tree], None],
    show_progress: bool = False,
) -> State:
    """Train from the beginning, or from where `folder` says that a killed run was.

    Batch k is drawn from the seed and k alone, so a training that was interrupted ends with the same weights.

    Args:
      task: What is trained.
      settings: How.
      folder: Where the state is kept.
      keep: Called with the number of steps and the parameters at 0 and at every checkpoint, the end included.
      show_progress: Whether to show a bar.
    """
    optimizer = make_optimizer(settings)
    parameters = task.fresh()
    state = State(0, parameters, optimizer.init(parameters), task.fresh_memory(parameters), [])
    _resume(state, folder / "state.npz")

    @jax.jit
    def update(parameters: Tree, moments: Tree, memory: Tree, batch: Tree, share: Any) -> tuple[Any, ...]:
        (loss, (parts, seen)), gradients = jax.value_and_grad(task.loss, has_aux=True)(parameters, memory, batch)
        updates, moments = optimizer.update(gradients, moments, parameters)
        parameters = optax.apply_updates(parameters, updates)
        return parameters, moments, task.remember(memory, parameters, seen, share), {"loss": loss, **parts}

    @jax.jit
    def look(parameters: Tree, memory: Tree, batch: Tree) -> dict[str, Any]:
        loss, (parts, _) = task.loss(parameters, memory, batch)
        return {"loss": loss, **parts}

    looks = {round(i * settings.steps / LOOKS) for i in range(LOOKS + 1)} | set(settings.checkpoints)
    kept = {0, settings.steps, *settings.checkpoints}
    since: dict[str, list[Any]] = defaultdict(list)
    with devices.full_precision(), progress.bar(f"training {settings.model}", settings.steps, show_progress) as advance:
        advance(state.step)
        while True:
            if state.step in looks and not any(row["step"] == state.step for row in state.rows):
                _note(state, "training", since)
                found = [look(state.parameters, state.memory, batch) for batch in task.held_out]
                _note(state, "held out", {name: [each[name] for each in found] for name in found[0]})
                since.clear()
                if state.step in kept:
                    keep(state.step, state.parameters)
                _save(state, folder / "state.npz")
            if state.step == settings.steps:
                return state
            batch = task.batch(np.random.default_rng([settings.seed, 3, state.step]))
            share = jnp.float32(state.step / settings.steps)
            state.parameters, state.optimizer, state.memory, losses = update(
                state.parameters, state.optimizer, state.memory, batch, share
            )
            for name, value in losses.items():
                since[name].append(value)
            state.step += 1
            advance(1)


def _note(state: State, part: str, losses: dict[str, list[Any]]) -> None:
    """Means of losses as rows."""
    for name, values in losses.items():
        mean = float(np.mean([float(value) for value in values]))
        state.rows.append({"step": state.step, "part": part, "loss": name, "value": mean})
        if not np.isfinite(mean):
            raise ValueError(
                f"the {part} loss {name!r} is not finite at step {state.step}; lower learning_rate and begin anew"
            )


def _save(state: State, path: Path) -> None:
    """Keep everything that a later run needs, whole or not at all."""
    leaves = jax.tree.leaves((state.parameters, state.optimizer, state.memory))
    data = io.BytesIO()
    about = np.array(json.dumps({"step": state.step, "rows": state.rows}))
    np.savez(data, *(np.asarray(leaf) for leaf in leaves), about=about)
    draft = path.with_suffix(".draft")
    draft.write_bytes(data.getvalue())
    draft.replace(path)


def _resume(state: State, path: Path) -> None:
    """Take up what `_save` kept, if it did."""
    if not path.exists():
        return
    now = (state.parameters, state.optimizer, state.memory)
    leaves, shape = jax.tree.flatten(now)
    with np.load(path) as kept:
        about = json.loads(str(kept["about"]))
        found = [jnp.asarray(kept[f"arr_{i}"]) for i in range(len(leaves))]
    state.parameters, state.optimizer, state.memory = jax.tree.unflatten(shape, found)
    state.step, state.rows = about["step"], about["rows"]
