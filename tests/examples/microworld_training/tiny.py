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
    """Where the scenes are, for all tests of this process."""
    return Path(_folder().name)


def scenes() -> TrainingScenes:
    return training_scenes(workdir() / f"scenes-{SEEN + UNSEEN}-7", SEEN + UNSEEN, 7)


def settings(model: str, **changes) -> Settings:
    return Settings(model, **{"n_scenes": SEEN, "n_held_out": UNSEEN, "steps": 4, "batch": 8, **changes})


@functools.cache
def task(model: str):
    """A task, and its parameters away from where they begin: heads of zeros would show nothing."""
    given = scenes()
    made = TASKS[MODELS[model]](
        settings(model), given.part(slice(0, SEEN)), given.part(slice(SEEN, None)), workdir() / f"scratch-{model}"
    )
    draws = np.random.default_rng(5)
    shaken = jax.tree.map(
        lambda leaf: leaf + 0.1 * draws.standard_normal(leaf.shape).astype(np.float32), made.initial_parameters()
    )
    return made, shaken


def loss_of(made, parameters, memory, batch):
    """What the loop takes: the loss and its parts, compiled."""
    return jax.jit(made.loss)(parameters, memory, batch)
