"""Gemma 1, 2 and the text model of Gemma 3; the later ones have post-norms and blocks with sliding windows.

Gemma: arXiv:2403.08295; Gemma 2: arXiv:2408.00118; Gemma 3: arXiv:2503.19786.
"""

import dataclasses
from typing import Any

from vla.models.families.family import Family
from vla.models.families.llama import (
    PREFIXES,
    UNUSED,
    attention_rows,
    feed_forward_rows,
    llama_table,
    read_shape,
    read_sliding,
)
from vla.models.families.rope import SCALINGS, read_rope, read_rotary
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.network_config import DecoderConfig, Rotary
from vla.models.tensor import Row, rms_norm

_TANH = "gelu_pytorch_tanh"


def read_gemma(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gemma; defaults are those of transformers' GemmaConfig."""
    shape = read_shape(
        fields,
        width=3072,
        inner=24576,
        depth=28,
        heads=16,
        kv_heads=16,
        head_width=256,
        vocabulary=256_000,
        length=8192,
    )
    _refuse_bidirectional(fields)
    rotary = read_rotary(fields, length=shape["length"], head_width=shape["head_width"])
    return _config(fields, shape, nonlinearity=_read_nonlinearity(fields), rotary=rotary)


def read_gemma2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gemma2; defaults are those of transformers' Gemma2Config."""
    shape = _read_later_shape(fields, vocabulary=256_000, length=8192)
    _refuse_bidirectional(fields)
    # Published beside sliding_window, which is what transformers reads.
    fields.ignore("sliding_window_size")
    cap = fields.number("attn_logit_softcapping", fields.or_null("attn_logit_softcapping", 50.0))
    rotary = read_rotary(fields, length=shape["length"], head_width=shape["head_width"])
    return _later_config(fields, shape, every=2, rotary=rotary, score_cap=cap)


def read_gemma3_text(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gemma3_text; defaults are those of transformers' Gemma3TextConfig."""
    fields.only("attn_logit_softcapping", None, "the family does not cap scores")
    shape = _read_later_shape(fields, vocabulary=262_208, length=131_072)
    every = fields.integer("sliding_window_pattern", fields.integer("_sliding_window_pattern", 6))
    full, local = _read_rotaries(fields, shape)
    both_sides = bool(fields.flag("use_bidirectional_attention", None))
    if both_sides and not shape["causal"]:
        raise ValueError(
            f"{fields.where}: 'use_bidirectional_attention' is True and 'is_causal' is False, which mean windows of "
            "different widths; expected one of them"
        )
    config = _later_config(fields, shape, every, rotary=full, local_rotary=local, qk_norm="head")
    if not both_sides:
        return config
    # The published window is the sum of both sides.
    return dataclasses.replace(config, causal=False, window=None if config.window is None else config.window // 2)


def read_gemma3(fields: Fields) -> DecoderConfig:
    """Read the text model of a config with `model_type` gemma3, which also has a vision tower."""
    fields.ignore("vision_config", "mm_tokens_per_image", "projector_hidden_act")
    fields.ignore("boi_token_index", "eoi_token_index", "image_token_index", "image_token_id")
    text = fields.part("text_config")
    if text is None:
        raise ValueError(f"{fields.where} has no 'text_config', which is required (an object)")
    config = read_gemma3_text(text)
    text.finish()
    return config


def _read_nonlinearity(fields: Fields) -> str:
    """The nonlinearity of Gemma 1 under its two names; its configs write "gelu" for the tanh form."""
    known = tuple(NONLINEARITIES)
    new = fields.choice("hidden_activation", known, _TANH) if "hidden_activation" in fields else None
    fields.ignore("hidden_activation")
    old = fields.choice("hidden_act", known, new or _TANH)
    names = {_TANH if name == "gelu" else name for name in (old, new or old)}
    if len(names) > 1:
        raise ValueError(f"{fields.where}: 'hidden_act' is {old!r} and 'hidden_activation' is {new!r}; expected one")
    return names.pop()


def _refuse_bidirectional(fields: Fields) -> None:
    """Refuse a field that Hugging Face's attention implementations interpret differently for Gemma 1 and 2."""
    if fields.flag("use_bidirectional_attention", None):
        raise ValueError(
            f"{fields.where}: 'use_bidirectional_attention' is True, which Hugging Face's code obeys under one "
            'attention implementation and not under another; write "is_causal": false for a model without a causal '
            "mask"
        )


def _read_later_shape(fields: Fields, vocabulary: int, length: int) -> dict[str, Any]:
    """The sizes of Gemma 2 and 3; ignore what their forward pass does not read."""
    # hidden_activation replaces hidden_act; the cap on logits comes after the last layer.
    fields.ignore("hidden_act", "cache_implementation", "final_logit_softcapping")
    return read_shape(
        fields,
        width=2304,
        inner=9216,
        depth=26,
        heads=8,
        kv_heads=4,
        head_width=256,
        vocabulary=vocabulary,
        length=length,
    )


def _read_rotaries(fields: Fields, shape: dict[str, Any]) -> tuple[Rotary, Rotary]:
    """Rotary embedding of the full and of the sliding blocks of Gemma 3.

    transformers 5 has an object for each; transformers 4 has two bases, and an object that scales the full blocks.
    """
    theta, local_theta = fields.number("rope_theta", 1e6), fields.number("rope_local_base_freq", 10_000.0)
    new, old = fields.part("rope_parameters"), fields.part("rope_scaling")
    if new is not None and old is not None:
        raise ValueError(f"{fields.where} has both 'rope_parameters' and 'rope_scaling'; expected one of them")
    full = old if new is None else new.part("full_attention")
    local = None if new is None else new.part("sliding_attention")
    if new is not None:
        new.finish()

    def read(part: Fields | None, theta: float) -> Rotary:
        if part is None:
            return Rotary(theta)
        return read_rope(part, theta, None, SCALINGS, shape["length"], shape["head_width"])

    return read(full, theta), read(local, local_theta)


def _later_config(fields: Fields, shape: dict[str, Any], every: int, **options: Any) -> DecoderConfig:
    """The config of Gemma 2 and 3; without `layer_types`, every `every`-th block is full and the others slide."""
    default = tuple((i + 1) % every != 0 for i in range(shape["depth"]))
    sliding = read_sliding(fields, shape["depth"], default)
    window = fields.integer("sliding_window", fields.or_null("sliding_window", 4096))
    if window is None and any(sliding):
        raise ValueError(f"{fields.where}: 'sliding_window' is None, but some blocks are sliding")
    return _config(
        fields,
        shape,
        nonlinearity=fields.choice("hidden_activation", tuple(NONLINEARITIES), _TANH),
        post_norm=True,
        attention_scale=fields.number("query_pre_attn_scalar", 256) ** -0.5,
        window=window,
        sliding=sliding,
        **options,
    )


def _config(fields: Fields, shape: dict[str, Any], **options: Any) -> DecoderConfig:
    """The config of all versions."""
    bias = fields.flag("attention_bias", False)
    return DecoderConfig(
        **shape,
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        attention_bias=bias,
        out_bias=bias,
        feed_forward_bias=False,
        norm="rms_wide_offset",
        embedding_scale=shape["width"] ** 0.5,
        **options,
    )


def later_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights of Gemma 2 and 3."""
    names = "layers.{}"
    return (
        Row("embed_tokens.weight", "embedding"),
        rms_norm(f"{names}.input_layernorm", "blocks.norm1"),
        *attention_rows(config),
        rms_norm(f"{names}.post_attention_layernorm", "blocks.post_norm1"),
        rms_norm(f"{names}.pre_feedforward_layernorm", "blocks.norm2"),
        *feed_forward_rows(config),
        rms_norm(f"{names}.post_feedforward_layernorm", "blocks.post_norm2"),
        rms_norm("norm", "final_norm"),
    )


_TOKENIZER = "GemmaTokenizer"

GEMMA = Family(read_gemma, llama_table, PREFIXES, UNUSED, tokenizer=_TOKENIZER)
GEMMA2 = Family(read_gemma2, later_table, PREFIXES, UNUSED, tokenizer=_TOKENIZER)
GEMMA3_TEXT = Family(read_gemma3_text, later_table, PREFIXES, UNUSED, tokenizer=_TOKENIZER)
GEMMA3 = Family(
    read_gemma3,
    later_table,
    # As published, and as transformers 5 saves it.
    prefixes=("language_model.model.", "model.language_model.", "language_model.", ""),
    unused=(
        r"(model\.)?(vision_tower|multi_modal_projector)\..*",
        r"(language_model\.)?lm_head\.weight",
    ),
    tokenizer=_TOKENIZER,
)
