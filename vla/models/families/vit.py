"""Vision transformers as Hugging Face stores them: ViT, DINO, DeiT, MAE (Dosovitskiy et al., arXiv:2010.11929)."""

from typing import Any

from vla.models.families.family import Family, qkv_biases, read_encoder
from vla.models.fields import Fields
from vla.models.network_config import VisionConfig
from vla.models.tensor import Row, layer_norm, linear


def read_vit(fields: Fields, **options: Any) -> VisionConfig:
    """Read a config with `model_type` vit; defaults are those of ViTConfig, `options` those of `read_encoder`."""
    fields.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride")
    fields.ignore("pooler_output_size", "pooler_act")
    biases = qkv_biases(fields.flag("qkv_bias", True))
    return read_encoder(fields, patch=16, epsilon=1e-12, **biases, **options)


def embedding_rows() -> tuple[Row, ...]:
    """The rows of the embedding, shared with DeiT, MAE and DINOv2."""
    return (
        Row("embeddings.cls_token", "embedding.cls", ones=2),
        Row("embeddings.position_embeddings", "embedding.positions", ones=1),
        Row("embeddings.patch_embeddings.projection.weight", "embedding.projection"),
        Row("embeddings.patch_embeddings.projection.bias", "embedding.bias"),
    )


def attention_rows(config: VisionConfig) -> tuple[Row, ...]:
    """The rows of attention, shared with DeiT, MAE and DINOv2."""
    names = "encoder.layer.{}.attention"
    return (
        *linear(f"{names}.attention.query", "blocks.attention.query", config.query_bias),
        *linear(f"{names}.attention.key", "blocks.attention.key", config.key_bias),
        *linear(f"{names}.attention.value", "blocks.attention.value", config.value_bias),
        *linear(f"{names}.output.dense", "blocks.attention.out", True),
    )


def vit_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of ViT and MAE."""
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
    return read_vit(fields, distillation_token=True, prefix_positions=2)


def deit_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of DeiT."""
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
