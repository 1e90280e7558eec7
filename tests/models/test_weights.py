"""Filling a network completely or not at all."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import children
from tests.checkpoints import edit_config, write_language, write_vision
from tests.language_checkpoints import write_family
from tests.vision_checkpoints import write_vision_family
from vla import devices
from vla.models import load_model
from vla.models.tensor import Row, Tensor
from vla.models.weights import _read, sharded_axis


def rewrite(directory, change) -> None:
    """Save the weights again as `change` leaves them."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_every_parameter_holds_its_tensor(tmp_path):
    write_vision(tmp_path, "dinov2", use_swiglu_ffn=True)
    network, tensors = load_model(tmp_path).network, load_file(tmp_path / "model.safetensors")
    fused = tensors["encoder.layer.2.mlp.weights_in.weight"].numpy()
    inner = len(fused) // 2
    assert np.array_equal(network.blocks.feed_forward.gate.weight[2], fused[:inner])
    assert np.array_equal(network.blocks.feed_forward.up.weight[2], fused[inner:])
    key = tensors["encoder.layer.1.attention.attention.key.weight"].numpy()
    assert np.array_equal(network.blocks.attention.key.weight[1], key)
    assert np.array_equal(network.embedding.cls[...], tensors["embeddings.cls_token"][0, 0].numpy())


def test_everything_wrong_is_in_one_error(tmp_path):
    write_vision(tmp_path, "dinov2_classifier")

    def spoil(tensors):
        del tensors["dinov2.layernorm.bias"]
        del tensors["dinov2.encoder.layer.2.norm1.weight"]
        tensors["dinov2.encoder.layer.0.adapter.weight"] = torch.zeros(2, 2)
        tensors["dinov2.encoder.layer.3.norm1.weight"] = torch.zeros(24)
        tensors["dinov2.encoder.layer.1.mlp.fc1.weight"] = torch.zeros(95, 24)
        tensors["dinov2.embeddings.cls_token"] = torch.zeros(1, 24)

    rewrite(tmp_path, spoil)
    with pytest.raises(ValueError) as error:
        load_model(tmp_path)
    assert str(error.value).splitlines() == [
        f"the weights in {tmp_path} are not those that its config.json describes:",
        "  missing: dinov2.encoder.layer.2.norm1.weight [24]",
        "  missing: dinov2.layernorm.bias [24]",
        "  unknown: dinov2.encoder.layer.0.adapter.weight [2, 2] in model.safetensors",
        "  unknown: dinov2.encoder.layer.3.norm1.weight [24] in model.safetensors",
        "  mis-shaped: dinov2.embeddings.cls_token is [1, 24] in model.safetensors, expected [1, 1, 24]",
        "  mis-shaped: dinov2.encoder.layer.1.mlp.fc1.weight is [95, 24] in model.safetensors, expected [96, 24]",
        "Use the config.json that was published with these weights, or download the checkpoint again",
    ]


