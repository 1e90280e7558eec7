"""LLaMA's config: what it has beyond the sizes that its descendants share."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.families.tables import applied, parameters, some
from vla.models.checkpoint import open_tensors
from vla.models.families.llama import (
    fused_mixtral_table,
    mixtral_table,
    read_llama,
    read_mistral,
    read_mixtral,
    read_olmo,
    read_phi3,
    read_qwen2,
    read_qwen3,
    read_shape,
    read_sliding,
)
from vla.models.fields import Fields


@pytest.mark.parametrize("attention, feed_forward", [(True, False), (False, True)])
def test_biases_are_where_the_config_says(attention, feed_forward, tmp_path):
    write_family(tmp_path, "llama", attention_bias=attention, mlp_bias=feed_forward)
    found = parameters(tmp_path)
    assert ("blocks.attention.query.bias" in found) is ("blocks.attention.out.bias" in found) is attention
    assert ("blocks.feed_forward.down.bias" in found) is feed_forward


def test_neighbouring_units_are_not_paired():
    with pytest.raises(ValueError, match="'rope_interleaved' is True.*paired by halves"):
        read_llama(Fields({"rope_interleaved": True}, "config.json"))


def test_every_parameter_is_the_module_of_its_name(tmp_path):
    twin = write_family(tmp_path, "llama")
    found = parameters(tmp_path, 2)
    block = twin.get_submodule("model.layers.2")
    theirs = {
        "embedding": twin.model.embed_tokens,
        "final_norm.scale": twin.model.norm,
        "blocks.norm1.scale": block.input_layernorm,
        "blocks.norm2.scale": block.post_attention_layernorm,
        "blocks.attention.query.weight": block.self_attn.q_proj,
        "blocks.attention.key.weight": block.self_attn.k_proj,
        "blocks.attention.value.weight": block.self_attn.v_proj,
        "blocks.attention.out.weight": block.self_attn.o_proj,
        "blocks.feed_forward.gate.weight": block.mlp.gate_proj,
        "blocks.feed_forward.up.weight": block.mlp.up_proj,
        "blocks.feed_forward.down.weight": block.mlp.down_proj,
    }
    assert found.keys() == theirs.keys()
    for path, module in theirs.items():
        np.testing.assert_array_equal(found[path], module.weight.detach().numpy())


@pytest.mark.parametrize(
    "given, heads, kv_heads, head_width",
    [
        ({}, 32, 32, 128),
        ({"num_key_value_heads": 8}, 32, 8, 128),
        ({"num_key_value_heads": None, "head_dim": None}, 32, 32, 128),
        ({"head_dim": 40, "num_attention_heads": 6, "num_key_value_heads": 3}, 6, 3, 40),
    ],
)
def test_heads_follow_from_what_is_given(given, heads, kv_heads, head_width):
    shape = read_shape(Fields(given, "config.json"))
    assert (shape["heads"], shape["kv_heads"], shape["head_width"]) == (heads, kv_heads, head_width)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"hidden_size": 100, "num_attention_heads": 3}, "hidden_size 100 does not divide by num_attention_heads 3"),
        ({"num_key_value_heads": 5}, "num_attention_heads 32 does not divide by num_key_value_heads 5"),
    ],
)
def test_sizes_at_odds_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        read_shape(Fields(given, "config.json"))


def test_kinds_of_blocks_are_read():
    types = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    assert read_sliding(Fields(types, "c"), 3, ()) == (True, False, True)
    assert read_sliding(Fields({}, "c"), 2, (False, True)) == (False, True)
    with pytest.raises(ValueError, match="'layer_types' has 3 entries; expected 4, one per block"):
        read_sliding(Fields(types, "c"), 4, ())
    with pytest.raises(ValueError, match="layer_types.*chunked_attention"):
        read_sliding(Fields({"layer_types": ["chunked_attention"]}, "c"), 1, ())


@pytest.mark.parametrize(
    "given, window, slides",
    [({}, 4096, True), ({"sliding_window": 100}, 100, True), ({"sliding_window": None}, None, False)],
)
def test_a_window_is_of_all_blocks(given, window, slides):
    config = read_mistral(Fields({"num_hidden_layers": 3, **given}, "config.json"))
    assert config.window == window and config.sliding == (slides,) * 3
    assert (config.heads, config.kv_heads) == (32, 8)


def test_experts_are_stacked_in_their_order(tmp_path):
    write_family(tmp_path, "mixtral")
    found, tensors = parameters(tmp_path), open_tensors(tmp_path)
    for part, path in (("w1", "gate"), ("w2", "down"), ("w3", "up")):
        names = [f"model.layers.1.block_sparse_moe.experts.{i}.{part}.weight" for i in range(5)]
        expected = [tensors[name].read((slice(None), slice(None))) for name in names]
        np.testing.assert_array_equal(found[f"blocks.feed_forward.{path}"], np.stack(expected))


def test_both_tables_fill_the_same_parameters():
    config = read_mixtral(Fields({}, "config.json"))
    paths = [{row.path for row in table(config)} for table in (mixtral_table, fused_mixtral_table)]
    assert paths[0] == paths[1]
    wide = dataclasses.replace(config, experts=3)
    gate, up = (row for row in fused_mixtral_table(wide) if row.name.endswith("gate_up_proj"))
    # [experts, inner, width] each, out of one tensor that is twice as wide inside
    assert gate.shape_in_file((3, 10, 4)) == up.shape_in_file((3, 10, 4)) == (3, 20, 4)


def test_a_token_cannot_go_through_more_experts_than_there_are():
    with pytest.raises(ValueError, match="num_experts_per_tok 3 is more than num_local_experts 2"):
        read_mixtral(Fields({"num_local_experts": 2, "num_experts_per_tok": 3}, "config.json"))


def test_qwen_2_has_biases_where_qwen_3_normalises_heads(tmp_path):
    for kind in ("qwen2", "qwen3"):
        write_family(tmp_path / kind, kind)
    two, three = parameters(tmp_path / "qwen2"), parameters(tmp_path / "qwen3")
    assert two["blocks.attention.key.bias"].shape == (16,) and "blocks.attention.out.bias" not in two
    assert three["blocks.attention.key_norm.scale"].shape == (8,) and "blocks.attention.key.bias" not in three


@pytest.mark.parametrize(
    "given, sliding",
    [
        ({}, (False, False, False)),
        ({"use_sliding_window": True, "max_window_layers": 1}, (False, True, True)),
        ({"use_sliding_window": True, "max_window_layers": 0}, (True, True, True)),
        ({"use_sliding_window": False, "max_window_layers": 1}, (False, False, False)),
        ({"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0}, (False, False, False)),
    ],
)
@pytest.mark.parametrize("read", [read_qwen2, read_qwen3])
def test_windows_begin_at_a_block(read, given, sliding):
    assert read(Fields({"num_hidden_layers": 3, **given}, "config.json")).sliding == sliding


def test_sliding_blocks_without_a_window_are_refused():
    types = {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]}
    with pytest.raises(ValueError, match="'use_sliding_window' or 'sliding_window' gives them no window"):
        read_qwen2(Fields(types, "config.json"))


def test_fused_projections_are_cut_as_hugging_face_cuts_them(tmp_path):
    twin = write_family(tmp_path, "phi3")
    found, x = parameters(tmp_path), some(32)
    block = twin.get_submodule("model.layers.1")
    with torch.no_grad():
        # 4 heads of 8 units, then 2 key-value heads
        theirs = dict(zip(("query", "key", "value"), block.self_attn.qkv_proj(x).split([32, 16, 16], -1), strict=True))
        gate, up = block.mlp.gate_up_proj(x).chunk(2, dim=-1)
    for name, expected in theirs.items():
        np.testing.assert_allclose(applied(found, f"blocks.attention.{name}", x), expected, rtol=1e-5, atol=1e-5)
    for name, expected in (("gate", gate), ("up", up)):
        np.testing.assert_allclose(applied(found, f"blocks.feed_forward.{name}", x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_longrope_has_older_names(kind):
    factors = [1.0 + i / 48 for i in range(48)]
    rope = {"type": kind, "short_factor": factors, "long_factor": [2 * f for f in factors]}
    config = read_phi3(Fields({"rope_scaling": rope, "max_position_embeddings": 131072}, "config.json"))
    assert config.rotary is not None
    assert (config.rotary.scaling, config.rotary.original_length) == ("longrope", 4096)
    assert config.rotary.long_factors[1] == pytest.approx(2 + 2 / 48)


def test_where_norms_are(tmp_path):
    for kind in ("olmo", "olmo2"):
        write_family(tmp_path / kind, kind)
    one, two = parameters(tmp_path / "olmo"), parameters(tmp_path / "olmo2")
    assert not [path for path in one if "norm" in path]
    norms = {"final_norm", *(f"blocks.{name}" for name in ("post_norm1", "post_norm2"))}
    norms |= {f"blocks.attention.{name}_norm" for name in ("query", "key")}
    assert {path.removesuffix(".scale") for path in two if "norm" in path} == norms
    # all heads together: 4 of queries and 2 of keys, 8 units each
    assert two["blocks.attention.query_norm.scale"].shape == (32,)
    assert two["blocks.attention.key_norm.scale"].shape == (16,)


def test_clipping_is_read():
    assert read_olmo(Fields({"clip_qkv": 8.0}, "config.json")).qkv_clip == 8.0
    assert read_olmo(Fields({"clip_qkv": None}, "config.json")).qkv_clip is None
