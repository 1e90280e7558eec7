"""The vision encoder against Hugging Face on torch: every token of every layer."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.checkpoints import write_vision
from tests.models.reference import TOLERANCE, distance, network_layers, our_layers, torch_layers, worst
from vla.models import Model, load_model, vision_encoder
from vla.models.network_config import VisionConfig
from vla.models.vision_encoder import VisionEncoder

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "vit": ("vit", {}, (28, 28)),
    "vit, with a classifier": ("vit_classifier", {}, (28, 28)),
    "vit, larger image": ("vit", {}, (42, 42)),
    "vit, smaller image": ("vit", {"image_size": 49}, (21, 21)),
    "vit, wide image": ("vit", {}, (21, 56)),
    "vit, same number of patches in another form": ("vit", {}, (14, 56)),
    "vit, image beyond the last patch": ("vit", {}, (31, 40)),
    "vit, no qkv bias": ("vit", {"qkv_bias": False}, (28, 28)),
    "vit, tanh gelu": ("vit", {"hidden_act": "gelu_pytorch_tanh"}, (28, 28)),
    "vit, quick gelu": ("vit", {"hidden_act": "quick_gelu"}, (28, 28)),
    "vit, large epsilon": ("vit", {"layer_norm_eps": 1e-2}, (28, 28)),
    "dinov2": ("dinov2", {}, (28, 28)),
    "dinov2, with a classifier": ("dinov2_classifier", {}, (28, 28)),
    "dinov2, swiglu": ("dinov2", {"use_swiglu_ffn": True}, (28, 28)),
    "dinov2, smaller image": ("dinov2", {"image_size": 49}, (28, 28)),
    "dinov2, tall image": ("dinov2", {}, (63, 21)),
    "dinov2, no qkv bias": ("dinov2", {"qkv_bias": False}, (28, 28)),
    "dinov2, mlp ratio": ("dinov2", {"mlp_ratio": 3}, (28, 28)),
    "dinov2, no mask token": ("dinov2", {"use_mask_token": False}, (28, 28)),
    "registers": ("dinov2_with_registers", {}, (28, 28)),
    "registers, swiglu": ("dinov2_with_registers", {"use_swiglu_ffn": True, "num_register_tokens": 2}, (28, 28)),
    "registers, smaller image": ("dinov2_with_registers", {"image_size": 49}, (28, 28)),
    "registers, large epsilon": ("dinov2_with_registers", {"layer_norm_eps": 1e-2}, (28, 28)),
    "registers, larger image": ("dinov2_with_registers", {}, (49, 49)),
    "registers, wide image": ("dinov2_with_registers", {"image_size": 49}, (21, 63)),
}


def pixels_of(size: tuple[int, int], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, *size)).astype(np.float32)


def theirs_of(reference: torch.nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    options = {"interpolate_pos_encoding": True} if "ViT" in type(reference).__name__ else {}
    return torch_layers(reference, torch.from_numpy(pixels), **options)


@pytest.fixture(scope="module")
def read_case(tmp_path_factory) -> Callable[[str], tuple[Model, np.ndarray, dict[str, np.ndarray]]]:
    """Model and pixels of a case, and every layer of Hugging Face's, each made once. Tests do not change the model."""

    @functools.cache
    def read(case: str) -> tuple[Model, np.ndarray, dict[str, np.ndarray]]:
        kind, changes, size = CASES[case]
        folder, pixels = tmp_path_factory.mktemp("case"), pixels_of(size)
        reference = write_vision(folder, kind, **changes)
        return load_model(folder), pixels, theirs_of(reference, pixels)

    return read


@pytest.mark.parametrize("case", CASES)
def test_every_token_of_every_layer_is_hugging_faces(case, read_case):
    model, pixels, theirs = read_case(case)
    assert tuple(theirs) == model.layer_names
    assert worst(our_layers(model, pixels), theirs) < TOLERANCE


@pytest.mark.parametrize("kind, registers", [("vit", 0), ("dinov2", 0), ("dinov2_with_registers", 4)])
def test_pools_are_the_class_token_and_the_mean_patch(kind, registers, tmp_path):
    reference = write_vision(tmp_path, kind)
    model = load_model(tmp_path)
    pixels = pixels_of((28, 28))
    theirs = theirs_of(reference, pixels)
    cls = np.asarray(model.readouts(pixels, pool="cls", layers=model.layer_names))
    mean = np.asarray(model.readouts(pixels, pool="mean", layers=model.layer_names))
    for i, name in enumerate(model.layer_names):
        assert distance(cls[i], theirs[name][:, 0]) < TOLERANCE
        assert distance(mean[i], theirs[name][:, 1 + registers :].mean(1)) < TOLERANCE


