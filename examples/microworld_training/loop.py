"""The training loop with its task interface, optimizer, held-out losses, resumable state and loss curves.

Axes: L blocks, E outputs, D inputs.
"""

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import PyTree
from matplotlib.figure import Figure
from optax.contrib import MuonDimensionNumbers, muon

from examples.microworld_training.settings import Settings
from vla import devices, progress
from vla.files import write_file

# How often, over a training, held-out losses are computed and the state is saved.
EVALUATIONS = 12

# Root mean square of Muon's updates; Adam's are about as large, so that one learning rate serves both.
_ADAM_RMS = 0.2


class Row(TypedDict):
    """A mean loss: after `step` batches, of the part "training" or "held out", with the name `loss`."""

    step: int
    part: str
    loss: str
    value: float


@runtime_checkable
class Task(Protocol):
    """One model with its training data and loss.

    Attributes:
      held_out: Batches for the held-out losses, with fixed random draws.
      trivial: The losses of a trivial guess, by name.
    """

    held_out: list[PyTree]
    trivial: dict[str, float]

    def initial_parameters(self) -> PyTree:
        """All parameters before training: "network", and "head" for what is not part of the checkpoint."""

    def initial_memory(self, parameters: PyTree) -> PyTree:
        """State that is updated without a gradient, such as a teacher; {} for none."""

    def batch(self, rng: np.random.Generator) -> PyTree:
        """The arrays of one random batch."""

    def loss(self, parameters: PyTree, memory: PyTree, batch: PyTree) -> tuple[Array, dict[str, Array]]:
        """The loss of a batch, and its parts by name."""
        ...

    def update_memory(self, memory: PyTree, parameters: PyTree, progress: Array) -> PyTree:
        """The memory after a step; `progress` is the share of the training that is done, 0 to 1."""

    def write(self, folder: Path, parameters: PyTree) -> None:
        """Write a checkpoint in Hugging Face layout."""

    def results(self, before: PyTree, after: PyTree) -> dict[str, Any]:
        """Evaluation of the trained parameters, with those before training and a trivial baseline."""
        ...


@dataclasses.dataclass
class State:
    """State of a training after `step` batches.

    Attributes:
      step: Number of batches so far.
      parameters: Parameters of the task.
      optimizer: State of the optimizer.
      memory: Memory of the task.
      rows: Losses so far.
    """

    step: int
    parameters: PyTree
    optimizer: PyTree
    memory: PyTree
    rows: list[Row]


def run_loop(
    task: Task,
    settings: Settings,
    folder: Path,
    save_checkpoint: Callable[[int, PyTree], None],
    show_progress: bool = False,
) -> State:
    """Train, from the beginning or from the state that an interrupted run left in `folder`.

    Batch k depends on the seed and k only, so an interrupted training ends with the same weights.

    Args:
      task: Model, data and loss.
      settings: Settings of the training.
      folder: Folder for the state.
      save_checkpoint: Called with step and parameters at step 0, at every checkpoint and at the end.
      show_progress: Show a progress bar.

    Raises:
      ValueError: A loss is not finite.
    """
    optimizer = make_optimizer(settings)
    parameters = task.initial_parameters()
    state = State(0, parameters, optimizer.init(parameters), task.initial_memory(parameters), [])
    _resume(state, folder / "state.npz")

    @jax.jit
    def update(
        parameters: PyTree, moments: PyTree, memory: PyTree, batch: PyTree, progress: Array
    ) -> tuple[PyTree, PyTree, PyTree, dict[str, Array]]:
        (loss, parts), gradients = jax.value_and_grad(task.loss, has_aux=True)(parameters, memory, batch)
        updates, moments = optimizer.update(gradients, moments, parameters)
        parameters = optax.apply_updates(parameters, updates)
        return parameters, moments, task.update_memory(memory, parameters, progress), {"loss": loss, **parts}

    @jax.jit
    def evaluate(parameters: PyTree, memory: PyTree, batch: PyTree) -> dict[str, Array]:
        loss, parts = task.loss(parameters, memory, batch)
        return {"loss": loss, **parts}

    evaluations = {round(i * settings.steps / EVALUATIONS) for i in range(EVALUATIONS + 1)} | set(settings.checkpoints)
    checkpoints = {0, settings.steps, *settings.checkpoints}
    # Training losses since the last evaluation.
    recent: dict[str, list[Array]] = defaultdict(list)
    with devices.full_precision(), progress.bar(f"training {settings.model}", settings.steps, show_progress) as advance:
        advance(state.step)
        while True:
            if state.step in evaluations and not any(row["step"] == state.step for row in state.rows):
                _record_losses(state, "training", recent)
                losses = [evaluate(state.parameters, state.memory, batch) for batch in task.held_out]
                _record_losses(state, "held out", {name: [each[name] for each in losses] for name in losses[0]})
                recent.clear()
                if state.step in checkpoints:
                    save_checkpoint(state.step, state.parameters)
                _save(state, folder / "state.npz")
            if state.step == settings.steps:
                return state
            batch = task.batch(np.random.default_rng([settings.seed, 3, state.step]))
            share = jnp.float32(state.step / settings.steps)
            state.parameters, state.optimizer, state.memory, losses = update(
                state.parameters, state.optimizer, state.memory, batch, share
            )
            for name, value in losses.items():
                recent[name].append(value)
            state.step += 1
            advance(1)


