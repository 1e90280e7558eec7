"""The LLaMA family as Hugging Face stores it: LLaMA 1 to 3, OpenLLaMA, SmolLM (Touvron et al., arXiv:2302.13971)."""

from vla.models.decoder import DecoderConfig
from vla.models.families.family import Family, Row, linear
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES
from vla.models.rotary import Rotary

_ROPE_KINDS = ("default", "linear", "llama3")


def read_rotary(fields: Fields, length: int) -> Rotary:
    """Read `rope_parameters` (transformers 5), or `rope_scaling` and `rope_theta` (transformers 4).

    Args:
      fields: The fields of the model's config.
      length: `max_position_embeddings`, in tokens.

    Raises:
      ValueError: Both forms at once, an unknown kind, a field of the kind that is missing or makes no sense.
    """
    theta = fields.number("rope_theta", 10_000.0)
    new, old = fields.part("rope_parameters"), fields.part("rope_scaling")
    if new is not None and old is not None:
        raise ValueError(f"{fields.where} has both 'rope_parameters' and 'rope_scaling'; expected one of them")
    rope = new or old
    if rope is None:
        return Rotary(theta)
    theta = rope.number("rope_theta", theta)
    rope.only("partial_rotary_factor", 1.0, "the family turns every unit of a head")
    legacy = rope.choice("type", _ROPE_KINDS, "default")
    kind = rope.choice("rope_type", _ROPE_KINDS, legacy)
    if kind == "default":
        rotary = Rotary(theta)
    elif kind == "linear":
        rotary = Rotary(theta, kind, rope.number("factor"))
    else:
        low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
        if low >= high:
            raise ValueError(f"{rope.where}: low_freq_factor {low} must be below high_freq_factor {high}")
        original = rope.whole("original_max_position_embeddings", length)
        rotary = Rotary(theta, kind, rope.number("factor"), low, high, original)
    rope.finish()
    return rotary


def read_llama(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` llama; defaults are those of transformers' LlamaConfig."""
    fields.ignore("attention_dropout", "pretraining_tp")
    fields.only("rope_interleaved", False, "units are paired by halves")
    fields.only("partial_rotary_factor", 1.0, "the family turns every unit of a head")
    width, heads = fields.whole("hidden_size", 4096), fields.whole("num_attention_heads", 32)
    kv_heads = fields.whole("num_key_value_heads", None) or heads
    head_width = fields.whole("head_dim", None)
    if head_width is None:
        if width % heads:
            raise ValueError(f"{fields.where}: hidden_size {width} does not divide by num_attention_heads {heads}")
        head_width = width // heads
    if heads % kv_heads:
        raise ValueError(
            f"{fields.where}: num_attention_heads {heads} does not divide by num_key_value_heads {kv_heads}"
        )
    if head_width % 2:
        raise ValueError(f"{fields.where}: heads are {head_width} wide; rotary embedding needs an even width")
    length = fields.whole("max_position_embeddings", 2048)
    return DecoderConfig(
        width=width,
        depth=fields.whole("num_hidden_layers", 32),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        inner=fields.whole("intermediate_size", 11008),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        vocabulary=fields.whole("vocab_size", 32000),
        length=length,
        rotary=read_rotary(fields, length),
        attention_bias=fields.flag("attention_bias", False),
        feed_forward_bias=fields.flag("mlp_bias", False),
    )


def llama_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    names = "layers.{}"
    attention, feed_forward = config.attention_bias, config.feed_forward_bias
    return (
        Row("embed_tokens.weight", "embedding"),
        Row(f"{names}.input_layernorm.weight", "blocks.norm1.scale"),
        *linear(f"{names}.self_attn.q_proj", "blocks.attention.query", attention),
        *linear(f"{names}.self_attn.k_proj", "blocks.attention.key", attention),
        *linear(f"{names}.self_attn.v_proj", "blocks.attention.value", attention),
        *linear(f"{names}.self_attn.o_proj", "blocks.attention.out", attention),
        Row(f"{names}.post_attention_layernorm.weight", "blocks.norm2.scale"),
        *linear(f"{names}.mlp.gate_proj", "blocks.feed_forward.gate", feed_forward),
        *linear(f"{names}.mlp.up_proj", "blocks.feed_forward.up", feed_forward),
        *linear(f"{names}.mlp.down_proj", "blocks.feed_forward.down", feed_forward),
        Row("norm.weight", "final_norm.scale"),
    )


LLAMA = Family(
    read=read_llama,
    table=llama_table,
    prefixes=("", "model."),
    unused=(r"lm_head\.weight", r"score\.weight", r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"),
    # The class documents that it opens every text with <s>, as the models were trained, and unless told does not.
    tokenizer=("LlamaTokenizer", {"add_bos_token": True}),
)