def with_config(model, **changes) -> VisionEncoder:
    """The same weights under another config."""
    config = dataclasses.replace(model.network.config, **changes)
    graph, _ = nnx.split(jax.eval_shape(lambda: VisionEncoder(config, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, nnx.split(model.network)[1])


# What the checkpoint and the image are, and one thing that the config says wrongly about them.
WRONG_CONFIGS = {
    "tanh gelu": ("vit", {"nonlinearity": "gelu_new"}),
    "epsilon of vit": ("vit, large epsilon", {"norm_epsilon": 1e-12}),
    "antialiased vit": ("vit, smaller image", {"antialias": True}),
    "antialiased larger vit": ("vit, larger image", {"antialias": True}),
    "heads": ("vit", {"heads": 4}),
    "tanh gelu of dinov2": ("dinov2", {"nonlinearity": "gelu_new"}),
    "gelu for silu": ("dinov2, swiglu", {"nonlinearity": "gelu"}),
    "antialiased dinov2": ("dinov2, smaller image", {"antialias": True}),
    "no antialias": ("registers, smaller image", {"antialias": False}),
    "epsilon of registers": ("registers, large epsilon", {"norm_epsilon": 1e-6}),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_wrong_config_is_seen(case, read_case):
    right, wrong = WRONG_CONFIGS[case]
    model, pixels, theirs = read_case(right)
    assert worst(network_layers(with_config(model, **wrong), model.layer_names, pixels), theirs) > 10 * TOLERANCE


WRONG_WEIGHTS = {
    "layer scale ignored": ("dinov2", {}, "blocks.scale1", jnp.ones_like),
    "second layer scale ignored": ("dinov2", {}, "blocks.scale2", jnp.ones_like),
    "norm scale ignored": ("vit", {}, "blocks.norm1.scale", jnp.ones_like),
    "query bias ignored": ("vit", {}, "blocks.attention.query.bias", jnp.zeros_like),
    "positions by columns": (
        "vit",
        {},
        "embedding.positions",
        lambda p: p.at[1:].set(p[1:].reshape(4, 4, -1).swapaxes(0, 1).reshape(16, -1)),
    ),
    "gate and up swapped": ("dinov2", {"use_swiglu_ffn": True}, "blocks.feed_forward.gate.weight", None),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_a_wrong_weight_is_seen(case, tmp_path):
    kind, changes, path, change = WRONG_WEIGHTS[case]
    reference = write_vision(tmp_path, kind, **changes)
    model = load_model(tmp_path)
    pixels = pixels_of((28, 28))
    network = model.network
    *parents, leaf = path.split(".")
    owner = network
    for parent in parents:
        owner = getattr(owner, parent)
    if change is None:
        up, gate = network.blocks.feed_forward.up, network.blocks.feed_forward.gate
        network.blocks.feed_forward.up, network.blocks.feed_forward.gate = gate, up
    else:
        variable = getattr(owner, leaf)
        variable.set_value(change(variable[...]))
    assert worst(our_layers(model, pixels), theirs_of(reference, pixels)) > 10 * TOLERANCE


def test_registers_with_positions_are_seen(tmp_path, monkeypatch):
    reference = write_vision(tmp_path, "dinov2_with_registers")
    model = load_model(tmp_path)
    pixels = pixels_of((28, 28))
    right = vision_encoder.Embedding.__call__

    def registers_last(self, pixels):
        tokens = right(self, pixels)
        return jnp.concatenate([tokens[:, :1], tokens[:, 5:], tokens[:, 1:5]], axis=1)

    def registers_with_a_position(self, pixels):
        return right(self, pixels).at[:, 1:5].add(self.positions[0])

    theirs = theirs_of(reference, pixels)
    for wrong in (registers_last, registers_with_a_position):
        monkeypatch.setattr(vision_encoder.Embedding, "__call__", wrong)
        assert worst(our_layers(model, pixels), theirs) > 10 * TOLERANCE


def test_bfloat16_is_near_and_reads_out_float32(tmp_path):
    reference = write_vision(tmp_path, "dinov2")
    model = load_model(tmp_path, dtype="bfloat16")
    pixels = pixels_of((28, 28))
    theirs = theirs_of(reference, pixels)
    read = model.readouts(pixels, pool="cls", layers=model.layer_names)
    assert read.dtype == jnp.float32
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(model.network))
    # eight bits of mantissa, a few roundings per block
    assert all(distance(np.asarray(read[i]), theirs[name][:, 0]) < 0.05 for i, name in enumerate(theirs))


def test_dinov2_giant_has_its_shapes_in_no_time():
    giant = VisionConfig(
        width=1536,
        depth=40,
        heads=24,
        inner=4096,
        nonlinearity="silu",
        gated=True,
        norm_epsilon=1e-6,
        patch=14,
        grid=37,
        channels=3,
        layer_scale=True,
    )
    start = time.perf_counter()
    network = jax.eval_shape(lambda: VisionEncoder(giant, rngs=nnx.Rngs(0)))
    read = jax.eval_shape(
        lambda network, pixels: network(pixels, pool=network.pool("cls"), layers=("embed", "block_39", "final_norm")),
        network,
        jax.ShapeDtypeStruct((8, 3, 224, 224), jnp.float32),
    )
    assert time.perf_counter() - start < 5
    assert read.shape == (3, 8, 1536)
    # the published number of parameters, less the mask token of 1536
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == 1_136_480_768 - 1536
