"""Names and sizes that LLaMA's descendants share."""

import numpy as np
import pytest

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.families.llama_layout import read_shape, read_sliding
from vla.models.fields import Fields


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
