"""What the families that descend from LLaMA share: names of fields, names of tensors."""

from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Row, linear
from vla.models.fields import Fields

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
