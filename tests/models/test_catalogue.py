"""Every checkpoint of the register, built at full size without a byte of weights."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.published_sizes import published_shapes
from vla.models import catalogue, weights
from vla.models.catalogue import Checkpoint, checkpoints, pinned, similar_ids
from vla.models.families.family import Family
from vla.models.loading import abstract_network, read_config
from vla.models.network_config import DecoderConfig, VisionConfig
from vla.models.tensor import Tensor

TIMM = [checkpoint for checkpoint in checkpoints() if checkpoint.family == "timm"]
HUGGING_FACE = [checkpoint for checkpoint in checkpoints() if checkpoint.family != "timm"]


def read(checkpoint: Checkpoint, tmp_path: Path) -> tuple[Family, VisionConfig | DecoderConfig]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(checkpoint.config))
    return read_config(path)


def parameters(network) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))


@pytest.mark.parametrize("checkpoint", checkpoints(), ids=lambda checkpoint: checkpoint.id)
def test_every_checkpoint_is_built_at_full_size(checkpoint, tmp_path):
    _, config = read(checkpoint, tmp_path)
    network = abstract_network(config, "bfloat16")
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
    assert (config.depth, config.width, config.heads) == (checkpoint.depth, checkpoint.width, checkpoint.heads)
    if isinstance(config, DecoderConfig):
        assert (checkpoint.modality, checkpoint.input) == ("language", config.length)
    else:
        assert (checkpoint.modality, checkpoint.input // config.patch) == ("vision", config.grid)
    # what is published beyond it are heads and other towers, never less than the network
    assert 0 < parameters(network) <= checkpoint.parameters


@pytest.mark.parametrize("checkpoint", HUGGING_FACE, ids=lambda checkpoint: checkpoint.id)
def test_its_tensors_are_those_of_hugging_faces_own_class(checkpoint, tmp_path, monkeypatch):
    shapes = published_shapes(checkpoint)
    assert sum(shape.numel() for shape in shapes.values()) == checkpoint.parameters
    tensors = {name: Tensor(Path(name), tuple(shape), lambda _: np.empty(0)) for name, shape in shapes.items()}
    monkeypatch.setattr(weights, "open_tensors", lambda _: tensors)
    family, config = read(checkpoint, tmp_path)
    # raises about everything that is missing, unknown or mis-shaped
    weights.Weights(abstract_network(config), family, config, tmp_path)


@pytest.mark.parametrize("checkpoint", TIMM, ids=lambda checkpoint: checkpoint.id)
def test_timms_have_a_head_beyond_the_network(checkpoint, tmp_path):
    """That the network is timm's own, tests/models/test_timm.py shows for every architecture."""
    _, config = read(checkpoint, tmp_path)
    head = (checkpoint.width + 1) * checkpoint.config["num_classes"]
    assert parameters(abstract_network(config)) + head == checkpoint.parameters


def test_a_wrong_depth_in_the_register_would_be_noticed(tmp_path, monkeypatch):
    [checkpoint] = [checkpoint for checkpoint in HUGGING_FACE if checkpoint.id == "bigscience/bloomz-560m"]
    wrong = dataclasses.replace(checkpoint, config={**checkpoint.config, "n_layer": 23})
    with pytest.raises(ValueError, match="unknown: transformer.h.23"):
        shapes = published_shapes(checkpoint)
        tensors = {name: Tensor(Path(name), tuple(shape), lambda _: np.empty(0)) for name, shape in shapes.items()}
        monkeypatch.setattr(weights, "open_tensors", lambda _: tensors)
        family, config = read(wrong, tmp_path)
        weights.Weights(abstract_network(config), family, config, tmp_path)


@pytest.mark.parametrize(
    "id, published",
    [
        ("HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("bigscience/bloomz-560m", 559_214_592),
        ("google/gemma-2-2b", 2_614_341_888),
        ("huggyllama/llama-7b", 6_738_415_616),
        ("microsoft/Phi-3-mini-128k-instruct", 3_821_079_552),
        ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704),
        ("openai/clip-vit-base-patch32", 151_277_313),
        ("timm/vit_giant_patch14_dinov2.lvd142m", 1_136_479_232),
    ],
)
def test_sizes_are_the_published_ones(id, published):
    [found] = [checkpoint for checkpoint in checkpoints() if checkpoint.id == id]
    assert found.parameters == published


def test_disk_size_is_that_of_the_published_dtype():
    sizes = {checkpoint.id: checkpoint.disk_bytes for checkpoint in checkpoints()}
    assert sizes["openlm-research/open_llama_3b"] == 2 * 3_426_473_600
    assert sizes["facebook/dinov2-base"] == 4 * 86_580_480


def test_a_pin_is_a_commit_or_nothing():
    assert pinned("facebook/dinov2-base") == "f9e44c814b77203eaa57a6bdbbd535f21ede1415"
    assert pinned("bigscience/bloomz-3b") is None
    assert pinned("nobody/knows-it") is None


@pytest.mark.parametrize(
    "asked, first",
    [
        ("facebook/dinov2-bse", "facebook/dinov2-base"),
        ("Facebook/DINOv2-Base", "facebook/dinov2-base"),
        ("bloomz-560m", "bigscience/bloomz-560m"),
        ("open_llama_7b/", "openlm-research/open_llama_7b"),
    ],
)
def test_what_is_spelt_alike_is_found(asked, first):
    assert similar_ids(asked)[0] == first


def test_nothing_is_alike_to_what_is_registered_or_quite_different():
    assert similar_ids("facebook/dinov2-base") == similar_ids("nobody/knows-it") == ()


def test_an_absent_register_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "REGISTER", tmp_path / "checkpoints.toml")
    with pytest.raises(ValueError, match="register of checkpoints .*checkpoints.toml cannot be read"):
        checkpoints()
