"""Checkpoints and saved activations as the models of a study."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import vla
from tests.experiments import folders
from vla.activations.extract import NUMERICS_VERSION
from vla.activations.store import Recipe, Store
from vla.experiments.participants import Checkpoint, Participant, gather, refuse_older, training_losses
from vla.microworld.shipped import shipped, training_report
from vla.records import View, canonical_hash

WORDY = "a red box " * 500
CAPTIONS = ("a red box", "two cats sit on a mat", "a dog")


@pytest.fixture
def study(tmp_path):
    return folders.study(tmp_path)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def view(captions=CAPTIONS):
    ids = tuple(str(i) for i in range(len(captions)))
    return View("made/original", "language", ids, captions, canonical_hash(captions))


def test_all_models_of_a_study_by_what_they_were_given_as(study, store):
    found = gather(study, store)
    assert [one.name for one in found.values()] == ["vision_a", "vision_b", "language_a", "language_b"]
    assert all(isinstance(one, Participant) and found[one.modality, given] is one for (_, given), one in found.items())


def test_models_of_one_name_are_told_apart_by_giving_one_another(study, store):
    twice = dataclasses.replace(study, vision={"core": ("one/vit", "other/vit")})
    with pytest.raises(ValueError, match="one/vit and other/vit are both called 'vit': .* as in 'other=other/vit'"):
        gather(twice, store)
    named = dataclasses.replace(study, vision={"core": ("one/vit", "mine=other/vit")})
    assert {one.name for one in gather(named, store).values()} >= {"vit", "mine"}
    # A vision and a language model may share a name.
    assert gather(dataclasses.replace(study, vision={"core": ("a/m",)}, language={"core": ("b/m",)}), store)


def test_a_checkpoint_is_described_without_its_weights_being_read(study, store, monkeypatch):
    llama = Checkpoint(f"mine={shipped('micro-llama')}", "language", study, store)
    monkeypatch.setattr(llama, "extract", None)
    facts = llama.facts()
    assert (facts["name"], facts["pool"], facts["dtype"]) == ("mine", "mean", "float32")
    assert facts["layers"][:2] == ["embed", "block_1"] and llama.layers(view(), "penultimate") == ("block_5",)
    assert llama.width(view()) == facts["width"] == 64
    assert facts["held_out"] and facts["losses"]["steps"], "what it learned, where its folder says so"


def test_a_model_of_the_other_modality_is_refused(study, store):
    llama = Checkpoint(str(shipped("micro-llama")), "vision", study, store)
    with pytest.raises(ValueError, match="is a language model, but is listed among the vision models"):
        llama.facts()


def test_penultimate_layers_are_read_from_all_layers_where_these_are_there(study, store):
    llama = Checkpoint(str(shipped("micro-llama")), "language", study, store)
    assert not llama.has(view(), "all") and not llama.has(view(), "penultimate")
    done = []
    llama.extract([(view(), "all")], done.append)
    assert done == [3] and llama.has(view(), "penultimate")
    assert llama.group(view(), "penultimate") == llama.group(view(), "all")
    found = llama.read(view(), "penultimate")
    assert found.sizes == {"layer": 1, "item": 3, "unit": 64} and list(found["layer"].values) == ["block_5"]
    expected = vla.extract(vla.load_model(str(shipped("micro-llama"))), list(CAPTIONS)).sel(layer=["block_5"])
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-6)
    # Other items are other activations, whatever the view is called.
    assert not llama.has(view(CAPTIONS[:2]), "penultimate") and llama.key(view(CAPTIONS[:2])) != llama.key(view())


def test_a_caption_that_a_model_cannot_take_is_known_without_its_weights(study, store, monkeypatch):
    llama = Checkpoint(f"mine={shipped('micro-llama')}", "language", study, store)
    monkeypatch.setattr(llama, "extract", None)
    llama.check([view(), view(CAPTIONS[:2])])
    with pytest.raises(ValueError, match=r"mine: item '1 of made/original': caption \('a red box .* tokens, but the"):
        llama.check([view(), view((CAPTIONS[0], WORDY))])


@pytest.mark.parametrize("name", ["micro-dinov2", "micro-llama"])
def test_a_trained_model_says_what_it_learned(name):
    found, expected = training_losses(str(shipped(name))), training_report(name)
    assert found["held_out"]["loss"] == {
        when: expected["held_out"][when]["loss"] for when in ("trivial", "untrained", "trained")
    }
    along = found["losses"]
    assert along["steps"][-1] == expected["settings"]["steps"] and along["steps"] == sorted(along["steps"])
    assert along["loss"][-1] == pytest.approx(expected["held_out"]["trained"]["loss"], rel=1e-3)
    assert along["loss"][-1] < along["baseline"] == expected["held_out"]["trivial"]["loss"]


def test_other_checkpoints_say_nothing(tmp_path):
    assert training_losses(str(tmp_path)) == {} and training_losses("facebook/dinov2-base") == {}


def recipe(version):
    determines = {"model_fingerprint": "m", "view_content": "v", "pool": "cls", "dtype": "float32"}
    words = {"model": "dinov2", "view": "coco/original"}
    return Recipe({**determines, "numerics_version": version}, words, ("block_1",), ("a", "b"), 3)


VIEW = View("coco/original", "vision", ("a", "b"), (Path("a"), Path("b")), "v")


class Stored(Checkpoint):
    """A model of which nothing but the recipe matters."""

    def recipe(self, view, layers):
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
    words = rf"from older code.*numerics version {NUMERICS_VERSION - 1}, now {NUMERICS_VERSION}.*older=recompute"
    with pytest.raises(ValueError, match=words):
        refuse_older(study, participant, [(VIEW, "all")])
    refuse_older(dataclasses.replace(study, older="recompute"), participant, [(VIEW, "all")])
