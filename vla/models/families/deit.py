"""Distilled DeiT as Hugging Face stores it (Touvron et al., arXiv:2012.12877); plain DeiT is published as ViT."""

from vla.models.families.family import Family, Row
from vla.models.families.vit import read_vit, vit_table
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig


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
