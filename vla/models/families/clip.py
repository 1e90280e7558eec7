"""The towers of CLIP and SigLIP as Hugging Face stores them, together or alone.

CLIP: Radford et al., arXiv:2103.00020. SigLIP: Zhai et al., arXiv:2303.15343.
"""

from collections.abc import Callable
from typing import TypeVar

from vla.models.families.family import CLASSIC, Family, read_encoder, share_of_heads
from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.network_config import DecoderConfig, VisionConfig
from vla.models.tensor import Row, layer_norm, linear

Config = TypeVar("Config", VisionConfig, DecoderConfig)
_TRAINING = ("attention_dropout", "dropout", "initializer_factor")


def tower_fields(fields: Fields, tower: str) -> Fields:
    """The fields of one tower, "vision" or "text", of a config for both; no fields if it has none."""
    section, older = fields.part(f"{tower}_config"), fields.part(f"{tower}_config_dict")
    # If both exist, transformers takes all fields of the architecture from the older form.
    return older or section or Fields({}, f"{fields.where}, '{tower}_config'")


def read_clip_vision(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` clip_vision_model; defaults are those of transformers' CLIPVisionConfig."""
    fields.ignore(*_TRAINING, "projection_dim")
    return read_encoder(
        fields, patch=32, epsilon=1e-5, nonlinearity="quick_gelu", patch_bias=False, embedding_norm=True
    )


def read_clip_text(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` clip_text_model; defaults are those of transformers' CLIPTextConfig."""
    fields.ignore(*_TRAINING, "projection_dim")
    width, heads = fields.integer("hidden_size", 512), fields.integer("num_attention_heads", 8)
    share_of_heads(fields, width, heads)
    return DecoderConfig(
        width=width,
        depth=fields.integer("num_hidden_layers", 12),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        inner=fields.integer("intermediate_size", 2048),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "quick_gelu"),
        norm_epsilon=fields.number("layer_norm_eps", 1e-5),
        vocabulary=fields.integer("vocab_size", 49408),
        length=fields.integer("max_position_embeddings", 77),
        learned_positions=True,
        **CLASSIC,
    )


def _tower_of_both(fields: Fields, tower: str) -> Fields:
    """The fields of one tower; those of neither are ignored."""
    fields.ignore("logit_scale_init_value", "initializer_factor", "projection_dim")
    fields.ignore("text_config", "text_config_dict", "vision_config", "vision_config_dict")
    return tower_fields(fields, tower)


def _read_vision_of_both(fields: Fields) -> VisionConfig:
    return _complete(read_clip_vision, _tower_of_both(fields, "vision"))


def _read_text_of_both(fields: Fields) -> DecoderConfig:
    return _complete(read_clip_text, _tower_of_both(fields, "text"))


def _complete(read: Callable[[Fields], Config], tower: Fields) -> Config:
    """The config of a tower of which every field is read or refused."""
    config = read(tower)
    tower.finish()
    return config


def block_rows() -> tuple[Row, ...]:
    """The rows of a block, the same in all towers."""
    names = "encoder.layers.{}"
    return (
        *layer_norm(f"{names}.layer_norm1", "blocks.norm1"),
        *linear(f"{names}.self_attn.q_proj", "blocks.attention.query", True),
        *linear(f"{names}.self_attn.k_proj", "blocks.attention.key", True),
        *linear(f"{names}.self_attn.v_proj", "blocks.attention.value", True),
        *linear(f"{names}.self_attn.out_proj", "blocks.attention.out", True),
        *layer_norm(f"{names}.layer_norm2", "blocks.norm2"),
        *linear(f"{names}.mlp.fc1", "blocks.feed_forward.up", True),
        *linear(f"{names}.mlp.fc2", "blocks.feed_forward.down", True),
    )


def clip_vision_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of CLIP's vision tower."""
    return (
        Row("embeddings.class_embedding", "embedding.cls"),
        Row("embeddings.position_embedding.weight", "embedding.positions"),
        Row("embeddings.patch_embedding.weight", "embedding.projection"),
        # Misspelt like this in every checkpoint.
        *layer_norm("pre_layrnorm", "embedding.norm"),
        *block_rows(),
        *layer_norm("post_layernorm", "final_norm"),
    )


def clip_text_table(config: DecoderConfig) -> tuple[Row, ...]:
    """The weights of CLIP's text tower."""
    return (
        Row("embeddings.token_embedding.weight", "embedding"),
        Row("embeddings.position_embedding.weight", "positions"),
        *block_rows(),
        *layer_norm("final_layer_norm", "final_norm"),
    )


_HEADS = (r"(visual|text)_projection\.weight", r"logit_scale", r"classifier\..*", r"embeddings\.position_ids")
_VISION, _TEXT = ("", "vision_model."), ("", "text_model.")
_TOKENIZER = "CLIPTokenizer"

CLIP = Family(_read_vision_of_both, clip_vision_table, _VISION, (*_HEADS, r"text_model\..*"))
CLIP_TEXT_TOWER = Family(
    _read_text_of_both, clip_text_table, _TEXT, (*_HEADS, r"vision_model\..*"), tokenizer=_TOKENIZER
)
# A config of one tower alone means that the checkpoint has no other.
_ALONE = (r"(visual|text)_projection\.weight", r"classifier\..*", r"embeddings\.position_ids")
CLIP_VISION = Family(read_clip_vision, clip_vision_table, _VISION, _ALONE)
CLIP_TEXT = Family(read_clip_text, clip_text_table, _TEXT, _ALONE, tokenizer=_TOKENIZER)


def read_siglip_vision(fields: Fields) -> VisionConfig:
    """Read a config with `model_type` siglip_vision_model; defaults are those of transformers' SiglipVisionConfig."""
    fields.ignore(*_TRAINING, "vision_use_head", "projection_dim", "projection_size")
    return read_encoder(
        fields, patch=16, epsilon=1e-6, nonlinearity="gelu_pytorch_tanh", class_token=False, prefix_positions=0
    )


def read_siglip(fields: Fields) -> VisionConfig:
    """Read the vision tower of a config with `model_type` siglip."""
    fields.ignore("initializer_factor", "text_config", "text_config_dict")
    return _complete(read_siglip_vision, tower_fields(fields, "vision"))


def siglip_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of SigLIP's vision tower."""
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
