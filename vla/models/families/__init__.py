"""Every architecture family that can be loaded, by the `model_type` of its config.json."""

from vla.models.families.dinov2 import DINOV2, DINOV2_WITH_REGISTERS
from vla.models.families.family import Family
from vla.models.families.llama import LLAMA
from vla.models.families.vit import VIT

FAMILIES: dict[str, Family] = {
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS,
    "llama": LLAMA,
    "vit": VIT,
}
