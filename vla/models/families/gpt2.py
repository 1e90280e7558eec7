"""GPT-2: learned positions, and weights stored input by output (Radford et al., 2019)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.llama import read_causal, share_of_heads
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES


def read_gpt2(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` gpt2; defaults are those of transformers' GPT2Config."""
    fields.ignore("attn_pdrop", "embd_pdrop", "resid_pdrop")
    fields.ignore("n_ctx", "n_special", "predict_special_tokens")
    fields.ignore("summary_activation", "summary_first_dropout", "summary_proj_to_labels")
    fields.ignore("summary_type", "summary_use_proj")
    # Scores are always taken in float32 here, which is what it asks for.
    fields.ignore("reorder_and_upcast_attn")
    width, heads = fields.whole("n_embd", 768), fields.whole("n_head", 12)
    return DecoderConfig(
        width=width,
        depth=fields.whole("n_layer", 12),
        heads=heads,
        kv_heads=heads,
        head_width=share_of_heads(fields, width, heads),
        inner=fields.whole("n_inner", None) or 4 * width,
        nonlinearity=fields.choice("activation_function", tuple(NONLINEARITIES), "gelu_new"),
        norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        vocabulary=fields.whole("vocab_size", 50257),
        length=fields.whole("n_positions", 1024),
        rotary=None,
        attention_bias=True,
        out_bias=True,
        feed_forward_bias=True,
        gated=False,
        norm="layer",
        learned_positions=True,
        attention_scale=None if fields.flag("scale_attn_weights", True) else 1.0,
        scale_by_block=fields.flag("scale_attn_by_inverse_layer_idx", False),
        causal=read_causal(fields),
    )


def gpt2_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names in the file and where they go; queries, keys and values are in one tensor, side by side."""
    names, fused = "h.{}", "h.{}.attn.c_attn"
    return (
        Row("wte.weight", "embedding"),
        Row("wpe.weight", "positions"),
        *layer_norm(f"{names}.ln_1", "blocks.norm1"),
        *linear(fused, "blocks.attention.query", True, part=(0, 3), transposed=True),
        *linear(fused, "blocks.attention.key", True, part=(1, 3), transposed=True),
        *linear(fused, "blocks.attention.value", True, part=(2, 3), transposed=True),
        *linear(f"{names}.attn.c_proj", "blocks.attention.out", True, transposed=True),
        *layer_norm(f"{names}.ln_2", "blocks.norm2"),
        *linear(f"{names}.mlp.c_fc", "blocks.feed_forward.up", True, transposed=True),
        *linear(f"{names}.mlp.c_proj", "blocks.feed_forward.down", True, transposed=True),
        *layer_norm("ln_f", "final_norm"),
    )


GPT2 = Family(
    read=read_gpt2,
    table=gpt2_table,
    prefixes=("", "transformer."),
    unused=(r"(lm_head|score)\.weight", r"h\.(?P<block>\d+)\.attn\.(bias|masked_bias)"),
    tokenizer="GPT2Tokenizer",
)
