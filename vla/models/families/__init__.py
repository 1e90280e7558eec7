"""Every architecture family that can be loaded, by the `model_type` of its config.json; timm's configs have none."""

from vla.models.families.clip import CLIP, CLIP_TEXT, CLIP_TEXT_TOWER, CLIP_VISION, SIGLIP, SIGLIP_VISION
from vla.models.families.dino import DINOV2, DINOV2_WITH_REGISTERS, DINOV3_VIT
from vla.models.families.family import Family
from vla.models.families.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA3_TEXT
from vla.models.families.gpt import BLOOM, GPT2, GPT_NEOX
from vla.models.families.llama import LLAMA, MISTRAL, MIXTRAL, OLMO, OLMO2, PHI3, QWEN2, QWEN3
from vla.models.families.timm import TIMM
from vla.models.families.vit import DEIT, VIT, VIT_MAE

FAMILIES: dict[str, Family] = {
    "bloom": BLOOM,
    "clip": CLIP,
    "clip_text_model": CLIP_TEXT,
    "clip_vision_model": CLIP_VISION,
    "deit": DEIT,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS,
    "dinov3_vit": DINOV3_VIT,
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3": GEMMA3,
    "gemma3_text": GEMMA3_TEXT,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "mixtral": MIXTRAL,
    "olmo": OLMO,
    "olmo2": OLMO2,
    "phi3": PHI3,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP_VISION,
    "timm": TIMM,
    "vit": VIT,
    "vit_mae": VIT_MAE,
}

# Towers of models with several, by `model_type` and the name of the tower; read on request.
TOWERS: dict[str, dict[str, Family]] = {
    "clip": {"text": CLIP_TEXT_TOWER, "vision": CLIP},
    "siglip": {"vision": SIGLIP},
}
