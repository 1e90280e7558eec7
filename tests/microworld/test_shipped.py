"""The models that are shipped: whole, small, read alike by Hugging Face and by us, and trained."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, LlamaForCausalLM, ViTForImageClassification

import vla
from tests.microworld.hugging_face import CLASSES
from vla.activations.clip_score import clip_score
from vla.microworld import describe, draw, scene
from vla.microworld.checkpoints import write_step_zero
from vla.microworld.shipped import WEIGHTS, shipped, shipped_models, shipped_steps, training_report
from vla.models import load_clip, load_model
from vla.records import Dataset, Item

SCENES = [scene(42, index) for index in range(12)]
PICTURES = [Image.fromarray(np.asarray(draw(each))) for each in SCENES]
CAPTIONS = [describe(each)[0].text for each in SCENES]
FOLDERS = sorted(path for path in WEIGHTS.iterdir() if path.is_dir())


def test_all_are_there_and_weigh_at_most_8_megabytes():
    assert shipped_models() == tuple(sorted(CLASSES))
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 8_000_000
    known = {shipped(model, step) for model in CLASSES for step in shipped_steps(model)}
    assert known == set(FOLDERS)
    for model in ("micro-dinov2", "micro-llama"):
        steps = shipped_steps(model)
        # Spaced by factors.
        assert len(steps) >= 4 and all(1.5 < b / a < 5 for a, b in zip(steps[:-1], steps[1:], strict=True))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_hugging_faces_classes_load_it_whole(folder):
    model, told = CLASSES[folder.name.split("-step")[0]].from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["micro-dinov2", "micro-vit"])
def test_vision_layers_are_hugging_faces(name):
    loaded = CLASSES[name].from_pretrained(shipped(name), attn_implementation="eager").eval()
    base = loaded if name == "micro-dinov2" else loaded.vit
    pixels = AutoImageProcessor.from_pretrained(shipped(name), backend="pil")(PICTURES, return_tensors="pt")
    with torch.no_grad():
        out = base(pixels["pixel_values"], output_hidden_states=True)
    acts = vla.extract(load_model(shipped(name)), PICTURES)
    for layer, theirs in zip(acts.layer.values, (*out.hidden_states, out.last_hidden_state), strict=True):
        _close(acts.sel(layer=layer), theirs[:, 0])


@pytest.mark.parametrize("name", ["micro-bloom", "micro-llama"])
def test_language_layers_are_hugging_faces(name):
    loaded = CLASSES[name].from_pretrained(shipped(name), attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(shipped(name))
    acts = vla.extract(load_model(shipped(name)), CAPTIONS)
    with torch.no_grad():
        for row, caption in enumerate(CAPTIONS):
            states = loaded(**tokenizer(caption, return_tensors="pt"), output_hidden_states=True).hidden_states
            # The last is after the final norm; the raw output of the last block is never shown.
            for layer, theirs in zip([*acts.layer.values[:-2], "final_norm"], states, strict=True):
                _close(acts.sel(layer=layer)[row], theirs[0].mean(0))


def _close(ours, theirs):
    theirs = theirs.numpy()
    assert np.abs(ours.values - theirs).max() <= 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["micro-bloom", "micro-clip", "micro-llama"])
def test_tokenizers_read_the_world_and_any_text(name):
    tokenizer = AutoTokenizer.from_pretrained(shipped(name))
    for text in (*CAPTIONS, "A photo depicts two dogs, asleep.", "Où est 火, \n\t{}?"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    lengths = [len(tokenizer(caption)["input_ids"]) / len(caption.split()) for caption in CAPTIONS]
    assert np.mean(lengths) < 1.6


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_trained_means_something(name):
    report = training_report(name)
    held_out = report["held_out"]
    assert held_out["trained"]["loss"] < 0.8 * held_out["trivial"]["loss"]
    assert held_out["trained"]["loss"] < held_out["untrained"]["loss"]
    with (shipped(name) / "losses.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "held out" and row["loss"] == "loss"]
    assert float(rows[-1]["value"]) == pytest.approx(held_out["trained"]["loss"], rel=1e-3)
    if "guesses" in report:
        assert held_out["trained"]["loss"] < report["guesses"]["bigram"] < report["guesses"]["unigram"]
    if "probes_of_final_class_token" in report:
        probes = report["probes_of_final_class_token"]
        # Stuff is in the colours already: every feature tells it.
        for what in ("things_average_precision", "colours_average_precision"):
            assert probes["trained"][what] > max(probes[other][what] for other in ("chance", "pixels", "untrained")), (
                what
            )
    # Every part, such as counts and prototypes' cross-entropy, and not their sum alone.
    trivial = held_out["trivial"]
    assert all(held_out["trained"][part] < 0.85 * guess for part, guess in trivial.items())
    if name == "micro-dinov2":
        assert held_out["trained"]["prototypes_used"] > 0.8 * math.exp(trivial["distillation"])


def test_next_tokens_of_unseen_captions_are_expected_as_reported():
    report, tokenizer = training_report("micro-llama"), AutoTokenizer.from_pretrained(shipped("micro-llama"))
    model = LlamaForCausalLM.from_pretrained(shipped("micro-llama")).eval()
    losses = []
    with torch.no_grad():
        for index in range(40):
            ids = tokenizer(describe(scene(3, index))[1].text)["input_ids"]
            ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
            losses += [float(model(ids, labels=ids).loss)] * (ids.shape[1] - 1)
    assert np.mean(losses) == pytest.approx(report["held_out"]["trained"]["loss"], rel=0.15)


def test_the_judge_knows_a_scenes_own_captions(tmp_path):
    items = []
    for index, (each, picture) in enumerate(zip(SCENES, PICTURES, strict=True)):
        picture.save(tmp_path / f"{index}.png")
        # Its own captions, then one of another scene.
        texts = [caption.text for caption in describe(each)] + [CAPTIONS[index - 1]]
        items.append(Item(f"scene-{index}", tmp_path / f"{index}.png", tuple(texts)))
    scores = clip_score(load_clip(shipped("micro-clip")), Dataset("few scenes", tuple(items)))
    own, other = scores.values[:, :5], scores.values[:, 5]
    assert (own.mean(1) > other).mean() > 0.8
    assert (own.max(1) > own.min(1)).all()


def test_step_zero(tmp_path):
    folder = write_step_zero("micro-vit", tmp_path)
    model, told = ViTForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    before, after = (vla.extract(load_model(path), PICTURES) for path in (folder, shipped("micro-vit")))
    assert before.shape == after.shape and not np.allclose(before, after, atol=0.1)
    with pytest.raises(ValueError, match="micro-clip is not studied"):
        write_step_zero("micro-clip", tmp_path)
