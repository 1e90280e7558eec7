"""The LLaMA family as Hugging Face stores it, and families with its layout: Mistral, Mixtral, Qwen, Phi-3, OLMo.

LLaMA: Touvron et al., arXiv:2302.13971; also LLaMA 2 and 3, OpenLLaMA and SmolLM.
"""

from typing import Any

from vla.models.families.family import Family, read_causal, share_of_heads
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.network_config import DecoderConfig
from vla.models.tensor import Row, linear, rms_norm

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
      ValueError: A size that is missing, invalid or inconsistent with the others.
    """
    fields.ignore("attention_dropout", "pretraining_tp")
    width, heads = fields.integer("hidden_size", width), fields.integer("num_attention_heads", heads)
    head_width = fields.integer("head_dim", head_width) or share_of_heads(fields, width, heads)
    kv_heads = fields.integer("num_key_value_heads", fields.or_null("num_key_value_heads", kv_heads)) or heads
    assert kv_heads is not None
    if heads % kv_heads:
        raise ValueError(
            f"{fields.where}: num_attention_heads {heads} does not divide by num_key_value_heads {kv_heads}"
        )
    return {
        "width": width,
        "depth": fields.integer("num_hidden_layers", depth),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "inner": fields.integer("intermediate_size", inner),
        "vocabulary": fields.integer("vocab_size", vocabulary),
        "length": fields.integer("max_position_embeddings", length),
        "causal": read_causal(fields),
    }


def read_sliding(fields: Fields, depth: int, default: tuple[bool, ...]) -> tuple[bool, ...]:
    """Read `layer_types`: which blocks attend to a window only.

    Raises:
      ValueError: An unknown type, or another number of them than blocks.
    """
    types = fields.choices("layer_types", _LAYER_TYPES, None)
    if types is None:
        return default
    if len(types) != depth:
        raise ValueError(f"{fields.where}: 'layer_types' has {len(types)} entries; expected {depth}, one per block")
    return tuple(name == "sliding_attention" for name in types)


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
    """The weights of LLaMA."""
    return (
        Row("embed_tokens.weight", "embedding"),
        *attention_rows(config),
        *feed_forward_rows(config),
        *norm_rows(),
    )


def _config(fields: Fields, shape: dict[str, Any], **options: Any) -> DecoderConfig:
    """The config that all families here share: silu, rotary embedding, and no biases, unless `options` differ."""
    defaults = {
        "nonlinearity": fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        "attention_bias": False,
        "feed_forward_bias": False,
    }
    if "rotary" not in options:
        defaults["rotary"] = read_rotary(fields, length=shape["length"], head_width=shape["head_width"])
    return DecoderConfig(**shape, **{**defaults, **options})


def _all_sliding(window: int | None, shape: dict[str, Any]) -> dict[str, Any]:
    """The fields of DecoderConfig for one window in all blocks; None for no window."""
    return {"window": window, "sliding": (window is not None,) * shape["depth"]}


def read_llama(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` llama; defaults are those of transformers' LlamaConfig."""
    # The first conversions of LLaMA used this name for max_position_embeddings; transformers does not read it.
    fields.ignore("max_sequence_length")
    fields.only("rope_interleaved", False, "units are paired by halves")
    bias = fields.flag("attention_bias", False)
    return _config(
        fields,
        read_shape(fields),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        attention_bias=bias,
        out_bias=bias,
        feed_forward_bias=fields.flag("mlp_bias", False),
    )


# Its tokenizer class is documented to open every text with <s>, as the models were trained, and by default does not.
LLAMA = Family(read_llama, llama_table, PREFIXES, UNUSED, tokenizer="LlamaTokenizer")


