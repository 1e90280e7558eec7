"""OLMo, whose norms have no parameters, and OLMo 2, whose norms stand after its branches.

OLMo: Groeneveld et al., arXiv:2402.00838; OLMo 2: arXiv:2501.00656.
"""

from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row
from vla.models.families.llama_layout import PREFIXES, UNUSED, attention_rows, feed_forward_rows, read_shape, rms_norm
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES


def read_olmo(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` olmo; defaults are those of transformers' OlmoConfig."""
    clip = fields.number("clip_qkv", None)
    # The epsilon of its norms is a constant of the code.
    return _read(fields, norm="layer_unlearned", norm_epsilon=1e-5, qkv_clip=clip)


def read_olmo2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` olmo2; defaults are those of transformers' Olmo2Config."""
    epsilon = fields.number("rms_norm_eps", 1e-5)
    return _read(fields, norm="rms_wide", norm_epsilon=epsilon, pre_norm=False, post_norm=True, qk_norm="width")


def _read(fields: Fields, **differences: Any) -> DecoderConfig:
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
