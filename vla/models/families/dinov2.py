"""DINOv2, with and without registers, as Hugging Face stores it (Oquab et al., arXiv:2304.07193; Darcet et al.,
arXiv:2309.16588)."""

from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.vit import attention_rows, check_heads, embedding_rows, grid_side, qkv_biases
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.vision_encoder import VisionConfig


def _read(fields: Fields, patch: int, registers: int, antialias: bool) -> VisionConfig:
    """Read what both variants share; `layerscale_value` only draws initial weights."""
    fields.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "layerscale_value")
    fields.ignore("apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names")
    width = fields.whole("hidden_size", 768)
    inner = int(width * fields.number("mlp_ratio", 4))
    gated = fields.flag("use_swiglu_ffn", False)
    nonlinearity = fields.choice("hidden_act", tuple(NONLINEARITIES), "gelu")
    if gated:
        # Two thirds, so that three matrices weigh what two did, rounded up to a multiple of eight; always silu.
        inner, nonlinearity = (int(inner * 2 / 3) + 7) // 8 * 8, "silu"
    config = VisionConfig(
        width=width,
        depth=fields.whole("num_hidden_layers", 12),
        heads=fields.whole("num_attention_heads", 12),
        inner=inner,
        nonlinearity=nonlinearity,
        gated=gated,
        norm_epsilon=fields.number("layer_norm_eps", 1e-6),
        patch=patch,
        grid=grid_side(fields, fields.side("image_size", 224), patch),
        channels=fields.whole("num_channels", 3),
        registers=registers,
        **qkv_biases(fields.flag("qkv_bias", True)),
        layer_scale=True,
        antialias=antialias,
    )
    check_heads(fields, config.width, config.heads)
    return config


def read_dinov2(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov2; defaults are those of transformers' Dinov2Config."""
    fields.ignore("use_mask_token")
    return _read(fields, fields.side("patch_size", 14), registers=0, antialias=False)


def read_dinov2_with_registers(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov2_with_registers; defaults as in Dinov2WithRegistersConfig."""
    # Published configs name what the code has built in.
    fields.only("interpolate_antialias", True, "transformers always antialiases here")
    fields.only("interpolate_offset", 0.0, "transformers resizes to the exact size")
    # unlike plain DINOv2, whose default is 14
    patch = fields.side("patch_size", 16)
    return _read(fields, patch, registers=fields.whole("num_register_tokens", 4), antialias=True)


def dinov2_table(config: VisionConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    names = "encoder.layer.{}"
    if config.gated:
        feed_forward = (
            *linear(f"{names}.mlp.weights_in", "blocks.feed_forward.gate", True, part=(0, 2)),
            *linear(f"{names}.mlp.weights_in", "blocks.feed_forward.up", True, part=(1, 2)),
            *linear(f"{names}.mlp.weights_out", "blocks.feed_forward.down", True),
        )
    else:
        feed_forward = (
            *linear(f"{names}.mlp.fc1", "blocks.feed_forward.up", True),
            *linear(f"{names}.mlp.fc2", "blocks.feed_forward.down", True),
        )
    registers = (Row("embeddings.register_tokens", "embedding.registers", ones=1),) if config.registers else ()
    return (
        *embedding_rows(),
        *registers,
        *layer_norm(f"{names}.norm1", "blocks.norm1"),
        *attention_rows(config),
        Row(f"{names}.layer_scale1.lambda1", "blocks.scale1"),
        *layer_norm(f"{names}.norm2", "blocks.norm2"),
        *feed_forward,
        Row(f"{names}.layer_scale2.lambda1", "blocks.scale2"),
        *layer_norm("layernorm", "final_norm"),
    )


_UNUSED = (r"classifier\..*", r"embeddings\.mask_token")

DINOV2 = Family(read_dinov2, dinov2_table, prefixes=("", "dinov2."), unused=_UNUSED)
DINOV2_WITH_REGISTERS = Family(
    read_dinov2_with_registers, dinov2_table, prefixes=("", "dinov2_with_registers."), unused=_UNUSED
)
