"""The vision tower of SigLIP and of SigLIP 2 at a fixed resolution, as Hugging Face stores it (Zhai et al.,
arXiv:2303.15343; Tschannen et al., arXiv:2502.14786).

There is no class token. The head, which makes one vector of all patches above the final norm, belongs to no layer
and is not read.
"""

from vla.models.families.clip import block_rows, read_vision_tower, tower_fields
from vla.models.families.family import Family, Row, layer_norm
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig


def read_siglip_vision(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` siglip_vision_model; defaults are those of transformers' SiglipVisionConfig."""
    fields.ignore("vision_use_head", "projection_dim", "projection_size")
    return read_vision_tower(
        fields, patch=16, nonlinearity="gelu_pytorch_tanh", epsilon=1e-6, class_token=False, placed=0
    )


def read_siglip(fields: Fields) -> VisionConfig:
    """Read the vision tower of a config with `model_type` siglip."""
    fields.ignore("initializer_factor", "text_config", "text_config_dict")
    tower = tower_fields(fields, "vision")
    config = read_siglip_vision(tower)
    tower.finish()
    return config


def siglip_table(config: VisionConfig) -> tuple[Row, ...]:
    """Names in the file and where they go."""
    return (
        Row("embeddings.position_embedding.weight", "embedding.positions"),
        Row("embeddings.patch_embedding.weight", "embedding.projection"),
        Row("embeddings.patch_embedding.bias", "embedding.bias"),
        *block_rows(),
        *layer_norm("post_layernorm", "final_norm"),
    )


_PREFIXES = ("", "vision_model.")
_UNUSED = (r"head\..*", r"classifier\..*", r"embeddings\.position_ids")

SIGLIP = Family(read_siglip, siglip_table, _PREFIXES, (*_UNUSED, r"text_model\..*", r"logit_(scale|bias)"))
SIGLIP_VISION = Family(read_siglip_vision, siglip_table, _PREFIXES, _UNUSED)
