"""DINOv3's vision transformers as Hugging Face stores them (Siméoni et al., arXiv:2508.10104)."""

from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.vit import check_heads, grid_side
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.vision_encoder import VisionConfig


def read_dinov3_vit(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` dinov3_vit; defaults are those of transformers' DINOv3ViTConfig."""
    fields.ignore("attention_dropout", "drop_path_rate", "layerscale_value")
    # Positions are moved in training only.
    fields.ignore("pos_embed_jitter", "pos_embed_rescale", "pos_embed_shift")
    fields.ignore("apply_layernorm", "reshape_hidden_states", "return_class_token")
    fields.ignore("out_features", "out_indices", "stage_names")
    patch = fields.side("patch_size", 16)
    config = VisionConfig(
        width=fields.whole("hidden_size", 384),
        depth=fields.whole("num_hidden_layers", 12),
        heads=fields.whole("num_attention_heads", 6),
        inner=fields.whole("intermediate_size", 1536),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "gelu"),
        gated=fields.flag("use_gated_mlp", False),
        norm_epsilon=fields.number("layer_norm_eps", 1e-5),
        patch=patch,
        grid=grid_side(fields, fields.side("image_size", 224), patch),
        channels=fields.whole("num_channels", 3),
        registers=fields.whole("num_register_tokens", 0, least=0),
        placed=None,
        rotary_theta=fields.number("rope_theta", 100.0),
        query_bias=fields.flag("query_bias", True),
        key_bias=fields.flag("key_bias", False),
        value_bias=fields.flag("value_bias", True),
        out_bias=fields.flag("proj_bias", True),
        feed_forward_bias=fields.flag("mlp_bias", True),
        layer_scale=True,
    )
    check_heads(fields, config.width, config.heads)
    if config.width // config.heads % 4:
        raise ValueError(
            f"{fields.where}: hidden_size {config.width} over num_attention_heads {config.heads} leaves "
            f"{config.width // config.heads} units per head; rotary embedding in two directions needs a multiple of 4"
        )
    return config


def dinov3_table(config: VisionConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
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
