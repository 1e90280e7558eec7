"""The benchmark of extraction: each comparison on models of a few units, and the run of all of them."""

import json
import types

import numpy as np
import pytest
from safetensors import safe_open

from launch.benchmarks import extraction, extraction_streamed, extraction_torch
from launch.benchmarks import random_checkpoints as shapes
from tests.activations import tiny
from tests.checkpoints import write_tokenizer
from tests.launch import dying

LLAMA = shapes.LLAMA_1B | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
BLOOM = shapes.BLOOM_560M | {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64}
DINOV2 = shapes.DINOV2_BASE | {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}


@pytest.mark.parametrize("config", [LLAMA, BLOOM])
def test_captions_have_the_numbers_of_torch(config, tmp_path, capsys):
    where = shapes.write(tmp_path / "weights", config)
    write_tokenizer(tmp_path / "words")
    captions = tiny.captions(12)
    found = extraction_torch.captions(captions, str(tmp_path / "words"), 100, 2, 20, where)
    assert found["largest relative difference of a vector"] < 1e-5
    assert found["captions, through 2 of 20 blocks"] == 12
    # every word is a token, behind one that opens the caption
    assert found["tokens"] == sum(1 + len(caption.split()) for caption in captions)
    assert found["seconds, ours, scaled to all blocks"] == pytest.approx(10 * found["seconds, ours, afterwards"])
    assert "ours, turn 2 of 2" in capsys.readouterr().out


def test_neither_side_is_timed_and_scaled_when_it_first_runs(tmp_path, monkeypatch):
    where, done = shapes.write(tmp_path / "weights", LLAMA), []
    write_tokenizer(tmp_path / "words")
    run, timed = extraction_torch._torch_captions, extraction_torch.timed
    monkeypatch.setattr(extraction_torch, "_torch_captions", lambda *given: done.append("torch") or run(*given))
    monkeypatch.setattr(extraction_torch, "timed", lambda work, step: done.append(step) or timed(work, step))
    extraction_torch.captions(tiny.captions(12), str(tmp_path / "words"), 100, 2, 20, where)
    assert done[:3] == ["torch", "torch, 12 captions in fours padded to the longest", "torch"]
    assert done.index("ours, 12 captions, with compilation") < done.index("ours, turn 1 of 2")


def test_images_have_the_numbers_of_torch(tmp_path):
    found = extraction_torch.images(3, shapes.write(tmp_path / "weights", DINOV2))
    assert found["images"] == 3 and found["largest relative difference of a vector"] < 1e-5


def test_the_streamed_model_is_in_bfloat16(tmp_path):
    where = shapes.write(tmp_path / "weights", LLAMA, "bfloat16")
    write_tokenizer(tmp_path / "words")
    found = extraction_streamed.streamed(tiny.captions(5), str(tmp_path / "words"), 2, where)
    # query and out, key and value, gate, up and down, two norms
    numbers = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 2 * 32
    assert found["GiB of one block"] == pytest.approx(2 * numbers / 2**30)
    assert found["times the matrix products"] > 0 and found["GiB resident at most"] >= found["GiB resident before"]


def test_the_size_is_that_of_the_files(tmp_path):
    for name, config, dtype in (("a", LLAMA, "bfloat16"), ("b", BLOOM, "float32"), ("c", DINOV2, "float32")):
        there = 0
        for file in shapes.write(tmp_path / name, config, dtype).glob("*.safetensors"):
            with safe_open(str(file), "numpy") as opened:
                there += sum(opened.get_tensor(key).nbytes for key in opened.keys())
        assert shapes.size(config, dtype) == there


def test_weights_of_another_config_are_replaced(tmp_path):
    shapes.write(tmp_path, LLAMA)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    deeper = LLAMA | {"num_hidden_layers": 9}
    shapes.write(tmp_path, deeper)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) > shapes.size(deeper)
    assert not (tmp_path / "model-00001-of-00002.safetensors").exists()
    assert json.loads((tmp_path / "config.json").read_text()) == deeper


def test_weights_without_room_are_refused_before_one_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"need 0.0 GB, but .* has 0.0 GB free; make room there, or .* --workdir="):
        shapes.write(tmp_path / "weights", LLAMA)
    assert not list((tmp_path / "weights").iterdir())


@pytest.mark.parametrize("keep", [0, 1])
def test_a_comparison_that_is_killed_costs_no_other(keep, tmp_path, monkeypatch, capsys):
    work = {"dinov2": dying.killed, "llama": dying.files, "bloom": dying.files}
    monkeypatch.setattr(extraction, "_planned", lambda part, *_: (LLAMA, "float32", (work[part],)))
    monkeypatch.setattr(extraction, "read_captions", lambda _: tiny.captions(3))
    monkeypatch.setattr(shapes, "write", dying.written)
    parts = "dinov2,llama" if keep else "bloom,dinov2,llama"
    sizes = extraction.Sizes(captions="x", tokenizer=str(tmp_path), parts=parts, keep=keep)
    found = list(extraction.measure(sizes, tmp_path / "run"))
    assert found[-1] == {"llama: files": 1} and len(found) == len(parts.split(",")) - 1
    assert "dinov2: not measured: its process was killed" in capsys.readouterr().out
    assert [path.name for path in sorted((tmp_path / "run").iterdir())] == (
        ["dinov2-weights", "llama-weights"] if keep else []
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"parts": "bloom,gpt"}, "parts='bloom,gpt': expected some of bloom,llama,dinov2,streamed"),
        ({}, "set --size=captions=FILE and --size=tokenizer=FOLDER"),
        ({"captions": "a", "tokenizer": "nowhere"}, "there is no folder nowhere"),
        ({"captions": "nowhere.txt", "tokenizer": "."}, "nowhere.txt cannot be read"),
    ],
)
def test_what_is_missing_is_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        next(extraction.measure(extraction.Sizes(**changes), tmp_path))


def test_the_first_caption_of_each_image_is_read(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text('image,caption\na.jpg,"one, two"\na.jpg,three\nb.jpg,four, five\n', encoding="utf-8")
    sizes = extraction.Sizes(captions=str(file), n_captions=2)
    assert extraction.read_captions(sizes) == ["one, two", "four, five"]
    with pytest.raises(ValueError, match="has captions of 2 images; set --size=n_captions=2"):
        extraction.read_captions(extraction.Sizes(captions=str(file), n_captions=3))


def test_what_is_drawn_is_of_the_scale_that_keeps_activations_finite(tmp_path):
    [file] = shapes.write(tmp_path, LLAMA).glob("*.safetensors")
    with safe_open(str(file), "numpy") as opened:
        assert np.std(opened.get_tensor("layers.0.mlp.down_proj.weight")) == pytest.approx(0.02, rel=0.1)
