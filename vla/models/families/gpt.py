"""GPT-2, GPT-NeoX (Pythia) and BLOOM: decoders with layer norms and biases.

GPT-2: learned positions, weights stored input by output (Radford et al., 2019). GPT-NeoX and Pythia: attention and
feed-forward network side by side (arXiv:2204.06745, arXiv:2304.01373). BLOOM: ALiBi, and a norm on the embeddings
(arXiv:2211.05100, arXiv:2211.01786).
"""

from vla.models.families.family import CLASSIC, Family, read_causal, share_of_heads
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.network_config import DecoderConfig
from vla.models.tensor import Row, layer_norm, linear


def read_gpt2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gpt2; defaults are those of transformers' GPT2Config."""
    fields.ignore("attn_pdrop", "embd_pdrop", "resid_pdrop")
    fields.ignore("n_ctx", "n_special", "predict_special_tokens")
    fields.ignore("summary_activation", "summary_first_dropout", "summary_proj_to_labels")
    fields.ignore("summary_type", "summary_use_proj")
    # Scores are in float32 here anyway.
    fields.ignore("reorder_and_upcast_attn")
    width, heads = fields.integer("n_embd", 768), fields.integer("n_head", 12)
    return DecoderConfig(
        width=width,
        depth=fields.integer("n_layer", 12),
        heads=heads,
        kv_heads=heads,
        head_width=share_of_heads(fields, width, heads),
        inner=fields.integer("n_inner", None) or 4 * width,
        nonlinearity=fields.choice("activation_function", tuple(NONLINEARITIES), "gelu_new"),
        norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        vocabulary=fields.integer("vocab_size", 50257),
        length=fields.integer("n_positions", 1024),
        learned_positions=True,
        attention_scale=None if fields.flag("scale_attn_weights", True) else 1.0,
        scale_by_block=fields.flag("scale_attn_by_inverse_layer_idx", False),
        causal=read_causal(fields),
        **CLASSIC,
    )


def gpt2_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights; queries, keys and values are in one tensor, side by side."""
    names, fused = "h.{}", "h.{}.attn.c_attn"
    return (
        Row("wte.weight", "embedding"),
        Row("wpe.weight", "positions"),
        *layer_norm(f"{names}.ln_1", "blocks.norm1"),
        *linear(fused, "blocks.attention.query", True, part=(0, 3), transposed=True),
        *linear(fused, "blocks.attention.key", True, part=(1, 3), transposed=True),
        *linear(fused, "blocks.attention.value", True, part=(2, 3), transposed=True),
        *linear(f"{names}.attn.c_proj", "blocks.attention.out", True, transposed=True),
        *layer_norm(f"{names}.ln_2", "blocks.norm2"),
        *linear(f"{names}.mlp.c_fc", "blocks.feed_forward.up", True, transposed=True),
        *linear(f"{names}.mlp.c_proj", "blocks.feed_forward.down", True, transposed=True),
        *layer_norm("ln_f", "final_norm"),
    )


GPT2 = Family(
    read=read_gpt2,
    table=gpt2_table,
    prefixes=("", "transformer."),
    unused=(r"(lm_head|score)\.weight", r"h\.(?P<block>\d+)\.attn\.(bias|masked_bias)"),
    tokenizer="GPT2Tokenizer",
)


def read_gpt_neox(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gpt_neox; defaults are those of transformers' GPTNeoXConfig."""
    fields.ignore("attention_dropout", "attention_probs_dropout_prob", "classifier_dropout")
    fields.ignore("hidden_dropout", "hidden_dropout_prob")
    width, heads = fields.integer("hidden_size", 6144), fields.integer("num_attention_heads", 64)
    length, head_width = fields.integer("max_position_embeddings", 2048), share_of_heads(fields, width, heads)
    bias = fields.flag("attention_bias", True)
    theta, share = fields.number("rotary_emb_base", 10_000.0), fields.number("rotary_pct", 0.25)
    rotary = read_rotary(fields, length=length, head_width=head_width, theta=theta, share=share)
    return DecoderConfig(
        width=width,
        depth=fields.integer("num_hidden_layers", 44),
        heads=heads,
        kv_heads=heads,
        head_width=head_width,
        inner=fields.integer("intermediate_size", 24576),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "gelu"),
        norm_epsilon=fields.number("layer_norm_eps", 1e-5),
        vocabulary=fields.integer("vocab_size", 50432),
        length=length,
        parallel=fields.flag("use_parallel_residual", True),
        causal=read_causal(fields),
        **{**CLASSIC, "rotary": rotary, "attention_bias": bias, "out_bias": bias},
    )


def gpt_neox_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights; queries, keys and values are in one tensor, head by head."""
    names, fused = "layers.{}", "layers.{}.attention.query_key_value"
    bias, heads = config.attention_bias, config.heads
    return (
        Row("embed_in.weight", "embedding"),
        *layer_norm(f"{names}.input_layernorm", "blocks.norm1"),
        *linear(fused, "blocks.attention.query", bias, part=(0, 3), heads=heads),
        *linear(fused, "blocks.attention.key", bias, part=(1, 3), heads=heads),
        *linear(fused, "blocks.attention.value", bias, part=(2, 3), heads=heads),
        *linear(f"{names}.attention.dense", "blocks.attention.out", config.out_bias),
        *layer_norm(f"{names}.post_attention_layernorm", "blocks.norm2"),
        *linear(f"{names}.mlp.dense_h_to_4h", "blocks.feed_forward.up", True),
        *linear(f"{names}.mlp.dense_4h_to_h", "blocks.feed_forward.down", True),
        *layer_norm("final_layer_norm", "final_norm"),
    )


GPT_NEOX = Family(
    read=read_gpt_neox,
    table=gpt_neox_table,
    prefixes=("", "gpt_neox."),
    unused=(
        r"(embed_out|lm_head|score)\.weight",
        r"layers\.(?P<block>\d+)\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
        r"rotary_emb\.inv_freq",
    ),
    tokenizer="",
)


def read_bloom(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` bloom; defaults are those of transformers' BloomConfig."""
    fields.ignore("attention_dropout", "hidden_dropout", "pretraining_tp", "slow_but_exact", "unk_token_id")
    # Fields of the training code in published configs.
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
        vocabulary=fields.integer("vocab_size", 250880),
        # ALiBi has no limit; this is the length of training.
        length=fields.integer("seq_length", 2048),
        alibi=True,
        embedding_norm=True,
        residual_of_norm=fields.flag("apply_residual_connection_post_layernorm", False),
        causal=read_causal(fields),
        **CLASSIC,
    )


def _either(fields: Fields, name: str, other: str, default: int) -> int:
    """An integer under one of its two names."""
    value, same = fields.integer(name, None), fields.integer(other, None)
    if value is not None and same is not None and value != same:
        raise ValueError(f"{fields.where}: {name!r} is {value} and {other!r} is {same}; they mean the same")
    return value or same or default


def bloom_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights; queries, keys and values are in one tensor, head by head."""
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
