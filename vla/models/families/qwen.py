"""Qwen 2, 2.5 and 3: LLaMA with biases on queries, keys and values, or with norms on queries and keys.

Qwen 2: Yang et al., arXiv:2407.10671; Qwen 3: Yang et al., arXiv:2505.09388.
"""

from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family
from vla.models.families.llama_layout import PREFIXES, UNUSED, llama_table, read_shape, read_sliding
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES


def read_qwen2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen2; defaults are those of transformers' Qwen2Config."""
    fields.only("use_mrope", False, "positions are those of text")
    return _read(fields, head_width=None, attention_bias=True, out_bias=False, qk_norm="")


def read_qwen3(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` qwen3; defaults are those of transformers' Qwen3Config."""
    bias = fields.flag("attention_bias", False)
    return _read(fields, head_width=128, attention_bias=bias, out_bias=bias, qk_norm="head")


def _read(fields: Fields, head_width: int | None, **differences: Any) -> DecoderConfig:
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
