"""A tiny random language model of the transformers library."""

import json

import pytest
import torch

from tests.checkpoints import write_language
from vla.stimuli.generators import LocalModel

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
