"""Phi-3: LLaMA with fused projections and frequencies that change with the caption's length (arXiv:2404.14219)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row
from vla.models.families.llama_layout import PREFIXES, UNUSED, norm_rows, read_shape
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES

# Early configs called longrope by these names.
_ROPE_KINDS = {"default": "default", "longrope": "longrope", "su": "longrope", "yarn": "longrope"}


def read_phi3(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` phi3; defaults are those of transformers' Phi3Config."""
    fields.ignore("embd_pdrop", "resid_pdrop", "interpolate_factor", "full_attn_mod")
    for bias in ("attention_bias", "mlp_bias", "lm_head_bias"):
        fields.only(bias, False, "the family has no biases")
    shape = read_shape(fields, width=3072, inner=8192, vocabulary=32064, length=4096)
    window = fields.whole("sliding_window", None)
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-5),
        rotary=read_rotary(
            fields,
            length=shape["length"],
            head_width=shape["head_width"],
            share=1.0,
            kinds=_ROPE_KINDS,
            original_length=fields.whole("original_max_position_embeddings", 4096),
        ),
        attention_bias=False,
        feed_forward_bias=False,
        window=window,
        sliding=(window is not None,) * shape["depth"],
    )


def phi3_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go: queries, keys and values in one tensor, gate and up in another."""
    attention, feed_forward = "layers.{}.self_attn", "layers.{}.mlp"
    shares = (config.heads, config.kv_heads, config.kv_heads)
    fused = f"{attention}.qkv_proj.weight"
    return (
        Row("embed_tokens.weight", "embedding"),
        Row(fused, "blocks.attention.query.weight", part=(0, 3), shares=shares),
        Row(fused, "blocks.attention.key.weight", part=(1, 3), shares=shares),
        Row(fused, "blocks.attention.value.weight", part=(2, 3), shares=shares),
        Row(f"{attention}.o_proj.weight", "blocks.attention.out.weight"),
        Row(f"{feed_forward}.gate_up_proj.weight", "blocks.feed_forward.gate.weight", part=(0, 2)),
        Row(f"{feed_forward}.gate_up_proj.weight", "blocks.feed_forward.up.weight", part=(1, 2)),
        Row(f"{feed_forward}.down_proj.weight", "blocks.feed_forward.down.weight"),
        *norm_rows(),
    )


PHI3 = Family(read_phi3, phi3_table, PREFIXES, UNUSED, tokenizer="LlamaTokenizer")
