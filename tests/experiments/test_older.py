"""Activations that older code made are explained, and recomputed on request."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.experiments import folders
from vla.activations.extract import NUMERICS_VERSION
from vla.activations.recipe import Recipe
from vla.activations.store import Store
from vla.experiments.older import refuse_older
from vla.experiments.participants import Checkpoint
from vla.records import View


def recipe(version):
    determines = {"model_fingerprint": "m", "view_content": "v", "pool": "cls", "dtype": "float32"}
    words = {"model": "dinov2", "view": "coco/original"}
    return Recipe({**determines, "numerics_version": version}, words, ("block_1",), ("a", "b"), 3)


VIEW = View("coco/original", "vision", ("a", "b"), (Path("a"), Path("b")), "v")


class Stored(Checkpoint):
    """A model of which nothing but the recipe matters."""

    def recipes(self, view, layers):
        return recipe(NUMERICS_VERSION)

    def has(self, view, layers):
        return self.store.has(recipe(NUMERICS_VERSION))


def test_a_store_of_an_older_version_is_explained(tmp_path):
    store = Store(tmp_path / "store")
    writer = store.writer(recipe(NUMERICS_VERSION - 1))
    writer.write((0, 2), np.ones((1, 2, 3), np.float32), 0)
    writer.publish()
    study = folders.study(tmp_path)
    participant = Stored("dinov2", "vision", study, store)
    words = rf"older code made.*numerics version {NUMERICS_VERSION - 1}, now {NUMERICS_VERSION}.*older=recompute"
    with pytest.raises(ValueError, match=words):
        refuse_older(study, participant, [(VIEW, "all")])
    refuse_older(dataclasses.replace(study, older="recompute"), participant, [(VIEW, "all")])