def _record_losses(state: State, part: str, losses: Mapping[str, Sequence[Array]]) -> None:
    """Add the mean of each loss as a row."""
    for name, values in losses.items():
        mean = float(np.mean([float(value) for value in values]))
        state.rows.append({"step": state.step, "part": part, "loss": name, "value": mean})
        if not np.isfinite(mean):
            raise ValueError(
                f"the {part} loss {name!r} is not finite at step {state.step}; lower learning_rate and start again"
            )


def _save(state: State, path: Path) -> None:
    """Save everything that is needed to resume, in one step."""
    leaves = jax.tree.leaves((state.parameters, state.optimizer, state.memory))
    data = io.BytesIO()
    about = np.array(json.dumps({"step": state.step, "rows": state.rows}))
    np.savez(data, *(np.asarray(leaf) for leaf in leaves), about=about)
    write_file(path, data.getvalue())


def _resume(state: State, path: Path) -> None:
    """Load what `_save` saved, if the file exists."""
    if not path.exists():
        return
    leaves, structure = jax.tree.flatten((state.parameters, state.optimizer, state.memory))
    with np.load(path) as file:
        about = json.loads(str(file["about"]))
        saved = [jnp.asarray(file[f"arr_{i}"]) for i in range(len(leaves))]
    state.parameters, state.optimizer, state.memory = jax.tree.unflatten(structure, saved)
    state.step, state.rows = about["step"], about["rows"]


def make_optimizer(settings: Settings) -> optax.GradientTransformationExtraArgs:
    """Muon for the matrices of blocks, Adam for everything else; gradients are clipped to a norm of 1.

    The learning rate rises linearly and falls with a cosine; only matrices of blocks have weight decay. Muon takes
    the nearest orthogonal matrix to the momentum of each matrix (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon; scaled as by Liu et al. 2025, arXiv:2502.16982). Embeddings, positions, norms,
    biases and heads use Adam (Kingma and Ba, arXiv:1412.6980). Both use Nesterov momentum.
    """
    warmup = min(settings.warmup, settings.steps // 2)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, warmup, settings.steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(
            rate,
            weight_decay=settings.weight_decay,
            adam_b2=0.98,
            muon_weight_dimension_numbers=matrices_of_blocks,
            consistent_rms=_ADAM_RMS,
        ),
    )


def matrices_of_blocks(tree: PyTree) -> PyTree:
    """For each stack of matrices [L, E, D] in blocks, its output and input axes; None for all other leaves."""

    def axes(path: tuple[Any, ...], leaf: Array) -> MuonDimensionNumbers | None:
        stacked = any(getattr(key, "key", None) == "blocks" for key in path)
        return MuonDimensionNumbers(reduction_axis=2, output_axis=1) if stacked and leaf.ndim == 3 else None

    return jax.tree.map_with_path(axes, tree)


def draw_loss_curves(path: Path, rows: Sequence[Row], trivial: Mapping[str, float], title: str) -> None:
    """Write a figure with one panel per loss: training, held out and, where known, the trivial guess."""
    names = list(dict.fromkeys(row["loss"] for row in rows))
    figure = Figure(figsize=(2.6 * len(names) + 0.8, 2.6), dpi=80, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in (("training", "#9aa5b1"), ("held out", "#1f5fa8")):
            points = [(row["step"], row["value"]) for row in rows if row["loss"] == name and row["part"] == part]
            axes.plot(*zip(*points, strict=True), color=colour, marker="." if part == "held out" else "", label=part)
        if name in trivial:
            axes.axhline(trivial[name], color="#c0392b", linestyle="--", linewidth=1, label="trivial guess")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if name == names[0]:
            axes.legend(frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
