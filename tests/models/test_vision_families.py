"""Every vision family beyond ViT and DINOv2 against Hugging Face on torch: every token of every layer."""

import dataclasses
from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.checkpoints import edit_config
from tests.models.reference import TOLERANCE, distance, network_layers, our_layers, worst
from tests.models.vision_reference import torch_vision_layers, vision_options
from tests.vision_checkpoints import write_vision_family
from vla.models import load_model, vision_encoder
from vla.models.vision_encoder import VisionEncoder

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "clip": ("clip", {}, (28, 28)),
    "clip, wide image": ("clip", {}, (21, 56)),
    "clip, gelu and large epsilon": ("clip", {"hidden_act": "gelu", "layer_norm_eps": 1e-2}, (28, 28)),
    "clip, vision tower alone": ("clip_vision", {}, (28, 28)),
    "clip, vision tower with projection": ("clip_vision_projected", {"image_size": 49}, (28, 28)),
    "siglip": ("siglip", {}, (28, 28)),
    "siglip, vision tower alone, larger image": ("siglip_vision", {}, (42, 42)),
    "siglip, no head": ("siglip_vision", {"vision_use_head": False, "image_size": 49}, (28, 28)),
    "deit": ("deit", {}, (28, 28)),
    "deit, with its classifiers": ("deit_teacher", {}, (42, 28)),
    "mae": ("mae", {}, (28, 28)),
    "mae, with its decoder": ("mae_whole", {"image_size": 49}, (28, 35)),
    "dinov3": ("dinov3", {}, (28, 28)),
    "dinov3, wide image": ("dinov3", {"rope_theta": 50.0}, (21, 63)),
    "dinov3, gated, no registers": ("dinov3", {"use_gated_mlp": True, "num_register_tokens": 0}, (28, 28)),
    "dinov3, other biases": (
        "dinov3",
        {"query_bias": False, "key_bias": True, "value_bias": False, "proj_bias": False, "mlp_bias": False},
        (28, 28),
    ),
}


def pixels_of(size: tuple[int, int], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, *size)).astype(np.float32)


