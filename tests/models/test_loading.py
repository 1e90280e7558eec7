"""Loading from end to end."""

import subprocess
import sys

import pytest

from tests.checkpoints import write_language, write_vision
from vla.models import load_model


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype 'float16' is not known; known are: bfloat16, float32"):
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