@pytest.mark.parametrize(
    "write, changes, message",
    [
        (write_vision, {"num_hidden_layers": 4}, "missing: encoder.layer.3"),
        (write_vision, {"num_hidden_layers": 2}, "unknown: encoder.layer.2"),
        (write_vision, {"qkv_bias": False}, "unknown: encoder.layer.0.attention.attention.key.bias"),
        (write_vision, {"use_swiglu_ffn": True}, r"missing: encoder.layer.0.mlp.weights_in.weight \[128, 24\]"),
        (write_vision, {"image_size": 35}, r"position_embeddings is \[1, 17, 24\] .*, expected \[1, 26, 24\]"),
        (write_language, {"num_key_value_heads": 4}, r"k_proj.weight is \[12, 24\] .*, expected \[24, 24\]"),
        (write_language, {"attention_bias": True}, "missing: model.layers.0.self_attn.k_proj.bias"),
        (write_language, {"vocab_size": 99}, r"expected \[99, 24\]"),
    ],
)
def test_a_config_of_other_weights_is_refused(write, changes, message, tmp_path):
    write(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_tensors_that_no_readout_needs_may_be_there(tmp_path):
    write_language(tmp_path)

    def add(tensors):
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(3)
        assert "lm_head.weight" in tensors

    rewrite(tmp_path, add)
    model = load_model(tmp_path)
    sizes = {leaf.shape for leaf in jax.tree.leaves(model.network)}
    assert (3, 24, 24) in sizes


@pytest.mark.parametrize("kind", ["vit", "vit_classifier", "dinov2_classifier", "dinov2_with_registers"])
def test_poolers_classifiers_and_mask_tokens_may_be_absent_or_there(kind, tmp_path):
    write_vision(tmp_path, kind)
    needless = ("pooler", "classifier", "mask_token")

    def drop(tensors):
        for name in [name for name in tensors if any(part in name for part in needless)]:
            del tensors[name]

    with_them = load_model(tmp_path).fingerprint
    rewrite(tmp_path, drop)
    assert load_model(tmp_path).fingerprint != with_them


# What a config says does not exist, of every family that has it or might: biases, norms, tokens, another block.
ABSENT = {
    "bloom": ("h.3.ln_1.weight", "positions.weight"),
    "gemma": ("layers.0.self_attn.q_proj.bias", "layers.0.self_attn.q_norm.weight"),
    "gemma2": ("layers.0.self_attn.q_norm.weight", "layers.3.input_layernorm.weight"),
    "gemma3_text": ("layers.0.self_attn.o_proj.bias", "layers.3.self_attn.q_norm.weight"),
    "gpt2": ("h.3.attn.bias", "h.0.ln_3.weight"),
    "gpt_neox": ("layers.3.attention.bias", "layers.3.attention.rotary_emb.inv_freq", "embed_positions.weight"),
    "llama": (
        *(f"layers.0.self_attn.{name}_proj.bias" for name in "qkvo"),
        *(f"layers.2.mlp.{name}_proj.bias" for name in ("gate", "up", "down")),
        "layers.0.self_attn.q_norm.weight",
        "layers.3.self_attn.rotary_emb.inv_freq",
        "layers.0.post_feedforward_layernorm.weight",
        "norm.bias",
        "lm_head.bias",
    ),
    "mistral": ("layers.0.self_attn.q_proj.bias", "layers.0.mlp.gate_proj.bias"),
    "mixtral": ("layers.0.self_attn.q_proj.bias", "layers.0.block_sparse_moe.experts.5.w1.weight"),
    "olmo": ("norm.weight", "layers.0.input_layernorm.weight"),
    "olmo2": ("layers.0.input_layernorm.weight", "layers.0.self_attn.q_proj.bias"),
    "phi3": ("layers.0.self_attn.qkv_proj.bias", "lm_head.bias"),
    "qwen2": ("layers.0.self_attn.o_proj.bias", "layers.0.self_attn.q_norm.weight"),
    "qwen3": ("layers.0.self_attn.q_proj.bias", "layers.3.self_attn.q_norm.weight"),
}


@pytest.mark.parametrize("kind", ABSENT)
def test_tensors_that_the_config_says_do_not_exist_are_refused_by_name(kind, tmp_path):
    write_family(tmp_path, kind)
    names = list(load_file(tmp_path / "model.safetensors"))
    prefix = next(p for p in ("model.", "transformer.", "gpt_neox.", "") if any(name.startswith(p) for name in names))
    added = ["lm_head.bias" if name == "lm_head.bias" else prefix + name for name in ABSENT[kind]]
    rewrite(tmp_path, lambda tensors: tensors.update({name: torch.zeros(32) for name in added}))
    with pytest.raises(ValueError) as error:
        load_model(tmp_path, weights=False) and load_model(tmp_path)
    unknown = [line for line in str(error.value).splitlines() if line.startswith("  unknown: ")]
    assert sorted(line.split()[1] for line in unknown) == sorted(added)


@pytest.mark.parametrize(
    "kind, added",
    [
        ("dinov3", {"embeddings.register_tokens": (1, 4, 24), "embeddings.position_embeddings": (1, 5, 24)}),
        ("deit_plain", {"vit.embeddings.distillation_token": (1, 1, 24)}),
        ("clip_vision", {"text_model.embeddings.token_embedding.weight": (9, 20), "logit_scale": (1,)}),
        ("siglip_vision", {"text_model.head.weight": (9, 20), "logit_bias": (1,)}),
        ("mae", {"embeddings.register_tokens": (1, 4, 24)}),
    ],
)
def test_tokens_and_towers_that_a_config_of_images_does_not_have_are_refused(kind, added, tmp_path):
    if kind == "deit_plain":
        write_vision(tmp_path, "vit")
    else:
        changes = {"num_register_tokens": 0} if kind == "dinov3" else {}
        write_vision_family(tmp_path, kind, **changes)
    load_model(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.update({name: torch.ones(shape) for name, shape in added.items()}))
    with pytest.raises(ValueError) as error:
        load_model(tmp_path)
    assert [name for name in added if f"unknown: {name} " in str(error.value)] == list(added)


def test_weights_are_on_every_device(tmp_path):
    write_language(tmp_path)
    for leaf in jax.tree.leaves(load_model(tmp_path).network):
        assert leaf.sharding.device_set == set(jax.local_devices())


def test_a_device_reads_only_its_part():
    """What `jax.make_array_from_callback` will ask for when weights are split over devices."""
    stored = np.arange(3 * 8 * 4, dtype=np.float32).reshape(3, 8, 4)
    asked = []

    def tensor(i: int) -> Tensor:
        def read(index):
            asked.append(stored[i][index].size)
            return stored[i][index]

        return Tensor(Path("model.safetensors"), (8, 4), read)

    index = (slice(1, 3), slice(2, 4), slice(None))
    part = _read([tensor(i) for i in range(3)], Row("{}", "blocks.x", part=(1, 2)), np.float32, True, index)
    # rows 2:4 of the second half, of the last two blocks
    assert np.array_equal(part, stored[1:3, 6:8])
    assert asked == [8, 8]


def test_index_and_shards_of_hugging_face_agree(tmp_path):
    write_language(tmp_path, shard="10KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    load_model(tmp_path)
    gone = sorted(tmp_path.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ValueError, match=f"files that do not exist: {gone.name}"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "path, shape, parts, axis",
    [
        ("blocks.attention.query.weight", (8, 6), 2, 0),
        ("blocks.attention.out.weight", (6, 8), 2, 1),
        ("blocks.feed_forward.down.weight", (6, 8), 4, 1),
        ("blocks.feed_forward.gate", (3, 8, 6), 2, 1),
        ("blocks.feed_forward.down", (3, 6, 8), 2, 2),
        ("embedding", (10, 4), 2, 0),
        ("blocks.attention.query.weight", (9, 6), 2, None),
        ("blocks.attention.query.weight", (8, 6), 1, None),
        ("blocks.attention.query.bias", (8,), 2, None),
        ("blocks.norm1.scale", (8,), 2, None),
        ("embedding.positions", (10, 4), 2, None),
    ],
)
def test_axes(path, shape, parts, axis):
    assert sharded_axis(path, shape, parts) == axis


PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from vla.models import load_model, weights
from vla.models.tensor import Tensor
opened, read = weights.open_tensors, []
def watched(directory):
    def watch(tensor):
        def part(index):
            found = tensor.read(index)
            read.append((tensor.shape, found.shape))
            return found
        return Tensor(tensor.file, tensor.shape, part)
    return {name: watch(tensor) for name, tensor in opened(directory).items()}
weights.open_tensors = watched
model = load_model(sys.argv[1], tensor_parallel=4)
query = model.network.blocks.attention.query.weight[...]
assert {shard.data.shape for shard in query.addressable_shards} == {(3, 6, 24)}, query.sharding
down = model.network.blocks.feed_forward.down.weight[...]
assert {shard.data.shape for shard in down.addressable_shards} == {(3, 24, 10)}, down.sharding
# every weight once, though two groups of devices hold a copy: none as a whole that is shared
assert sum(np.prod(part) for whole, part in read) == sum(leaf.size for leaf in jax.tree.leaves(model.network))
assert ((40, 24), (10, 24)) in read and ((40, 24), (40, 24)) not in read
"""


def test_each_device_reads_only_its_part(tmp_path):
    write_language(tmp_path, num_key_value_heads=4)
    children.run(PROGRAM, tmp_path)


@pytest.mark.parametrize("parts", [0, -1, True, 1.5, devices.mesh().size + 1])
def test_devices_that_cannot_be_grouped(parts, tmp_path):
    write_vision(tmp_path)
    with pytest.raises(ValueError, match=r"tensor_parallel=.* cannot share one copy .*; expected one of 1"):
        load_model(tmp_path, tensor_parallel=parts)
