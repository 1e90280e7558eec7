"""Trainings of a few steps."""

import functools
import tempfile
from pathlib import Path

import jax
import numpy as np

from examples.microworld_training import Settings
from examples.microworld_training.run import TASKS
from examples.microworld_training.settings import MODELS
from examples.microworld_training.training_scenes import TrainingScenes, training_scenes

SEEN, UNSEEN = 40, 16


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Kept by the cache, and removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="microworld-training-")


def workdir() -> Path:
    """The folder of the scenes, for all tests of this process."""
    return Path(_folder().name)


def scenes() -> TrainingScenes:
    return training_scenes(workdir() / f"scenes-{SEEN + UNSEEN}-7", SEEN + UNSEEN, 7)


def settings(model: str, **changes) -> Settings:
    return Settings(model, **{"n_scenes": SEEN, "n_held_out": UNSEEN, "steps": 4, "batch": 8, **changes})


@functools.cache
def task(model: str):
    """A task, and its initial parameters with noise added: heads of zeros would show nothing."""
    sample = scenes()
    made = TASKS[MODELS[model]](
        settings(model), sample.part(slice(0, SEEN)), sample.part(slice(SEEN, None)), workdir() / f"scratch-{model}"
    )
    draws = np.random.default_rng(5)
    shaken = jax.tree.map(
        lambda leaf: leaf + 0.1 * draws.standard_normal(leaf.shape).astype(np.float32), made.initial_parameters()
    )
    return made, shaken


@functools.cache
def _compiled(made):
    return jax.jit(made.loss)


def loss_of(made, parameters, memory, batch):
    """The loss and its parts, as in the training loop; compiled once for each task."""
    return _compiled(made)(parameters, memory, batch)
