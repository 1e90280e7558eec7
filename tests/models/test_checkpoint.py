"""Finding and reading the tensors of a checkpoint directory."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints import write_language, write_vision
from vla.models import load_model
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
        ValueError, match=r"2 of 3 files that do not exist: four.safetensors, three.safetensors; download them again"
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
        ('{"weight_map": {"a": "../one.safetensors"}}', "'a' is in '../one.safetensors', which is not a file name"),
        ('{"weight_map": {"a": 1}}', "'a' is in 1, which is not a file name"),
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


def test_tensors_that_hold_no_plain_numbers_are_listed_and_refuse_to_be_read(tmp_path):
    """Buffers such as masks or position ids may be there as long as nobody needs them."""
    save_file({"a": torch.zeros(2, dtype=torch.int8), "b": B}, tmp_path / "model.safetensors")
    tensors = open_tensors(tmp_path)
    assert (tensors["a"].dtype, tensors["b"].dtype) == ("I8", "F32")
    with pytest.raises(ValueError, match="'a' has dtype I8; supported are BF16, F16, F32, F64. Use the unquantised"):
        tensors["a"].read((slice(None),))


@pytest.mark.parametrize("pickled", [True, False])
def test_a_quantised_weight_is_refused_before_anything_is_read(pickled, tmp_path):
    reference = write_language(tmp_path)
    state = {**reference.state_dict(), "model.norm.weight": torch.ones(24, dtype=torch.int8)}
    (tmp_path / "model.safetensors").unlink()
    if pickled:
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match="no plain numbers: model.norm.weight is I8 in .*use the unquantised checkpoint"
    ):
        load_model(tmp_path)


def write_bin(directory, state, shards=1, **options):
    """Write weights as transformers did before safetensors."""
    (directory / "model.safetensors").unlink(missing_ok=True)
    names = list(state)
    if shards == 1:
        torch.save(state, directory / "pytorch_model.bin", **options)
        return
    weight_map = {}
    for i in range(shards):
        file = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        torch.save({name: state[name] for name in names[i::shards]}, directory / file, **options)
        weight_map |= dict.fromkeys(names[i::shards], file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards, zipped", [(1, True), (1, False), (3, True)])
def test_bin_gives_what_safetensors_gives(dtype, shards, zipped, tmp_path):
    reference = write_language(tmp_path / "safetensors", dtype=dtype, tie_word_embeddings=True)
    shutil.copytree(tmp_path / "safetensors", tmp_path / "bin")
    # the tied head shares the storage of the embedding, and old files have buffers that nobody needs
    state = {name: weight.to(dtype) for name, weight in reference.state_dict().items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
    write_bin(tmp_path / "bin", state, shards, _use_new_zipfile_serialization=zipped)
    tokens = np.array([[1, 5, 6, 7]], np.int32)
    read = [
        np.asarray(model.readouts(tokens, pool="mean", layers=model.layer_names))
        for model in (load_model(tmp_path / "safetensors"), load_model(tmp_path / "bin"))
    ]
    assert np.array_equal(*read)


def test_a_streamed_model_reads_bin_block_by_block(tmp_path):
    reference = write_language(tmp_path)
    resident = load_model(tmp_path)
    write_bin(tmp_path, reference.state_dict(), 2)
    streamed = load_model(tmp_path, stream=True)
    tokens = np.array([[1, 5, 6, 7]], np.int32)
    read = [np.asarray(m.readouts(tokens, pool="mean", layers=m.layer_names)) for m in (resident, streamed)]
    assert np.abs(read[0] - read[1]).max() < 1e-5 * np.abs(read[0]).max()


def test_safetensors_win_over_bin(tmp_path):
    save_file({"a": A}, tmp_path / "model.safetensors")
    torch.save({"b": B}, tmp_path / "pytorch_model.bin")
    assert list(open_tensors(tmp_path)) == ["a"]
    (tmp_path / "model.safetensors").unlink()
    assert list(open_tensors(tmp_path)) == ["b"]


def test_absent_shards_of_bin_are_named(tmp_path):
    reference = write_language(tmp_path)
    write_bin(tmp_path, reference.state_dict(), 3)
    (tmp_path / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(
        ValueError, match="pytorch_model.bin.index.json in .* names 1 of 3 .*: pytorch_model-00002-of-0"
    ):
        load_model(tmp_path)


def test_a_shard_of_bin_cut_short_is_named(tmp_path):
    reference = write_language(tmp_path)
    write_bin(tmp_path, reference.state_dict(), 3)
    path = tmp_path / "pytorch_model-00002-of-00003.bin"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"pytorch_model-00002-of-00003.bin is cut short or corrupt"):
        load_model(tmp_path)


def test_a_checkpoint_of_another_family_is_refused(tmp_path):
    write_language(tmp_path / "llama")
    write_vision(tmp_path / "vit", "vit")
    shutil.copy(tmp_path / "vit" / "model.safetensors", tmp_path / "llama" / "model.safetensors")
    with pytest.raises(ValueError, match="missing: .*embed_tokens.weight") as error:
        load_model(tmp_path / "llama")
    assert "unknown: embeddings.cls_token" in str(error.value)


def test_a_directory_without_weights_says_what_it_has(tmp_path):
    with pytest.raises(ValueError, match=r"expected model\.safetensors .* or pytorch_model\.bin .*; found nothing"):
        weight_files(tmp_path)
    (tmp_path / "tf_model.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"found tf_model\.h5"):
        weight_files(tmp_path)