def theirs_of(kind: str, reference: torch.nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    return torch_vision_layers(reference, pixels, **vision_options(kind, pixels, 7))


@pytest.mark.parametrize("case", CASES)
def test_every_token_of_every_layer_is_hugging_faces(case, tmp_path):
    kind, changes, size = CASES[case]
    reference = write_vision_family(tmp_path, kind, **changes)
    model = load_model(tmp_path)
    pixels = pixels_of(size)
    theirs, ours = theirs_of(kind, reference, pixels), our_layers(model, pixels)
    assert set(theirs) == set(model.layer_names)
    assert worst(ours, theirs) < TOLERANCE


WRONG: dict[str, tuple[str, dict[str, Any], tuple[int, int], dict[str, Any]]] = {
    "clip: exact gelu": ("clip_vision", {}, (28, 28), {"nonlinearity": "gelu"}),
    "clip: epsilon": ("clip_vision", {"layer_norm_eps": 1e-2}, (28, 28), {"norm_epsilon": 1e-5}),
    "clip: antialiased": ("clip_vision", {"image_size": 49}, (28, 28), {"antialias": True}),
    "siglip: exact gelu": ("siglip_vision", {}, (28, 28), {"nonlinearity": "gelu"}),
    "siglip: antialiased": ("siglip_vision", {"image_size": 49}, (28, 28), {"antialias": True}),
    "deit: tanh gelu": ("deit", {}, (28, 28), {"nonlinearity": "gelu_new"}),
    "mae: heads": ("mae", {}, (28, 28), {"heads": 4}),
    "dinov3: theta": ("dinov3", {}, (28, 28), {"rotary_theta": 10_000.0}),
    "dinov3: no rotary": ("dinov3", {}, (28, 28), {"rotary_theta": None}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_config_is_seen(case, tmp_path):
    kind, changes, size, wrong = WRONG[case]
    reference = write_vision_family(tmp_path, kind, **changes)
    model = load_model(tmp_path)
    config = dataclasses.replace(model.network.config, **wrong)
    graph, _ = nnx.split(jax.eval_shape(lambda: VisionEncoder(config, rngs=nnx.Rngs(0))))
    network = nnx.merge(graph, nnx.split(model.network)[1])
    pixels = pixels_of(size)
    theirs = theirs_of(kind, reference, pixels)
    assert worst(network_layers(network, model.layer_names, pixels), theirs) > 10 * TOLERANCE


def test_rotary_that_turns_registers_too_is_seen(tmp_path, monkeypatch):
    reference = write_vision_family(tmp_path, "dinov3")
    model = load_model(tmp_path)
    pixels = pixels_of((28, 28))
    right = vision_encoder.patch_rotation
    monkeypatch.setattr(
        vision_encoder,
        "patch_rotation",
        lambda *arguments: tuple(jnp.roll(part, -1, axis=1) for part in right(*arguments)),
    )
    assert worst(our_layers(model, pixels), theirs_of("dinov3", reference, pixels)) > 10 * TOLERANCE


@pytest.mark.parametrize("kind, pools, extra", [("siglip", ("mean",), 0), ("deit", ("cls", "mean", "distillation"), 2)])
def test_pools_are_those_that_the_tokens_allow(kind, pools, extra, tmp_path):
    reference = write_vision_family(tmp_path, kind)
    model = load_model(tmp_path)
    pixels = pixels_of((28, 28))
    theirs = theirs_of(kind, reference, pixels)["block_2"]
    assert model.pools == pools
    places = {"cls": theirs[:, 0], "distillation": theirs[:, 1], "mean": theirs[:, extra:].mean(1)}
    for pool in pools:
        assert distance(np.asarray(model.readouts(pixels, pool=pool, layers=("block_2",)))[0], places[pool]) < TOLERANCE
    if "cls" not in pools:
        with pytest.raises(ValueError, match="pool 'cls' is not known to vision models; known are: mean"):
            model.readouts(pixels, pool="cls", layers=("block_2",))


@pytest.mark.parametrize("kind", ["clip", "deit", "dinov3"])
def test_single_tokens_are_hugging_faces_up_to_the_last_block(kind, tmp_path):
    """Of the last block nothing else is computed then."""
    reference = write_vision_family(tmp_path, kind)
    model = load_model(tmp_path)
    pixels = pixels_of((21, 28))
    theirs = theirs_of(kind, reference, pixels)
    names = model.layer_names
    for place, pool in enumerate(pool for pool in ("cls", "distillation") if pool in model.pools):
        for layers in (names, names[1:2], names[-1:]):
            ours = np.asarray(model.readouts(pixels, pool=pool, layers=layers))
            assert max(distance(ours[i], theirs[name][:, place]) for i, name in enumerate(layers)) < TOLERANCE


def test_streaming_is_the_same(tmp_path):
    write_vision_family(tmp_path, "dinov3")
    pixels = pixels_of((21, 35))
    held, streamed = load_model(tmp_path), load_model(tmp_path, stream=True)
    layers = held.layer_names
    ours = np.asarray(streamed.readouts(pixels, pool="mean", layers=layers))
    assert np.allclose(ours, held.readouts(pixels, pool="mean", layers=layers), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["clip_vision", "dinov3"])
def test_bfloat16_is_no_further_off_than_torchs(kind, tmp_path):
    changes = {"hidden_size": 48, "num_hidden_layers": 6, "intermediate_size": 96}
    reference = write_vision_family(tmp_path, kind, dtype=torch.bfloat16, **changes)
    pixels = pixels_of((28, 28))
    exact = theirs_of(kind, reference, pixels)
    rounded = theirs_of(kind, reference.to(torch.bfloat16), pixels)
    ours = our_layers(load_model(tmp_path, dtype="bfloat16"), pixels)

    def off(read: dict[str, np.ndarray]) -> float:
        return float(
            np.mean([np.linalg.norm(read[name] - exact[name]) / np.linalg.norm(exact[name]) for name in exact])
        )

    assert 0 < off(ours) < 1.2 * off(rounded)


def test_an_older_config_of_both_towers_is_read(tmp_path):
    write_vision_family(tmp_path, "clip", hidden_act="gelu")
    model = load_model(tmp_path)
    # transformers 4 wrote such sections twice, and reads the second where they differ
    edit_config(tmp_path, vision_config_dict={**_section(tmp_path), "hidden_act": "relu"}, text_config_dict=None)
    assert load_model(tmp_path).network.config == dataclasses.replace(model.network.config, nonlinearity="relu")


def _section(directory) -> dict[str, Any]:
    import json

    return json.loads((directory / "config.json").read_text())["vision_config"]


def test_an_unknown_field_of_a_tower_is_refused(tmp_path):
    write_vision_family(tmp_path, "clip")
    # transformers reads such a field of other models; a field that nothing reads is ignored.
    edit_config(tmp_path, vision_config={**_section(tmp_path), "per_layer_config": 3, "windows": 3})
    with pytest.raises(ValueError, match="'vision_config' has fields that are not known .*: per_layer_config"):
        load_model(tmp_path)


def test_a_tower_that_there_is_not_is_refused(tmp_path):
    write_vision_family(tmp_path, "siglip")
    with pytest.raises(ValueError, match="type 'siglip' has no tower 'text'; it has: vision"):
        load_model(tmp_path, tower="text")


def test_buffers_of_older_checkpoints_are_no_weights(tmp_path):
    write_vision_family(tmp_path, "clip")
    path = tmp_path / "model.safetensors"
    places = {f"{tower}_model.embeddings.position_ids": np.arange(17)[None] for tower in ("vision", "text")}
    save_file({**load_file(path), **places}, path)
    assert load_model(tmp_path).modality == "vision"
    assert load_model(tmp_path, tower="text").modality == "language"


def test_weights_of_another_family_are_refused(tmp_path):
    write_vision_family(tmp_path, "deit")
    edit_config(tmp_path, model_type="vit", architectures=["ViTModel"])
    with pytest.raises(
        ValueError, match="unknown: embeddings.distillation_token (.|\n)*mis-shaped: embeddings.position"
    ):
        load_model(tmp_path)
