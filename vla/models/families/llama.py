"""The LLaMA family as Hugging Face stores it: LLaMA 1 to 3, OpenLLaMA, SmolLM (Touvron et al., arXiv:2302.13971)."""

from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row, linear
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES

PREFIXES = ("", "model.")
# Heads, and buffers that old versions of transformers saved.
UNUSED = (r"lm_head\.weight", r"score\.weight", r"(layers\.(?P<block>\d+)\.self_attn\.)?rotary_emb\.inv_freq")

_LAYER_TYPES = ("full_attention", "sliding_attention")


def read_shape(
    fields: Fields,
    *,
    width: int = 4096,
    inner: int = 11008,
    depth: int = 32,
    heads: int = 32,
    kv_heads: int | None = None,
    head_width: int | None = None,
    vocabulary: int = 32000,
    length: int = 2048,
) -> dict[str, Any]:
    """Read the sizes of the network; defaults are those of the family's config class in transformers.

    Returns:
      Arguments of DecoderConfig: width, depth, heads, kv_heads, head_width, inner, vocabulary, length, causal.

    Raises:
      ValueError: Sizes that are missing, of another kind or at odds with one another.
    """
    fields.ignore("attention_dropout", "pretraining_tp")
    width, heads = fields.whole("hidden_size", width), fields.whole("num_attention_heads", heads)
    head_width = fields.whole("head_dim", head_width) or share_of_heads(fields, width, heads)
    kv_heads = fields.whole("num_key_value_heads", fields.or_null("num_key_value_heads", kv_heads)) or heads
    assert kv_heads is not None
    if heads % kv_heads:
        raise ValueError(
            f"{fields.where}: num_attention_heads {heads} does not divide by num_key_value_heads {kv_heads}"
        )
    return {
        "width": width,
        "depth": fields.whole("num_hidden_layers", depth),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "inner": fields.whole("intermediate_size", inner),
        "vocabulary": fields.whole("vocab_size", vocabulary),
        "length": fields.whole("max_position_embeddings", length),
        "causal": read_causal(fields),
    }


def read_causal(fields: Fields) -> bool:
    """Read `is_causal`, which no config class declares and Hugging Face's masks of all decoders obey.

    Without a causal mask their sliding windows reach as far to either side, `sliding_window` included: this is how
    `DecoderConfig.window` counts too.
    """
    return fields.flag("is_causal", None) is not False


def share_of_heads(fields: Fields, width: int, heads: int) -> int:
    """Units per head where heads share the width.

    Raises:
      ValueError: It does not divide.
    """
    if width % heads:
        raise ValueError(f"{fields.where}: hidden_size {width} does not divide by num_attention_heads {heads}")
    return width // heads


def read_sliding(fields: Fields, depth: int, default: tuple[bool, ...]) -> tuple[bool, ...]:
    """Read `layer_types`: which blocks see a window only.

    Raises:
      ValueError: An unknown type, or not one per block.
    """
    types = fields.choices("layer_types", _LAYER_TYPES, None)
    if types is None:
        return default
    if len(types) != depth:
        raise ValueError(f"{fields.where}: 'layer_types' has {len(types)} entries; expected {depth}, one per block")
    return tuple(name == "sliding_attention" for name in types)


def rms_norm(name: str, path: str) -> Row:
    """The row of a norm without bias."""
    return Row(f"{name}.weight", f"{path}.scale")


def attention_rows(config: DecoderConfig) -> tuple[Row, ...]:
    """The rows of attention in every block."""
    name, path, bias = "layers.{}.self_attn", "blocks.attention", config.attention_bias
    norms = (
        (rms_norm(f"{name}.q_norm", f"{path}.query_norm"), rms_norm(f"{name}.k_norm", f"{path}.key_norm"))
        if config.qk_norm
        else ()
    )
    return (
        *linear(f"{name}.q_proj", f"{path}.query", bias),
        *linear(f"{name}.k_proj", f"{path}.key", bias),
        *linear(f"{name}.v_proj", f"{path}.value", bias),
        *linear(f"{name}.o_proj", f"{path}.out", config.out_bias),
        *norms,
    )


