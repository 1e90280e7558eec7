"""timm's vision transformers: from the name of an architecture to the arguments that timm builds it with."""

import re
from typing import Any

# embed_dim, depth, num_heads, mlp_ratio
_SIZES: dict[str, tuple[int, int, int, float]] = {
    "tiny": (192, 12, 3, 4.0),
    "xsmall": (256, 10, 4, 4.0),
    "small": (384, 12, 6, 4.0),
    "medium": (512, 12, 8, 4.0),
    "mediumd": (512, 20, 8, 4.0),
    "betwixt": (640, 12, 10, 4.0),
    "base": (768, 12, 12, 4.0),
    "large": (1024, 24, 16, 4.0),
    "so400m": (1152, 27, 16, 3.7362),
    "huge": (1280, 32, 16, 4.0),
    "giant": (1408, 40, 16, 48 / 11),
    "giantopt": (1536, 40, 16, 4.0),
    "gigantic": (1664, 48, 16, 64 / 13),
}

_DINOV2 = {"init_values": 1e-5}
_REGISTERS = {"no_embed_class": True, "reg_tokens": 4}
_DINOV2_GIANT = {"embed_dim": 1536, "num_heads": 24, "mlp_ratio": 2.66667 * 2, "packed_swiglu": True}
_CLIP = {"pre_norm": True, "norm_epsilon": 1e-5}
_GAP = {"class_token": False, "global_pool": "avg", "fc_norm": False}
_MAP = {"class_token": False, "global_pool": "map"}
_TANH = {"act_layer": "gelu_tanh"}

