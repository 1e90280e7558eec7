"""Run as a program: tiny checkpoints by timm itself with the activations of every layer, and facts about its models.

timm needs torchvision to be imported, though not to build a vision transformer; and torchvision must not be there, or
transformers would use it for images. So this is a process of its own, in which empty modules stand in for torchvision.
"""

import enum
import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.models.vision_reference import tower_layers
from tests.sharp_weights import sharpen

TINY = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 28, "patch_size": 7, "num_classes": 5}

# Name of the case: the architecture, arguments beyond TINY, sides of images beside that of training.
CASES: dict[str, tuple[str, dict[str, Any], tuple[tuple[int, int], ...]]] = {
    "augreg": ("vit_base_patch16_224", {}, ((42, 28),)),
    "no head": ("vit_huge_patch14_224", {"num_classes": 0, "mlp_ratio": 3.0}, ()),
    "no qkv bias": ("vit_base_patch16_224_miil", {}, ()),
    "dinov2": ("vit_base_patch14_dinov2", {"img_size": 49}, ((28, 28),)),
    "dinov2 giant": ("vit_giant_patch14_dinov2", {}, ()),
    "dinov2 with registers": ("vit_base_patch14_reg4_dinov2", {"img_size": 49}, ((28, 35),)),
    "distilled": ("deit_base_distilled_patch16_224", {}, ((42, 42),)),
    "deit3": ("deit3_base_patch16_224", {}, ((21, 28),)),
    "clip": ("vit_base_patch16_clip_224", {}, ()),
    "clip quick gelu": ("vit_base_patch16_clip_quickgelu_224", {}, ((28, 14),)),
    "siglip": ("vit_base_patch16_siglip_224", {}, ((42, 42),)),
    "siglip without head": ("vit_base_patch32_siglip_gap_256", {}, ()),
    "norm after pooling": ("vit_medium_patch16_reg4_gap_256", {}, ((42, 42),)),
    "pooled by the mean": ("vit_base_patch16_224", {"global_pool": "avg"}, ()),
}


class _Interpolation(enum.Enum):
    NEAREST, BILINEAR, BICUBIC, BOX, HAMMING, LANCZOS = "nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"


class _StandIn(types.ModuleType):
    """A module in which every name is an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__path__ = []
        sys.modules[name] = self
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Interpolation if name == "InterpolationMode" else type(name, (), {})


def import_timm() -> Any:
    """timm, without torchvision."""
    for name in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".datasets", ".datasets.folder"):
        _StandIn(f"torchvision{name}")
    for name in (".datasets.utils", ".models", ".models.feature_extraction"):
        _StandIn(f"torchvision{name}")
    import timm

    return timm


def write_case(timm: Any, folder: Path, name: str) -> None:
    """One checkpoint in timm's Hub layout, and `<H>x<W>.npz` with pixels and every layer for every size of image."""
    from timm.models._hub import save_for_hf

    architecture, changes, sizes = CASES[name]
    model = sharpen(timm.create_model(architecture, **{**TINY, **changes}), seed=len(name))
    save_for_hf(model, folder, safe_serialization=True)
    side = {**TINY, **changes}["img_size"]
    for height, width in ((side, side), *sizes):
        pixels = np.random.default_rng(height * width).normal(size=(2, 3, height, width)).astype(np.float32)
        model.set_input_size(img_size=(height, width))
        norm = model.fc_norm if isinstance(model.norm, torch.nn.Identity) else model.norm
        read = tower_layers(model, model.blocks, norm, x=torch.from_numpy(pixels))
        np.savez(folder / f"{height}x{width}.npz", pixels=pixels, **read)
        model = timm.create_model(architecture, **{**TINY, **changes}).eval()
        model.load_state_dict(_saved(folder))


def _saved(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def facts(timm: Any, names: list[str]) -> dict[str, Any]:
    """What timm builds under each name: depth, heads, epsilon, nonlinearity, input, and shapes with one block."""
    from timm.models import deit, vision_transformer

    depths = {}

    def shortened(build: Any) -> Any:
        def create(variant: str, *arguments: Any, **options: Any) -> Any:
            depths[variant] = options["depth"]
            return build(variant, *arguments, **{**options, "depth": 1})

        return create

    vision_transformer._create_vision_transformer = shortened(vision_transformer._create_vision_transformer)
    deit._create_deit = shortened(deit._create_deit)
    found = {}
    for name in names:
        with torch.device("meta"):
            model = timm.create_model(name, weight_init="skip")
        block = model.blocks[0]
        found[name] = {
            "depth": depths[name],
            "heads": block.attn.num_heads,
            "epsilon": block.norm1.eps,
            "nonlinearity": type(block.mlp.act).__name__,
            "prefix": model.num_prefix_tokens,
            "input_size": model.pretrained_cfg["input_size"],
            "fixed_input_size": model.pretrained_cfg["fixed_input_size"],
            "shapes": {key: list(tensor.shape) for key, tensor in model.state_dict().items()},
        }
    return found


if __name__ == "__main__":
    root = Path(sys.argv[1])
    library = import_timm()
    for case in CASES:
        write_case(library, root / case, case)
    (root / "facts.json").write_text(json.dumps(facts(library, json.loads(sys.argv[2]))))
