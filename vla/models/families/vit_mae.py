"""The encoder of a masked autoencoder as Hugging Face stores it (He et al., arXiv:2111.06377).

It sees all patches, in their order: masking is for training.
"""

from vla.models.families.family import Family
from vla.models.families.vit import read_vit, vit_table
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig


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
