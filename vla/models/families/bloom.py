"""BLOOM and BLOOMZ: scores that fall with distance, and a norm on the embeddings (arXiv:2211.05100, 2211.01786)."""

from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.llama import read_causal, share_of_heads
from vla.models.fields import Fields


def read_bloom(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` bloom; defaults are those of transformers' BloomConfig."""
    fields.ignore("attention_dropout", "hidden_dropout", "pretraining_tp", "slow_but_exact", "unk_token_id")
    # Of the training code, in published configs.
    fields.ignore("attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion", "offset_alibi")
    fields.ignore("skip_bias_add", "skip_bias_add_qkv")
    fields.only("n_inner", None, "the inner layer is four times as wide as the network")
    width = _either(fields, "n_embed", "hidden_size", 64)
    heads = _either(fields, "n_head", "num_attention_heads", 8)
    return DecoderConfig(
        width=width,
        depth=_either(fields, "n_layer", "num_hidden_layers", 2),
        heads=heads,
        kv_heads=heads,
        head_width=share_of_heads(fields, width, heads),
        inner=4 * width,
        nonlinearity="gelu_new",
        norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        vocabulary=fields.whole("vocab_size", 250880),
        # Scores that fall with distance need no table; this is the length of training.
        length=fields.whole("seq_length", 2048),
        rotary=None,
        attention_bias=True,
        out_bias=True,
        feed_forward_bias=True,
        gated=False,
        norm="layer",
        alibi=True,
        embedding_norm=True,
        residual_of_norm=fields.flag("apply_residual_connection_post_layernorm", False),
        causal=read_causal(fields),
    )


def _either(fields: Fields, name: str, other: str, default: int) -> Any:
    """A whole number under one of its two names."""
    value, same = fields.whole(name, None), fields.whole(other, None)
    if value is not None and same is not None and value != same:
        raise ValueError(f"{fields.where}: {name!r} is {value} and {other!r} is {same}; they mean the same")
    return value or same or default


def bloom_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go; queries, keys and values are in one tensor, head by head."""
    names, fused = "h.{}", "h.{}.self_attention.query_key_value"
    return (
        Row("word_embeddings.weight", "embedding"),
        *layer_norm("word_embeddings_layernorm", "embedding_norm"),
        *layer_norm(f"{names}.input_layernorm", "blocks.norm1"),
        *linear(fused, "blocks.attention.query", True, part=(0, 3), heads=config.heads),
        *linear(fused, "blocks.attention.key", True, part=(1, 3), heads=config.heads),
        *linear(fused, "blocks.attention.value", True, part=(2, 3), heads=config.heads),
        *linear(f"{names}.self_attention.dense", "blocks.attention.out", True),
        *layer_norm(f"{names}.post_attention_layernorm", "blocks.norm2"),
        *linear(f"{names}.mlp.dense_h_to_4h", "blocks.feed_forward.up", True),
        *linear(f"{names}.mlp.dense_4h_to_h", "blocks.feed_forward.down", True),
        *layer_norm("ln_f", "final_norm"),
    )


BLOOM = Family(
    read=read_bloom,
    table=bloom_table,
    prefixes=("", "transformer."),
    unused=(r"(lm_head|score)\.weight",),
    tokenizer="",
)
