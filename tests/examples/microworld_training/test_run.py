"""A training from its settings to a folder: the same after a kill, the same again, another from another seed."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from examples.microworld_training import loop, train
from tests.examples.microworld_training.tiny import SEEN, UNSEEN, settings, workdir
from vla.microworld.checkpoints import write_step_zero
from vla.microworld.shipped import shipped, shipped_models, shipped_steps, training_report
from vla.models import load_model


def folder_with_scenes(tmp_path):
    """A workdir that has the scenes already."""
    tmp_path.mkdir(exist_ok=True)
    name = f"scenes-{SEEN + UNSEEN}-7"
    if (workdir() / name).exists():
        (tmp_path / name).symlink_to(workdir() / name)
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    from tests.examples.microworld_training.tiny import scenes

    scenes()
    return train(settings("micro-llama", checkpoints=(2,)), folder_with_scenes(tmp_path_factory.mktemp("run") / "work"))


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_what_is_left(done):
    report = json.loads((done / "training.json").read_text())
    assert report["settings"]["steps"] == 4 and report["parameters"] > 200_000
    held_out = report["held_out"]
    assert held_out["trained"]["loss"] < held_out["untrained"]["loss"]
    with (done / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["step"] for row in rows if row["part"] == "held out"} == set("01234")
    assert {row["step"] for row in rows if row["part"] == "training"} == set("1234")
    assert (done / "losses.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in done.parent.glob("micro*")) == [
        "micro-llama",
        "micro-llama-step0",
        "micro-llama-step2",
    ]


def test_it_is_found_as_shipped_models_are(done):
    home = done.parent
    assert shipped_models(home) == ("micro-llama",)
    assert shipped_steps("micro-llama", home) == (0, 2, 4)
    assert shipped("micro-llama", weights=home) == shipped("micro-llama", 4, home) == done
    assert (
        shipped("micro-llama", 2, home).name == load_model(shipped("micro-llama", 2, home)).name == "micro-llama-step2"
    )
    assert training_report("micro-llama", home)["trained_by"] == "next token"
    with pytest.raises(ValueError, match="no checkpoint after 3 steps; expected one of 0, 2, 4"):
        shipped("micro-llama", 3, home)
    with pytest.raises(ValueError, match="no model 'gpt' is shipped; expected one of micro-llama"):
        shipped("gpt", weights=home)


def test_step_zero_is_drawn_again_from_the_seed(done, tmp_path):
    again = write_step_zero("micro-llama", tmp_path, done.parent)
    assert again == write_step_zero("micro-llama", tmp_path, done.parent)
    first = weights(done.parent / "micro-llama-step0")
    assert all(np.array_equal(value, first[name]) for name, value in weights(again).items())
    assert load_model(again).name == "micro-llama-step0"
    assert not all(np.array_equal(value, first[name]) for name, value in weights(done).items())


def test_a_killed_training_goes_on_and_ends_the_same(done, tmp_path, monkeypatch):
    home, full = folder_with_scenes(tmp_path), settings("micro-llama", checkpoints=(2,))
    real, steps = loop._save, []

    def killed(state, path):
        real(state, path)
        steps.append(state.step)
        if state.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(full, home)
    assert not (home / "micro-llama").exists()
    with pytest.raises(ValueError, match="other values of seed"):
        train(settings("micro-llama", checkpoints=(2,), seed=1), home)
    again = train(full, home)
    assert steps == [0, 1, 2, 3, 4]
    for name in ("model.safetensors", "losses.csv", "training.json"):
        assert (again / name).read_bytes() == (done / name).read_bytes(), name
    assert train(full, home) == again
    with pytest.raises(ValueError, match="other values of batch"):
        train(settings("micro-llama", checkpoints=(2,), batch=4), home)


def test_another_seed_is_another_model(done, tmp_path):
    other = weights(train(settings("micro-llama", seed=1), folder_with_scenes(tmp_path)))
    ours = weights(done)
    assert all(not np.array_equal(value, ours[name]) for name, value in other.items())


def test_a_loss_that_explodes_is_refused(tmp_path):
    class Exploding:
        """A task whose loss is infinite after the first step."""

        held_out = [jnp.ones(1)]
        trivial = {}

        def initial_parameters(self):
            return {"network": jnp.zeros(1)}

        def initial_memory(self, parameters):
            return {}

        def batch(self, rng):
            return jnp.ones(1)

        def loss(self, parameters, memory, batch):
            return (batch * jnp.exp(1e4 * jnp.abs(parameters["network"] - 1e-3))).sum() - 1, {}

        def update_memory(self, memory, parameters, progress):
            return memory

    saved = []
    with pytest.raises(ValueError, match="loss 'loss' is not finite at step [12]; lower learning_rate"):
        loop.run_loop(
            Exploding(), settings("micro-llama", learning_rate=1e3, warmup=0), tmp_path, lambda *at: saved.append(at[0])
        )
    assert saved == [0]
