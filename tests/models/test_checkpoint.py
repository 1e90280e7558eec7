"""Finding and reading the tensors of a checkpoint directory."""

import json

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints import write_language
from vla.models.checkpoint import open_tensors, weight_files

A, B = torch.arange(6.0).reshape(2, 3), torch.arange(4.0) - 1.5


def write_shards(directory, weight_map=None, second=None):
    save_file({"a": A}, directory / "one.safetensors")
    save_file(second or {"b": B}, directory / "two.safetensors")
    weight_map = {"a": "one.safetensors", "b": "two.safetensors"} if weight_map is None else weight_map
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize(
    "dtype, ours",
    [
        (torch.float64, np.float64),
        (torch.float32, np.float32),
        (torch.float16, np.float16),
        (torch.bfloat16, ml_dtypes.bfloat16),
    ],
)
def test_any_slice_of_any_float_is_read_without_torch(dtype, ours, tmp_path):
    values = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"a": values}, tmp_path / "model.safetensors")
    tensor = open_tensors(tmp_path)["a"]
    part = tensor.read((slice(1, 3), slice(2, None)))
    assert tensor.shape == (4, 5)
    assert part.dtype == ours
    assert np.array_equal(part.astype(np.float64), values[1:3, 2:].double().numpy())


def test_shards_are_read_as_one(tmp_path):
    write_shards(tmp_path)
    tensors = open_tensors(tmp_path)
    assert {name: tensor.file.name for name, tensor in tensors.items()} == {
        "a": "one.safetensors",
        "b": "two.safetensors",
    }
    assert np.array_equal(tensors["b"].read((slice(None),)), B.numpy())


def test_a_single_file_wins_over_an_index(tmp_path):
    write_shards(tmp_path)
    save_file({"a": A}, tmp_path / "model.safetensors")
    assert [file.name for file in weight_files(tmp_path)] == ["model.safetensors"]
    assert list(open_tensors(tmp_path)) == ["a"]


def test_absent_shards_are_named(tmp_path):
    write_shards(tmp_path, {"a": "one.safetensors", "b": "three.safetensors", "c": "four.safetensors"})
    with pytest.raises(
        ValueError, match=r"2 of 3 files that are not there: four.safetensors, three.safetensors; download them again"
    ):
        open_tensors(tmp_path)


def test_an_index_at_odds_with_its_shards_is_refused(tmp_path):
    weight_map = {"a": "two.safetensors", "b": "two.safetensors", "c": "one.safetensors"}
    write_shards(tmp_path, weight_map, {"b": B, "d": B.clone()})
    with pytest.raises(ValueError) as error:
        open_tensors(tmp_path)
    for part in (
        "a (should be in two.safetensors, is in one.safetensors)",
        "c (should be in one.safetensors, is in no shard)",
        "d (in two.safetensors, not in the index)",
        "download the checkpoint again",
    ):
        assert part in str(error.value)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    write_shards(tmp_path, None, {"a": A.clone(), "b": B})
    with pytest.raises(ValueError, match="tensor 'a' is in one.safetensors and in two.safetensors"):
        open_tensors(tmp_path)


@pytest.mark.parametrize(
    "index, message",
    [
        ("{", "is not JSON"),
        ("{}", "has no 'weight_map'"),
        ('{"weight_map": {}}', "has no 'weight_map'"),
        ('{"weight_map": {"a": "../one.safetensors"}}', "'a' is in '../one.safetensors', which is no file name"),
        ('{"weight_map": {"a": 1}}', "'a' is in 1, which is no file name"),
    ],
)
def test_a_broken_index_is_refused(index, message, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=message):
        open_tensors(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_file_cut_short_is_named(kept, tmp_path):
    write_language(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short or corrupt .*download it again"):
        open_tensors(tmp_path)


def test_a_corrupt_header_is_named(tmp_path):
    write_language(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"dtype"', b'"dtypo"', 1))
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short or corrupt"):
        open_tensors(tmp_path)


def test_quantised_tensors_are_refused(tmp_path):
    save_file({"a": torch.zeros(2, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="'a' has dtype I8; supported are BF16, F16, F32, F64"):
        open_tensors(tmp_path)


def test_pickled_weights_are_refused_with_the_way_out(tmp_path):
    for name in ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"only as pytorch_model-00001.*convert them to safetensors"):
        open_tensors(tmp_path)


def test_a_directory_without_weights_says_what_it_has(tmp_path):
    with pytest.raises(ValueError, match=r"expected model\.safetensors, or .*; found nothing"):
        weight_files(tmp_path)
    (tmp_path / "tf_model.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"found tf_model\.h5"):
        weight_files(tmp_path)
