"""Stable Diffusion by the diffusers library, with tiny random weights."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tests.stimuli.generators.tiny_diffusion import write_pipeline
from tests.stimuli.generators.worlds import dataset
from vla.stimuli.generators import StableDiffusion, generate_images, plan_images, with_synthetic
from vla.stimuli.generators.picture_file import read_record


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny diffusion")
    write_pipeline(directory)
    return directory


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other make tiny networks slow wherever cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def painter(directory, **settings):
    return StableDiffusion(str(directory), device="cpu", **{"steps": 2, **settings})


def opened(directory, **settings):
    it = painter(directory, **settings)
    it.open()
    return it


def test_a_picture_is_that_of_the_library(checkpoint):
    (ours,) = opened(checkpoint, guidance=5.0).paint(["a dog"], [123])
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(123)
    (theirs,) = pipeline("a dog", num_inference_steps=2, guidance_scale=5.0, generator=generator).images
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert ours.size == (32, 32)


def test_prompt_seed_and_settings_all_show(checkpoint):
    it = opened(checkpoint)
    pictures = [it.paint(["a dog"], [1]), it.paint(["a dog"], [2]), it.paint(["red cats"], [1])]
    pictures.append(opened(checkpoint, guidance=1.0, safety_checker=False).paint(["a dog"], [1]))
    pictures.append(opened(checkpoint, steps=3).paint(["a dog"], [1]))
    assert len({np.asarray(picture).tobytes() for (picture,) in pictures}) == 5
    assert opened(checkpoint, height=16, width=48).paint(["a"], [0])[0].size == (48, 16)


def test_the_whole_way_stopped_and_resumed_gives_the_same_bytes(checkpoint, tmp_path, monkeypatch):
    world = dataset(2, captions=2)
    settings = {"n_captions": 2, "variants": 1}
    whole = generate_images(plan_images(world, painter(checkpoint), tmp_path / "whole", **settings))
    it, calls = painter(checkpoint), []

    def stopping(prompts, seeds):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(seeds)
        return StableDiffusion.paint(it, prompts, seeds)

    monkeypatch.setattr(it, "paint", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate_images(plan_images(world, it, tmp_path / "cut", **settings))
    resumed = plan_images(world, painter(checkpoint), tmp_path / "cut", **settings)
    assert resumed.n_pending == 1
    cut = generate_images(resumed)
    for path in whole.rglob("*.*"):
        assert (cut / path.relative_to(whole)).read_bytes() == path.read_bytes()
    last = with_synthetic(world, cut).items[1].synthetic[1]
    record = read_record(last)
    (alone,) = opened(checkpoint).paint([record["prompt"]], [record["seed"]])
    np.testing.assert_array_equal(np.asarray(alone), np.asarray(Image.open(last)))
    assert record["settings"]["model"].startswith("sha256:")


def test_what_the_safety_checker_blackens_is_never_kept(tmp_path):
    write_pipeline(tmp_path / "strict", threshold=-2.0)
    assert opened(tmp_path / "strict").paint(["a dog"], [1]) == ["blackened by the safety checker"]
    world = dataset(1, captions=1)
    plan = plan_images(world, painter(tmp_path / "strict"), tmp_path, n_captions=1, variants=1)
    with pytest.raises(ValueError, match=r"item_0/0 \(blackened by the safety checker, drawn 1 times\)"):
        generate_images(plan, flagged="refuse")
    assert not list(plan.folder.rglob("*"))
    (without,) = opened(tmp_path / "strict", safety_checker=False).paint(["a dog"], [1])
    assert isinstance(without, Image.Image)


def test_a_black_picture_is_seen_without_a_safety_checker(checkpoint):
    it = opened(checkpoint, safety_checker=False)
    with torch.no_grad():
        it._pipeline.vae.decoder.conv_out.weight.fill_(float("nan"))
    with np.errstate(invalid="ignore"):
        assert it.paint(["a dog"], [1]) == ["of one colour"]


def test_a_checkpoint_without_a_safety_checker_says_so(tmp_path):
    write_pipeline(tmp_path / "free", threshold=None)
    with pytest.raises(ValueError, match="pass safety_checker=False"):
        opened(tmp_path / "free")
    opened(tmp_path / "free", safety_checker=False)


def test_long_prompts_are_found_and_can_be_cut(checkpoint):
    prompts = ["a " * 75, "a " * 76, "short"]
    assert opened(checkpoint).too_long(prompts) == [1]
    assert opened(checkpoint, truncate_prompts=True).too_long(prompts) == []


def test_pickled_or_incomplete_weights_are_refused(checkpoint, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(checkpoint, pickled)
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="weights in safetensors"):
        opened(pickled)
    torch.save({}, pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="weights in safetensors"):
        opened(pickled)
    with pytest.raises(ValueError, match="has no model_index.json"):
        _ = painter(tmp_path).settings


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="dtype='half'"):
        StableDiffusion(dtype="half")
    with pytest.raises(ValueError, match="steps=0"):
        StableDiffusion(steps=0)
