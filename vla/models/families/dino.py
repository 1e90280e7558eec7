"""DINOv2, with and without registers, and DINOv3's vision transformers, as Hugging Face stores them.

Oquab et al., arXiv:2304.07193; Darcet et al., arXiv:2309.16588; Siméoni et al., arXiv:2508.10104.
"""

import dataclasses

from vla.models.families.family import Family, qkv_biases, read_encoder
from vla.models.families.vit import attention_rows, embedding_rows
from vla.models.fields import Fields
from vla.models.network_config import VisionConfig
from vla.models.tensor import Row, layer_norm, linear


def _read(fields: Fields, patch: int, registers: int, antialias: bool) -> VisionConfig:
    """Read what both variants of DINOv2 share, with its default patch; `layerscale_value` only initialises weights."""
    fields.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "layerscale_value")
    fields.ignore("apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names")
    biases = qkv_biases(fields.flag("qkv_bias", True))
    options = {"registers": registers, "antialias": antialias, "layer_scale": True, **biases}
    config = read_encoder(fields, patch=patch, epsilon=1e-6, inner=None, **options)
    inner = int(config.width * fields.number("mlp_ratio", 4))
    if not fields.flag("use_swiglu_ffn", False):
        return dataclasses.replace(config, inner=inner)
    # Two thirds, so that three matrices have the parameters of two, rounded up to a multiple of 8; always silu.
    return dataclasses.replace(config, inner=(int(inner * 2 / 3) + 7) // 8 * 8, nonlinearity="silu", gated=True)


def read_dinov2(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov2; defaults are those of transformers' Dinov2Config."""
    fields.ignore("use_mask_token")
    return _read(fields, 14, registers=0, antialias=False)


def read_dinov2_with_registers(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov2_with_registers; defaults as in Dinov2WithRegistersConfig."""
    # Published configs name what is constant in the code of transformers.
    fields.only("interpolate_antialias", True, "transformers always antialiases here")
    fields.only("interpolate_offset", 0.0, "transformers resizes to the exact size")
    # The default of DINOv2 without registers is 14.
    return _read(fields, 16, registers=fields.integer("num_register_tokens", 4), antialias=True)


def dinov2_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of DINOv2."""
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


def read_dinov3_vit(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov3_vit; defaults are those of transformers' DINOv3ViTConfig."""
    fields.ignore("attention_dropout", "drop_path_rate", "layerscale_value")
    # Positions are augmented in training only.
    fields.ignore("pos_embed_jitter", "pos_embed_rescale", "pos_embed_shift")
    fields.ignore("apply_layernorm", "reshape_hidden_states", "return_class_token")
    fields.ignore("out_features", "out_indices", "stage_names")
    config = read_encoder(
        fields,
        patch=16,
        epsilon=1e-5,
        width=384,
        heads=6,
        inner=1536,
        gated=fields.flag("use_gated_mlp", False),
        registers=fields.integer("num_register_tokens", 0, least=0),
        prefix_positions=None,
        rotary_theta=fields.number("rope_theta", 100.0),
        query_bias=fields.flag("query_bias", True),
        key_bias=fields.flag("key_bias", False),
        value_bias=fields.flag("value_bias", True),
        out_bias=fields.flag("proj_bias", True),
        feed_forward_bias=fields.flag("mlp_bias", True),
        layer_scale=True,
    )
    if config.width // config.heads % 4:
        raise ValueError(
            f"{fields.where}: hidden_size {config.width} over num_attention_heads {config.heads} leaves "
            f"{config.width // config.heads} units per head; rotary embedding in two directions needs a multiple of 4"
        )
    return config


def dinov3_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of DINOv3."""
    names, bias = "layer.{}", config.feed_forward_bias
    registers = (Row("embeddings.register_tokens", "embedding.registers", ones=1),) if config.registers else ()
    gate = linear(f"{names}.mlp.gate_proj", "blocks.feed_forward.gate", bias) if config.gated else ()
    return (
        Row("embeddings.cls_token", "embedding.cls", ones=2),
        *registers,
        Row("embeddings.patch_embeddings.weight", "embedding.projection"),
        Row("embeddings.patch_embeddings.bias", "embedding.bias"),
        *layer_norm(f"{names}.norm1", "blocks.norm1"),
        *linear(f"{names}.attention.q_proj", "blocks.attention.query", config.query_bias),
        *linear(f"{names}.attention.k_proj", "blocks.attention.key", config.key_bias),
        *linear(f"{names}.attention.v_proj", "blocks.attention.value", config.value_bias),
        *linear(f"{names}.attention.o_proj", "blocks.attention.out", config.out_bias),
        Row(f"{names}.layer_scale1.lambda1", "blocks.scale1"),
        *layer_norm(f"{names}.norm2", "blocks.norm2"),
        *gate,
        *linear(f"{names}.mlp.up_proj", "blocks.feed_forward.up", bias),
        *linear(f"{names}.mlp.down_proj", "blocks.feed_forward.down", bias),
        Row(f"{names}.layer_scale2.lambda1", "blocks.scale2"),
        *layer_norm("norm", "final_norm"),
    )


DINOV3_VIT = Family(
    read=read_dinov3_vit,
    table=dinov3_table,
    prefixes=("",),
    unused=(r"embeddings\.mask_token", r"classifier\..*"),
)
