"""ViT as Hugging Face stores it (Dosovitskiy et al., arXiv:2010.11929); DINO's checkpoints are ViTs."""

from typing import Any

from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.vision_encoder import VisionConfig


def grid_side(fields: Fields, image: int, patch: int) -> int:
    """Patches along one side of the training image.

    Raises:
      ValueError: Not even one patch fits.
    """
    if image < patch:
        raise ValueError(f"{fields.where}: image_size {image} is smaller than patch_size {patch}")
    return image // patch


def check_heads(fields: Fields, width: int, heads: int) -> None:
    """Refuse heads that do not share the width evenly."""
    if width % heads:
        raise ValueError(f"{fields.where}: hidden_size {width} does not divide by num_attention_heads {heads}")


def qkv_biases(there: bool) -> dict[str, bool]:
    """The fields of VisionConfig that say it where queries, keys and values have biases or have none together."""
    return {"query_bias": there, "key_bias": there, "value_bias": there}


def read_vit(fields: Fields, **changes: Any) -> VisionConfig:
    """Read a config with `model_type` vit; defaults are those of transformers' ViTConfig.

    Args:
      fields: Of config.json.
      **changes: Fields of VisionConfig in which a family differs from ViT.
    """
    fields.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride")
    fields.ignore("pooler_output_size", "pooler_act")
    patch = fields.side("patch_size", 16)
    config = VisionConfig(
        width=fields.whole("hidden_size", 768),
        depth=fields.whole("num_hidden_layers", 12),
        heads=fields.whole("num_attention_heads", 12),
        inner=fields.whole("intermediate_size", 3072),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "gelu"),
        norm_epsilon=fields.number("layer_norm_eps", 1e-12),
        patch=patch,
        grid=grid_side(fields, fields.side("image_size", 224), patch),
        channels=fields.whole("num_channels", 3),
        **qkv_biases(fields.flag("qkv_bias", True)),
        **changes,
    )
    check_heads(fields, config.width, config.heads)
    return config


def embedding_rows() -> tuple[Row, ...]:
    """The rows that turn pixels into tokens, the same for ViT and its kin."""
    return (
        Row("embeddings.cls_token", "embedding.cls", ones=2),
        Row("embeddings.position_embeddings", "embedding.positions", ones=1),
        Row("embeddings.patch_embeddings.projection.weight", "embedding.projection"),
        Row("embeddings.patch_embeddings.projection.bias", "embedding.bias"),
    )


def attention_rows(config: VisionConfig) -> tuple[Row, ...]:
    """The rows of attention, the same for ViT and its kin."""
    names = "encoder.layer.{}.attention"
    return (
        *linear(f"{names}.attention.query", "blocks.attention.query", config.query_bias),
        *linear(f"{names}.attention.key", "blocks.attention.key", config.key_bias),
        *linear(f"{names}.attention.value", "blocks.attention.value", config.value_bias),
        *linear(f"{names}.output.dense", "blocks.attention.out", True),
    )


def vit_table(config: VisionConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    names = "encoder.layer.{}"
    return (
        *embedding_rows(),
        *layer_norm(f"{names}.layernorm_before", "blocks.norm1"),
        *attention_rows(config),
        *layer_norm(f"{names}.layernorm_after", "blocks.norm2"),
        *linear(f"{names}.intermediate.dense", "blocks.feed_forward.up", True),
        *linear(f"{names}.output.dense", "blocks.feed_forward.down", True),
        *layer_norm("layernorm", "final_norm"),
    )


VIT = Family(
    read=read_vit,
    table=vit_table,
    prefixes=("", "vit."),
    unused=(r"pooler\..*", r"classifier\..*", r"embeddings\.mask_token", r"decoder\..*"),
)


def read_deit(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` deit; fields and defaults are ViT's."""
    return read_vit(fields, distillation_token=True, placed=2)


def deit_table(config: VisionConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    return (*vit_table(config), Row("embeddings.distillation_token", "embedding.distillation", ones=2))


DEIT = Family(
    read=read_deit,
    table=deit_table,
    prefixes=("", "deit."),
    unused=(
        r"pooler\..*",
        r"(classifier|cls_classifier|distillation_classifier)\..*",
        r"embeddings\.mask_token",
        r"decoder\..*",
    ),
)


def read_vit_mae(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` vit_mae; fields and defaults of the encoder are ViT's."""
    fields.ignore("mask_ratio", "norm_pix_loss")
    fields.ignore("decoder_hidden_size", "decoder_intermediate_size")
    fields.ignore("decoder_num_attention_heads", "decoder_num_hidden_layers")
    return read_vit(fields)


VIT_MAE = Family(
    read=read_vit_mae,
    table=vit_table,
    prefixes=("", "vit."),
    unused=(r"classifier\..*", r"decoder\..*"),
)
