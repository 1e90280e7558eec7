"""The LLaMA family as Hugging Face stores it: LLaMA 1 to 3, OpenLLaMA, SmolLM (Touvron et al., arXiv:2302.13971)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family
from vla.models.families.llama_layout import PREFIXES, UNUSED, llama_table, read_shape
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES


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
