"""The decoder's config: LLaMA by default, and fit for a key of compiled programs."""

import dataclasses

import jax
import pytest
from flax import nnx
from transformers import LlamaConfig

from vla.models.decoder import Decoder
from vla.models.network_config import DecoderConfig, Rotary

SIZES = {
    "width": 12,
    "depth": 2,
    "heads": 3,
    "kv_heads": 1,
    "head_width": 6,
    "inner": 20,
    "nonlinearity": "silu",
    "norm_epsilon": 1e-6,
    "vocabulary": 30,
    "length": 16,
    "rotary": Rotary(),
    "attention_bias": False,
    "feed_forward_bias": False,
}
CONFIG = DecoderConfig(**SIZES)


def test_the_defaults_are_llamas():
    theirs = LlamaConfig()
    assert CONFIG.out_bias is theirs.attention_bias and CONFIG.gated and CONFIG.norm == "rms" and CONFIG.pre_norm
    assert not (CONFIG.alibi or CONFIG.learned_positions or CONFIG.parallel or CONFIG.post_norm or CONFIG.experts)
    assert CONFIG.embedding_scale == 1 and CONFIG.window is CONFIG.score_cap is CONFIG.attention_scale is None


def test_equal_configs_are_one_key():
    assert hash(CONFIG) == hash(DecoderConfig(**SIZES)) and CONFIG == DecoderConfig(**SIZES)
    assert CONFIG != dataclasses.replace(CONFIG, alibi=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIG.width = 13  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes, path, shape",
    [
        ({}, "blocks.attention.query.weight", (2, 18, 12)),
        ({}, "blocks.attention.key.weight", (2, 6, 12)),
        ({"kv_heads": 3}, "blocks.attention.key.weight", (2, 18, 12)),
        ({"learned_positions": True}, "positions", (16, 12)),
        ({"attention_bias": True}, "blocks.attention.value.bias", (2, 6)),
        ({"out_bias": True}, "blocks.attention.out.bias", (2, 12)),
        ({"qk_norm": "head"}, "blocks.attention.query_norm.scale", (2, 6)),
        ({"qk_norm": "width"}, "blocks.attention.query_norm.scale", (2, 18)),
        ({"experts": 4, "experts_per_token": 2}, "blocks.feed_forward.up", (2, 4, 20, 12)),
        ({"embedding_norm": True}, "embedding_norm.scale", (12,)),
        ({"post_norm": True}, "blocks.post_norm2.scale", (2, 12)),
    ],
)
def test_what_a_field_adds_has_its_shape(changes, path, shape):
    config = dataclasses.replace(CONFIG, **changes)
    network = jax.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0)))
    shapes = {".".join(map(str, at)): leaf.get_value().shape for at, leaf in nnx.to_flat_state(nnx.split(network)[1])}
    assert shapes[path] == shape