# Names, whose sizes and patches are read off them, and what those of one line have beyond that.
_GROUPS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        """deit_base_patch16_224 deit_base_patch16_384 deit_small_patch16_224 deit_tiny_patch16_224
        vit_base_patch16_224 vit_base_patch16_384 vit_base_patch32_224 vit_base_patch32_384 vit_base_patch8_224
        vit_giant_patch14_224 vit_gigantic_patch14_224 vit_huge_patch14_224 vit_large_patch14_224
        vit_large_patch16_224 vit_large_patch16_384 vit_large_patch32_224 vit_large_patch32_384
        vit_small_patch16_224 vit_small_patch16_384 vit_small_patch32_224 vit_small_patch32_384 vit_small_patch8_224
        vit_tiny_patch16_224 vit_tiny_patch16_384""",
        {},
    ),
    ("vit_base_patch16_224_miil", {"qkv_bias": False}),
    (
        """deit_base_distilled_patch16_224 deit_base_distilled_patch16_384 deit_small_distilled_patch16_224
        deit_tiny_distilled_patch16_224""",
        {"distilled": True},
    ),
    (
        """deit3_base_patch16_224 deit3_base_patch16_384 deit3_huge_patch14_224 deit3_large_patch16_224
        deit3_large_patch16_384 deit3_medium_patch16_224 deit3_small_patch16_224 deit3_small_patch16_384""",
        {"init_values": 1e-6, "no_embed_class": True},
    ),
    ("vit_small_patch14_dinov2 vit_base_patch14_dinov2 vit_large_patch14_dinov2", _DINOV2),
    ("vit_giant_patch14_dinov2", {**_DINOV2, **_DINOV2_GIANT}),
    (
        "vit_small_patch14_reg4_dinov2 vit_base_patch14_reg4_dinov2 vit_large_patch14_reg4_dinov2",
        {**_DINOV2, **_REGISTERS},
    ),
    ("vit_giant_patch14_reg4_dinov2", {**_DINOV2, **_REGISTERS, **_DINOV2_GIANT}),
    (
        """vit_base_patch16_clip_224 vit_base_patch16_clip_384 vit_base_patch32_clip_224 vit_base_patch32_clip_256
        vit_base_patch32_clip_384 vit_base_patch32_clip_448 vit_betwixt_patch32_clip_224 vit_giant_patch14_clip_224
        vit_gigantic_patch14_clip_224 vit_gigantic_patch14_clip_378 vit_huge_patch14_clip_224
        vit_huge_patch14_clip_336 vit_huge_patch14_clip_378 vit_large_patch14_clip_224 vit_large_patch14_clip_336
        vit_medium_patch16_clip_224 vit_medium_patch32_clip_224 vit_xsmall_patch16_clip_224""",
        _CLIP,
    ),
    ("vit_base_patch16_plus_clip_240", {**_CLIP, "embed_dim": 896, "num_heads": 14}),
    (
        """vit_base_patch16_clip_quickgelu_224 vit_base_patch32_clip_quickgelu_224
        vit_gigantic_patch14_clip_quickgelu_224 vit_huge_patch14_clip_quickgelu_224
        vit_huge_patch14_clip_quickgelu_378 vit_large_patch14_clip_quickgelu_224
        vit_large_patch14_clip_quickgelu_336""",
        {**_CLIP, "act_layer": "quick_gelu"},
    ),
    (
        """vit_base_patch16_siglip_224 vit_base_patch16_siglip_256 vit_base_patch16_siglip_384
        vit_base_patch16_siglip_512 vit_large_patch16_siglip_256 vit_large_patch16_siglip_384
        vit_so400m_patch14_siglip_224 vit_so400m_patch14_siglip_378 vit_so400m_patch14_siglip_384""",
        _MAP,
    ),
    (
        """vit_base_patch32_siglip_256 vit_giantopt_patch16_siglip_256 vit_giantopt_patch16_siglip_384
        vit_large_patch16_siglip_512 vit_so400m_patch16_siglip_256 vit_so400m_patch16_siglip_384
        vit_so400m_patch16_siglip_512""",
        {**_MAP, **_TANH},
    ),
    (
        """vit_base_patch16_siglip_gap_224 vit_base_patch16_siglip_gap_256 vit_base_patch16_siglip_gap_384
        vit_base_patch16_siglip_gap_512 vit_giant_patch16_gap_224 vit_huge_patch14_gap_224 vit_huge_patch16_gap_448
        vit_large_patch16_siglip_gap_256 vit_large_patch16_siglip_gap_384 vit_so400m_patch14_siglip_gap_224
        vit_so400m_patch14_siglip_gap_378 vit_so400m_patch14_siglip_gap_384 vit_so400m_patch14_siglip_gap_448
        vit_so400m_patch14_siglip_gap_896""",
        _GAP,
    ),
    ("vit_base_patch16_gap_224", {**_GAP, "num_heads": 16}),
    (
        """vit_base_patch32_siglip_gap_256 vit_giantopt_patch16_siglip_gap_256 vit_giantopt_patch16_siglip_gap_384
        vit_large_patch16_siglip_gap_512 vit_so400m_patch16_siglip_gap_256 vit_so400m_patch16_siglip_gap_384
        vit_so400m_patch16_siglip_gap_512""",
        {**_GAP, **_TANH},
    ),
    (
        """vit_betwixt_patch16_gap_256 vit_medium_patch16_gap_240 vit_medium_patch16_gap_256
        vit_medium_patch16_gap_384""",
        {**_GAP, "init_values": 1e-6, "qkv_bias": False},
    ),
    (
        """vit_betwixt_patch16_reg4_gap_256 vit_betwixt_patch16_reg4_gap_384 vit_medium_patch16_reg4_gap_256
        vit_mediumd_patch16_reg4_gap_256 vit_mediumd_patch16_reg4_gap_384""",
        {**_DINOV2, **_REGISTERS, "class_token": False, "global_pool": "avg"},
    ),
    ("vit_base_patch16_reg4_gap_256", {**_REGISTERS, "class_token": False, "global_pool": "avg"}),
)


def _arguments(name: str, more: dict[str, Any]) -> dict[str, Any]:
    found = re.match(r"(?:vit|deit3?)_([a-z0-9]+?)(?:_distilled)?_patch(\d+)", name)
    assert found is not None, name
    width, depth, heads, ratio = _SIZES[found[1]]
    sizes = {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": ratio, "patch_size": int(found[2])}
    return {**sizes, **more}


# In timm's terms, with three words of our own: `distilled` for the class that timm takes, `norm_epsilon` and
# `packed_swiglu` for the norm and the feed-forward network that it is given.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: _arguments(name, more) for names, more in _GROUPS for name in names.split()
}