def read_mistral(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` mistral; defaults are those of transformers' MistralConfig."""
    shape = read_shape(fields, inner=14336, kv_heads=8, length=4096 * 32)
    window = fields.integer("sliding_window", fields.or_null("sliding_window", 4096))
    epsilon = fields.number("rms_norm_eps", 1e-6)
    return _config(fields, shape, norm_epsilon=epsilon, **_all_sliding(window, shape))


MISTRAL = Family(read_mistral, llama_table, PREFIXES, UNUSED, tokenizer="LlamaTokenizer")


def read_mixtral(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` mixtral; defaults are those of transformers' MixtralConfig."""
    fields.ignore("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")
    shape = read_shape(fields, inner=14336, kv_heads=8, length=4096 * 32)
    experts, per_token = fields.integer("num_local_experts", 8), fields.integer("num_experts_per_tok", 2)
    if per_token > experts:
        raise ValueError(f"{fields.where}: num_experts_per_tok {per_token} is more than num_local_experts {experts}")
    return _config(
        fields,
        shape,
        norm_epsilon=fields.number("rms_norm_eps", 1e-5),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"], theta=1e6),
        experts=experts,
        experts_per_token=per_token,
        **_all_sliding(fields.integer("sliding_window", None), shape),
    )


def _rows_outside_experts(config: DecoderConfig, name: str) -> tuple[Row, ...]:
    return (
        Row("embed_tokens.weight", "embedding"),
        *attention_rows(config),
        Row(f"{name}.gate.weight", "blocks.feed_forward.router.weight"),
        *norm_rows(),
    )


def mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights as published: three tensors per expert."""
    name, path = "layers.{}.block_sparse_moe", "blocks.feed_forward"
    return (
        *_rows_outside_experts(config, name),
        Row(f"{name}.experts.{{expert}}.w1.weight", f"{path}.gate", experts=config.experts),
        Row(f"{name}.experts.{{expert}}.w2.weight", f"{path}.down", experts=config.experts),
        Row(f"{name}.experts.{{expert}}.w3.weight", f"{path}.up", experts=config.experts),
    )


def fused_mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights as transformers 5 holds them in memory: two tensors for all experts."""
    name, path = "layers.{}.mlp", "blocks.feed_forward"
    return (
        *_rows_outside_experts(config, name),
        Row(f"{name}.experts.gate_up_proj", f"{path}.gate", part=(0, 2), axis=1),
        Row(f"{name}.experts.gate_up_proj", f"{path}.up", part=(1, 2), axis=1),
        Row(f"{name}.experts.down_proj", f"{path}.down"),
    )


MIXTRAL = Family(read_mixtral, mixtral_table, PREFIXES, UNUSED, "LlamaTokenizer", other_tables=(fused_mixtral_table,))


def read_qwen2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen2; defaults are those of transformers' Qwen2Config."""
    fields.only("use_mrope", False, "positions are those of text")
    return _read_qwen(fields, head_width=None, attention_bias=True, out_bias=False, qk_norm="")


def read_qwen3(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen3; defaults are those of transformers' Qwen3Config."""
    bias = fields.flag("attention_bias", False)
    return _read_qwen(fields, head_width=128, attention_bias=bias, out_bias=bias, qk_norm="head")


def _read_qwen(fields: Fields, head_width: int | None, **options: Any) -> DecoderConfig:
    shape = read_shape(fields, inner=22016, kv_heads=32, head_width=head_width, vocabulary=151936, length=32768)
    slides = fields.flag("use_sliding_window", False)
    window = fields.integer("sliding_window", fields.or_null("sliding_window", 4096))
    window = window if slides else None
    first = fields.integer("max_window_layers", 28, least=0)
    default = tuple(window is not None and i >= first for i in range(shape["depth"]))
    sliding = read_sliding(fields, shape["depth"], default)
    if any(sliding) and window is None:
        raise ValueError(
            f"{fields.where}: 'layer_types' has sliding blocks, but 'use_sliding_window' or 'sliding_window' gives "
            "them no window"
        )
    epsilon = fields.number("rms_norm_eps", 1e-6)
    return _config(fields, shape, norm_epsilon=epsilon, window=window, sliding=sliding, **options)


QWEN2 = Family(read_qwen2, llama_table, PREFIXES, UNUSED, tokenizer="Qwen2Tokenizer")
QWEN3 = Family(read_qwen3, llama_table, PREFIXES, UNUSED, tokenizer="Qwen2Tokenizer")


# Early configs used these names for longrope.
_PHI3_SCALINGS = {"default": "default", "longrope": "longrope", "su": "longrope", "yarn": "longrope"}


def read_phi3(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` phi3; defaults are those of transformers' Phi3Config."""
    fields.ignore("embd_pdrop", "resid_pdrop", "interpolate_factor", "full_attn_mod")
    for bias in ("attention_bias", "mlp_bias", "lm_head_bias"):
        fields.only(bias, False, "the family has no biases")
    shape = read_shape(fields, width=3072, inner=8192, vocabulary=32064, length=4096)
    rotary = read_rotary(
        fields,
        length=shape["length"],
        head_width=shape["head_width"],
        share=1.0,
        scalings=_PHI3_SCALINGS,
        original_length=fields.integer("original_max_position_embeddings", 4096),
    )
    window = fields.integer("sliding_window", None)
    epsilon = fields.number("rms_norm_eps", 1e-5)
    return _config(fields, shape, norm_epsilon=epsilon, rotary=rotary, **_all_sliding(window, shape))


def phi3_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights: queries, keys and values in one tensor, gate and up in another."""
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
    # The epsilon of its norms is a constant in the code of transformers.
    return _read_olmo(fields, norm="layer_unlearned", norm_epsilon=1e-5, qkv_clip=clip)


def read_olmo2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` olmo2; defaults are those of transformers' Olmo2Config."""
    epsilon = fields.number("rms_norm_eps", 1e-5)
    return _read_olmo(fields, norm="rms_wide", norm_epsilon=epsilon, pre_norm=False, post_norm=True, qk_norm="width")


def _read_olmo(fields: Fields, **options: Any) -> DecoderConfig:
    bias = fields.flag("attention_bias", False)
    return _config(fields, read_shape(fields, vocabulary=50304), attention_bias=bias, out_bias=bias, **options)


def olmo_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights of OLMo, whose norms have none."""
    return (Row("embed_tokens.weight", "embedding"), *attention_rows(config), *feed_forward_rows(config))


def olmo2_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights of OLMo 2."""
    return (
        *olmo_table(config),
        rms_norm("layers.{}.post_attention_layernorm", "blocks.post_norm1"),
        rms_norm("layers.{}.post_feedforward_layernorm", "blocks.post_norm2"),
        rms_norm("norm", "final_norm"),
    )


OLMO = Family(read_olmo, olmo_table, PREFIXES, UNUSED, tokenizer="")
OLMO2 = Family(read_olmo2, olmo2_table, PREFIXES, UNUSED, tokenizer="")