def feed_forward_rows(config: DecoderConfig) -> tuple[Row, ...]:
    """The rows of the gated feed-forward network in every block."""
    name, path, bias = "layers.{}.mlp", "blocks.feed_forward", config.feed_forward_bias
    return (
        *linear(f"{name}.gate_proj", f"{path}.gate", bias),
        *linear(f"{name}.up_proj", f"{path}.up", bias),
        *linear(f"{name}.down_proj", f"{path}.down", bias),
    )


def norm_rows() -> tuple[Row, ...]:
    """The rows of the norms before attention, before the feed-forward network and after the last block."""
    return (
        rms_norm("layers.{}.input_layernorm", "blocks.norm1"),
        rms_norm("layers.{}.post_attention_layernorm", "blocks.norm2"),
        rms_norm("norm", "final_norm"),
    )


def llama_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    return (
        Row("embed_tokens.weight", "embedding"),
        *attention_rows(config),
        *feed_forward_rows(config),
        *norm_rows(),
    )


def read_llama(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` llama; defaults are those of transformers' LlamaConfig."""
    # The first conversions of LLaMA called max_position_embeddings so; transformers does not read it.
    fields.ignore("max_sequence_length")
    fields.only("rope_interleaved", False, "units are paired by halves")
    shape = read_shape(fields)
    attention_bias = fields.flag("attention_bias", False)
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"]),
        attention_bias=attention_bias,
        out_bias=attention_bias,
        feed_forward_bias=fields.flag("mlp_bias", False),
    )


LLAMA = Family(
    read=read_llama,
    table=llama_table,
    prefixes=PREFIXES,
    unused=UNUSED,
    # The class documents that it opens every text with <s>, as the models were trained, and unless told does not.
    tokenizer="LlamaTokenizer",
)


def read_mistral(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` mistral; defaults are those of transformers' MistralConfig."""
    shape = read_shape(fields, inner=14336, kv_heads=8, length=4096 * 32)
    window = fields.whole("sliding_window", fields.or_null("sliding_window", 4096))
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"]),
        attention_bias=False,
        feed_forward_bias=False,
        window=window,
        sliding=(window is not None,) * shape["depth"],
    )


MISTRAL = Family(
    read=read_mistral,
    table=llama_table,
    prefixes=PREFIXES,
    unused=UNUSED,
    tokenizer="LlamaTokenizer",
)


