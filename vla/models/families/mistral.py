"""Mistral: LLaMA whose every block sees a window of the caption (Jiang et al., arXiv:2310.06825)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family
from vla.models.families.llama_layout import PREFIXES, UNUSED, llama_table, read_shape
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES


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
