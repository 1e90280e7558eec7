"""Loading from end to end."""

import json
import subprocess
import sys

import pytest

import vla
from tests.checkpoints import edit_config, write_language, write_vision
from tests.models.hub_server import Hub, running
from vla.models import load_model
from vla.models.loading import load_clip


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype='float16'; expected one of bfloat16, float32"):
        load_model(tmp_path, dtype="float16")


def test_an_empty_directory_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no config.json in"):
        load_model(tmp_path)


def test_a_truncated_file_is_named(tmp_path):
    write_vision(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short or corrupt"):
        load_model(tmp_path)


def test_what_only_bears_the_name_of_torchs_format_is_named(tmp_path):
    write_language(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is cut short or corrupt"):
        load_model(tmp_path)


def test_torch_is_not_needed(tmp_path):
    write_language(tmp_path / "language")
    write_vision(tmp_path / "vision")
    script = """
import sys
import importlib.abc
import importlib.util

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(name, name=name)

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] == "torch" else found(name, package)
sys.meta_path.insert(0, NoTorch())
from PIL import Image
from vla.models import load_model
language, vision = load_model(sys.argv[1]), load_model(sys.argv[2], dtype="bfloat16")
[tokens], [pixels] = language.preprocess(["a dog"]), vision.preprocess([Image.new("RGB", (40, 30))])
assert language.readouts(tokens[None], pool="mean", layers=("final_norm",)).shape == (1, 1, 24)
assert vision.readouts(pixels[None], pool="cls", layers=("final_norm",)).shape == (1, 1, 24)
"""
    paths = (str(tmp_path / "language"), str(tmp_path / "vision"))
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 538090408\n"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(name, tmp_path):
    write_language(tmp_path)
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=f"{name} is a Git LFS pointer and not the file itself: run `git lfs install"):
        load_model(tmp_path)


def test_an_adapter_names_its_base_and_how_to_merge_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base", "r": 16}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is an adapter \(LoRA\) of owner/base, .*merge_and_unload"):
        load_model(tmp_path)
    # transformers would add the adapter to weights that lie beside it
    write_language(tmp_path)
    with pytest.raises(ValueError, match="if the weights beside it are merged already, remove adapter_config.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("config", [False, True])
def test_gguf_is_named_whether_a_file_or_a_folder(config, tmp_path):
    file = tmp_path / "model-Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    if config:
        write_language(tmp_path)
        (tmp_path / "model.safetensors").unlink()
    for source in (file, tmp_path):
        with pytest.raises(ValueError, match="in GGUF, the format of llama.cpp, .*gguf_file=FILE"):
            load_model(source)


def test_a_pipeline_of_sentence_transformers_says_where_its_transformer_is(tmp_path):
    modules = [
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    write_language(tmp_path / "0_Transformer")
    with pytest.raises(ValueError, match=f"pipeline of sentence-transformers .*name {tmp_path}/0_Transformer instead"):
        load_model(tmp_path)
    assert load_model(tmp_path / "0_Transformer", weights=False).width == 24
    # later ones have it at the top
    write_language(tmp_path)
    load_model(tmp_path, weights=False)


def test_nothing_is_extracted_from_a_model_without_weights(tmp_path):
    write_language(tmp_path)
    model = load_model(tmp_path, weights=False)
    with pytest.raises(ValueError, match="was loaded with weights=False and has no readouts; load it with its weights"):
        vla.extract(model, ["a dog"])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running(monkeypatch, tmp_path / "cache") as hub:
        yield hub


@pytest.mark.parametrize(
    "config, message",
    [
        ({"model_type": "bert"}, "model_type 'bert' is not supported"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}, "'quantization_config' is"),
        ({"model_type": "qwen2", "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}}, "modeling_qwen.Qwen2Model"),
    ],
)
def test_a_config_is_refused_before_anything_else_is_fetched(config, message, hub: Hub):
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": bytes(1 << 20), "tokenizer.json": b"{}"}
    hub.repositories["owner/model"] = files
    for load in (load_model, load_clip):
        with pytest.raises(ValueError, match=message if load is load_model else "expected 'clip'"):
            load("owner/model")
    assert hub.fetched() == {"config.json"}


@pytest.mark.parametrize(
    "files, message",
    [
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, "is an adapter"),
        ({"model.Q4.gguf": b"GGUF"}, "in GGUF"),
        ({"modules.json": b"[]", "0_Transformer": b""}, "pipeline of sentence-transformers"),
    ],
)
def test_what_a_repository_holds_instead_of_a_checkpoint_is_named(files, message, hub: Hub):
    hub.repositories["owner/model"] = files
    with pytest.raises(ValueError, match=message):
        load_model("owner/model")
    assert hub.fetched() <= {"adapter_config.json", "modules.json"}


def test_ignored_fields_that_the_config_does_not_have_are_refused(tmp_path):
    write_language(tmp_path)
    edit_config(tmp_path, per_layer_config={"0": {}})
    with pytest.raises(ValueError, match="--config.ignore_fields=per_layer_config "):
        load_model(tmp_path)
    load_model(tmp_path, ignore_fields=("per_layer_config",))
    with pytest.raises(ValueError, match="no field 'window' that ignore_fields could leave out"):
        load_model(tmp_path, ignore_fields=("window",))