def read_mixtral(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` mixtral; defaults are those of transformers' MixtralConfig."""
    fields.ignore("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")
    shape = read_shape(fields, inner=14336, kv_heads=8, length=4096 * 32)
    window = fields.whole("sliding_window", None)
    experts, per_token = fields.whole("num_local_experts", 8), fields.whole("num_experts_per_tok", 2)
    if per_token > experts:
        raise ValueError(f"{fields.where}: num_experts_per_tok {per_token} is more than num_local_experts {experts}")
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-5),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"], theta=1e6),
        attention_bias=False,
        feed_forward_bias=False,
        window=window,
        sliding=(window is not None,) * shape["depth"],
        experts=experts,
        experts_per_token=per_token,
    )


def mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names as published: three tensors per expert."""
    names, path = "layers.{}.block_sparse_moe", "blocks.feed_forward"
    return (
        *_outside_experts(config, names),
        Row(f"{names}.experts.{{expert}}.w1.weight", f"{path}.gate", experts=config.experts),
        Row(f"{names}.experts.{{expert}}.w2.weight", f"{path}.down", experts=config.experts),
        Row(f"{names}.experts.{{expert}}.w3.weight", f"{path}.up", experts=config.experts),
    )


def fused_mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names as transformers 5 holds them in memory: two tensors for all experts."""
    names, path = "layers.{}.mlp", "blocks.feed_forward"
    return (
        *_outside_experts(config, names),
        Row(f"{names}.experts.gate_up_proj", f"{path}.gate", part=(0, 2), axis=1),
        Row(f"{names}.experts.gate_up_proj", f"{path}.up", part=(1, 2), axis=1),
        Row(f"{names}.experts.down_proj", f"{path}.down"),
    )


def _outside_experts(config: DecoderConfig, names: str) -> tuple[Row, ...]:
    return (
        Row("embed_tokens.weight", "embedding"),
        *attention_rows(config),
        Row(f"{names}.gate.weight", "blocks.feed_forward.router.weight"),
        *norm_rows(),
    )


MIXTRAL = Family(
    read=read_mixtral,
    table=mixtral_table,
    prefixes=PREFIXES,
    unused=UNUSED,
    tokenizer="LlamaTokenizer",
    other_tables=(fused_mixtral_table,),
)


def read_qwen2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen2; defaults are those of transformers' Qwen2Config."""
    fields.only("use_mrope", False, "positions are those of text")
    return _read_qwen(fields, head_width=None, attention_bias=True, out_bias=False, qk_norm="")


def read_qwen3(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen3; defaults are those of transformers' Qwen3Config."""
    bias = fields.flag("attention_bias", False)
    return _read_qwen(fields, head_width=128, attention_bias=bias, out_bias=bias, qk_norm="head")


def _read_qwen(fields: Fields, head_width: int | None, **differences: Any) -> DecoderConfig:
    shape = read_shape(fields, inner=22016, kv_heads=32, head_width=head_width, vocabulary=151936, length=32768)
    depth = shape["depth"]
    slides = fields.flag("use_sliding_window", False)
    window = fields.whole("sliding_window", fields.or_null("sliding_window", 4096))
    first = fields.whole("max_window_layers", 28, least=0)
    window = window if slides else None
    default = tuple(window is not None and i >= first for i in range(depth))
    sliding = read_sliding(fields, depth, default)
    if any(sliding) and window is None:
        raise ValueError(
            f"{fields.where}: 'layer_types' has sliding blocks, but 'use_sliding_window' or 'sliding_window' gives "
            "them no window"
        )
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"]),
        feed_forward_bias=False,
        window=window,
        sliding=sliding,
        **differences,
    )


QWEN2 = Family(read_qwen2, llama_table, PREFIXES, UNUSED, tokenizer="Qwen2Tokenizer")
QWEN3 = Family(read_qwen3, llama_table, PREFIXES, UNUSED, tokenizer="Qwen2Tokenizer")


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


def read_olmo(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` olmo; defaults are those of transformers' OlmoConfig."""
    clip = fields.number("clip_qkv", None)
    # The epsilon of its norms is a constant of the code.
    return _read_olmo(fields, norm="layer_unlearned", norm_epsilon=1e-5, qkv_clip=clip)


def read_olmo2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` olmo2; defaults are those of transformers' Olmo2Config."""
    epsilon = fields.number("rms_norm_eps", 1e-5)
    return _read_olmo(fields, norm="rms_wide", norm_epsilon=epsilon, pre_norm=False, post_norm=True, qk_norm="width")


def _read_olmo(fields: Fields, **differences: Any) -> DecoderConfig:
    shape = read_shape(fields, vocabulary=50304)
    bias = fields.flag("attention_bias", False)
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"]),
        attention_bias=bias,
        out_bias=bias,
        feed_forward_bias=False,
        **differences,
    )


def olmo_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    return (Row("embed_tokens.weight", "embedding"), *attention_rows(config), *feed_forward_rows(config))


def olmo2_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    return (
        *olmo_table(config),
        rms_norm("layers.{}.post_attention_layernorm", "blocks.post_norm1"),
        rms_norm("layers.{}.post_feedforward_layernorm", "blocks.post_norm2"),
        rms_norm("norm", "final_norm"),
    )


OLMO = Family(read_olmo, olmo_table, PREFIXES, UNUSED, tokenizer="")
OLMO2 = Family(read_olmo2, olmo2_table, PREFIXES, UNUSED, tokenizer="")
