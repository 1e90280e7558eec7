"""GPT-NeoX and Pythia: attention and feed-forward network side by side (arXiv:2204.06745, arXiv:2304.01373)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.llama import read_causal, share_of_heads
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES


def read_gpt_neox(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gpt_neox; defaults are those of transformers' GPTNeoXConfig."""
    fields.ignore("attention_dropout", "attention_probs_dropout_prob", "classifier_dropout")
    fields.ignore("hidden_dropout", "hidden_dropout_prob")
    width, heads = fields.whole("hidden_size", 6144), fields.whole("num_attention_heads", 64)
    length, head_width = fields.whole("max_position_embeddings", 2048), share_of_heads(fields, width, heads)
    bias = fields.flag("attention_bias", True)
    return DecoderConfig(
        width=width,
        depth=fields.whole("num_hidden_layers", 44),
        heads=heads,
        kv_heads=heads,
        head_width=head_width,
        inner=fields.whole("intermediate_size", 24576),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "gelu"),
        norm_epsilon=fields.number("layer_norm_eps", 1e-5),
        vocabulary=fields.whole("vocab_size", 50432),
        length=length,
        rotary=read_rotary(
            fields,
            length=length,
            head_width=head_width,
            theta=fields.number("rotary_emb_base", 10_000.0),
            share=fields.number("rotary_pct", 0.25),
        ),
        attention_bias=bias,
        out_bias=bias,
        feed_forward_bias=True,
        gated=False,
        norm="layer",
        parallel=fields.flag("use_parallel_residual", True),
        causal=read_causal(fields),
    )


def gpt_neox_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go; queries, keys and values are in one tensor, head by head."""
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
