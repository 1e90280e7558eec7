"""A tiny language model and a tiny Stable Diffusion, made by their own libraries, and the identity of checkpoints."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tests.checkpoints import write_language
from tests.stimuli.generators.tiny_diffusion import write_pipeline
from tests.stimuli.generators.worlds import dataset
from vla.stimuli.generators import LocalModel, StableDiffusion, generate_images, plan_images, with_synthetic
from vla.stimuli.generators.image_files import read_record
from vla.stimuli.generators.local_models import identify_checkpoint

CHAT = "{% for m in messages %}the {{ m['content'] }}{% endfor %}{% if add_generation_prompt %} dog{% endif %}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    write_language(directory, max_position_embeddings=64)
    return directory


def opened(directory, **settings):
    model = LocalModel(str(directory), dtype="float32", device="cpu", **{"max_output_tokens": 8, **settings})
    model.open()
    return model


def test_an_answer_depends_on_request_and_seed_only(checkpoint):
    model = opened(checkpoint)
    stream = torch.get_rng_state()
    first = model.complete("the dog runs", 1)
    assert len(first.split()) > 3
    assert model.complete("the cat sleeps", 2) != first
    assert model.complete("the dog runs", 2) != first
    assert model.complete("the dog runs", 1) == first
    assert torch.equal(torch.get_rng_state(), stream), "torch's own stream must stay as it was"


def test_the_likeliest_answer_is_that_of_the_model(checkpoint):
    from transformers import AutoModelForCausalLM

    model = opened(checkpoint, temperature=0.0)
    network = AutoModelForCausalLM.from_pretrained(checkpoint)
    ids = model._tokenizer("the dog runs\n\n", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        for _ in range(8):
            ids = torch.cat([ids, network(ids).logits[:, -1:].argmax(-1)], dim=1)
    expected = model._tokenizer.decode(ids[0, -8:], skip_special_tokens=True)
    assert model.complete("the dog runs", 0) == model.complete("the dog runs", 5) == expected


def test_a_chat_template_is_used_where_there_is_one(checkpoint, tmp_path):
    directory = tmp_path / "chat"
    write_language(directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": CHAT}))
    seen = []
    model = opened(directory)
    generate = model._network.generate
    model._network.generate = lambda **inputs: seen.append(inputs["input_ids"]) or generate(**inputs)
    model.complete("cat", 0)
    assert model._tokenizer.decode(seen[0][0], skip_special_tokens=True) == "the cat dog"


def test_weights_are_part_of_the_settings(checkpoint, tmp_path):
    write_language(tmp_path / "other", seed=1)
    settings = LocalModel(str(checkpoint)).settings
    assert settings["model"].startswith("sha256:") and settings["dtype"] == "bfloat16"
    assert settings != LocalModel(str(tmp_path / "other")).settings
    assert settings == LocalModel(str(checkpoint)).settings


def test_what_does_not_fit_the_context_is_refused(checkpoint):
    with pytest.raises(ValueError, match="64 positions"):
        opened(checkpoint).complete("dog " * 60, 0)


def test_a_checkpoint_of_pickles_is_refused(tmp_path):
    network = write_language(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="weights in safetensors"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("/no/where", {}, "there is no directory /no/where"),
        (".", {}, "has no config.json"),
        (".", {"revision": "main"}, "is a local directory"),
        ("no-such-model", {}, "there is no directory no-such-model"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, monkeypatch, model, settings, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        _ = LocalModel(model, **settings).settings


def test_another_number_type_is_refused():
    with pytest.raises(ValueError, match="expected one of bfloat16, float16, float32"):
        LocalModel("x", dtype="int8")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
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


def opened_pipeline(directory, **settings):
    it = painter(directory, **settings)
    it.open()
    return it


def test_a_picture_is_that_of_the_library(pipeline):
    (ours,) = opened_pipeline(pipeline, guidance=5.0).generate(["a dog"], [123])
    pipeline = StableDiffusionPipeline.from_pretrained(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(123)
    (theirs,) = pipeline("a dog", num_inference_steps=2, guidance_scale=5.0, generator=generator).images
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert ours.size == (32, 32)


def test_prompt_seed_and_settings_all_show(pipeline):
    it = opened_pipeline(pipeline)
    pictures = [it.generate(["a dog"], [1]), it.generate(["a dog"], [2]), it.generate(["red cats"], [1])]
    pictures.append(opened_pipeline(pipeline, guidance=1.0, safety_checker=False).generate(["a dog"], [1]))
    pictures.append(opened_pipeline(pipeline, steps=3).generate(["a dog"], [1]))
    assert len({np.asarray(picture).tobytes() for (picture,) in pictures}) == 5
    assert opened_pipeline(pipeline, height=16, width=48).generate(["a"], [0])[0].size == (48, 16)


def test_the_whole_way_stopped_and_resumed_gives_the_same_bytes(pipeline, tmp_path, monkeypatch):
    world = dataset(2, captions=2)
    settings = {"n_captions": 2, "variants": 1}
    whole = generate_images(plan_images(world, painter(pipeline), tmp_path / "whole", **settings))
    it, calls = painter(pipeline), []

    def stopping(prompts, seeds):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(seeds)
        return StableDiffusion.generate(it, prompts, seeds)

    monkeypatch.setattr(it, "generate", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate_images(plan_images(world, it, tmp_path / "cut", **settings))
    resumed = plan_images(world, painter(pipeline), tmp_path / "cut", **settings)
    assert resumed.n_pending == 1
    cut = generate_images(resumed)
    for path in whole.rglob("*.*"):
        assert (cut / path.relative_to(whole)).read_bytes() == path.read_bytes()
    last = with_synthetic(world, cut).items[1].synthetic[1]
    record = read_record(last)
    (alone,) = opened_pipeline(pipeline).generate([record["prompt"]], [record["seed"]])
    np.testing.assert_array_equal(np.asarray(alone), np.asarray(Image.open(last)))
    assert record["settings"]["model"].startswith("sha256:")


def test_what_the_safety_checker_blackens_is_never_kept(tmp_path):
    write_pipeline(tmp_path / "strict", threshold=-2.0)
    assert opened_pipeline(tmp_path / "strict").generate(["a dog"], [1]) == ["blackened by the safety checker"]
    world = dataset(1, captions=1)
    plan = plan_images(world, painter(tmp_path / "strict"), tmp_path, n_captions=1, variants=1)
    with pytest.raises(ValueError, match=r"item_0/0 \(blackened by the safety checker, generated 1 times\)"):
        generate_images(plan, flagged="refuse")
    assert not list(plan.folder.rglob("*"))
    (without,) = opened_pipeline(tmp_path / "strict", safety_checker=False).generate(["a dog"], [1])
    assert isinstance(without, Image.Image)


def test_a_black_picture_is_seen_without_a_safety_checker(pipeline):
    it = opened_pipeline(pipeline, safety_checker=False)
    with torch.no_grad():
        it._pipeline.vae.decoder.conv_out.weight.fill_(float("nan"))
    with np.errstate(invalid="ignore"):
        assert it.generate(["a dog"], [1]) == ["of one colour"]


def test_a_checkpoint_without_a_safety_checker_says_so(tmp_path):
    write_pipeline(tmp_path / "free", threshold=None)
    with pytest.raises(ValueError, match="pass safety_checker=False"):
        opened_pipeline(tmp_path / "free")
    opened_pipeline(tmp_path / "free", safety_checker=False)


def test_long_prompts_are_found_and_can_be_cut(pipeline):
    prompts = ["a " * 75, "a " * 76, "short"]
    assert opened_pipeline(pipeline).too_long(prompts) == [1]
    assert opened_pipeline(pipeline, truncate_prompts=True).too_long(prompts) == []


def test_pickled_or_incomplete_weights_are_refused(pipeline, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(pipeline, pickled)
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="weights in safetensors"):
        opened_pipeline(pickled)
    torch.save({}, pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="weights in safetensors"):
        opened_pipeline(pickled)
    with pytest.raises(ValueError, match="has no model_index.json"):
        _ = painter(tmp_path).settings


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="dtype='half'"):
        StableDiffusion(dtype="half")
    with pytest.raises(ValueError, match="steps=0"):
        StableDiffusion(steps=0)


def test_a_directory_is_known_by_what_it_holds(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "two" / "README.md").write_text("words")
    (tmp_path / "two" / "model.bin").write_bytes(b"never read")
    one = identify_checkpoint(tmp_path / "one", None, "config.json")
    assert one.startswith("sha256:") and identify_checkpoint(tmp_path / "two", "", "config.json") == one
    (tmp_path / "two" / "unet" / "model.safetensors").write_bytes(b"other weights")
    assert identify_checkpoint(tmp_path / "two", None, "config.json") != one


def test_a_hub_repository_is_known_by_its_commit(tmp_path, monkeypatch):
    asked = []

    def download(source, file, revision):
        asked.append((source, file, revision))
        return str(tmp_path / "models--a--b" / "snapshots" / "0123abc" / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert identify_checkpoint("a/b", "main", "config.json") == "a/b@0123abc"
    assert identify_checkpoint("a/b", "", "unet/config.json") == "a/b@0123abc"
    assert asked == [("a/b", "config.json", "main"), ("a/b", "unet/config.json", None)]


def test_a_hub_that_does_not_answer_is_named_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise OSError("no network\nand much advice")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ValueError, match="'a/b' is no local directory, and config.json .* cannot be fetched") as failed:
        identify_checkpoint("a/b", None, "config.json")
    assert "no network" in str(failed.value) and "much advice" not in str(failed.value)
