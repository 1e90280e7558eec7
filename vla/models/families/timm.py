"""Vision transformers as timm stores them: its architectures by name, its config.json and its weights.

A norm that timm applies after pooling (`fc_norm`) is the final norm here, applied to every token before pooling as in
all families. Heads and attention pooling, which come after the last layer, are not read.
"""

import re
from typing import Any

from vla.models.families.family import Family, grid_side, qkv_biases, share_of_heads
from vla.models.fields import Fields, timm_input_size
from vla.models.network_config import VisionConfig
from vla.models.tensor import Row, layer_norm, linear

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

# Names, which contain size and patch, and the further arguments of each group of names.
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
    match = re.match(r"(?:vit|deit3?)_([a-z0-9]+?)(?:_distilled)?_patch(\d+)", name)
    assert match is not None, name
    width, depth, heads, ratio = _SIZES[match[1]]
    sizes = {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": ratio, "patch_size": int(match[2])}
    return {**sizes, **more}


# Arguments have timm's names, and three that timm has not: `distilled` (the class that timm uses), `norm_epsilon` and
# `packed_swiglu` (the norm and the feed-forward network that timm passes).
ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: _arguments(name, more) for names, more in _GROUPS for name in names.split()
}


# timm's defaults.
_DEFAULTS: dict[str, Any] = {
    "act_layer": "gelu",
    "class_token": True,
    "distilled": False,
    "global_pool": "token",
    "init_values": None,
    "no_embed_class": False,
    "norm_epsilon": 1e-6,
    "packed_swiglu": False,
    "pre_norm": False,
    "qkv_bias": True,
    "reg_tokens": 0,
}
_NONLINEARITIES = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
_POOLS = ("", "avg", "avgmax", "map", "max", "token")


def read_timm(fields: Fields) -> VisionConfig:
    """Read a config.json of timm: an architecture by name, and the arguments in which the model differs from it."""
    name = fields.choice("architecture", tuple(ARCHITECTURES))
    known = {**_DEFAULTS, **ARCHITECTURES[name]}
    channels, image, pool = _pretrained(fields)
    args = fields.part("model_args") or Fields({}, f"{fields.where}, 'model_args'")
    width, patch = args.integer("embed_dim", known["embed_dim"]), args.side("patch_size", known["patch_size"])
    inner = int(width * args.number("mlp_ratio", known["mlp_ratio"]))
    class_token = args.flag("class_token", known["class_token"])
    registers = args.integer("reg_tokens", known["reg_tokens"], least=0)
    prefix = class_token + known["distilled"] + registers
    gated = known["packed_swiglu"]
    config = VisionConfig(
        width=width,
        depth=args.integer("depth", known["depth"]),
        heads=args.integer("num_heads", known["num_heads"]),
        inner=inner // 2 if gated else inner,
        nonlinearity="silu"
        if gated
        else _NONLINEARITIES[args.choice("act_layer", tuple(_NONLINEARITIES), known["act_layer"])],
        gated=gated,
        norm_epsilon=known["norm_epsilon"],
        patch=patch,
        grid=grid_side(fields, args.side("img_size", image), patch),
        channels=args.integer("in_chans", channels),
        class_token=class_token,
        distillation_token=known["distilled"],
        registers=registers,
        prefix_positions=0 if args.flag("no_embed_class", known["no_embed_class"]) else prefix,
        antialias=True,
        embedding_norm=args.flag("pre_norm", known["pre_norm"]),
        # timm leaves it out where a norm follows
        patch_bias=not args.flag("pre_norm", known["pre_norm"]),
        **qkv_biases(args.flag("qkv_bias", known["qkv_bias"])),
        layer_scale=args.number("init_values", known["init_values"]) is not None,
    )
    args.choice("global_pool", _POOLS, pool or known["global_pool"])
    _refuse(args)
    args.finish()
    share_of_heads(fields, config.width, config.heads)
    return config


def _pretrained(fields: Fields) -> tuple[int, int, str | None]:
    """Channels, side of the image and pooling that `pretrained_cfg` names; older files have its fields at the top."""
    fields.ignore("num_classes", "num_features", "global_pool", "label_names", "label_descriptions", "labels")
    section = fields.part("pretrained_cfg")
    cfg = fields if section is None else section
    cfg.ignore("url", "file", "hf_hub_id", "hf_hub_filename", "source", "architecture", "tag", "custom_load")
    cfg.ignore("num_classes", "label_offset", "label_names", "label_descriptions", "first_conv", "classifier")
    cfg.ignore("license", "description", "origin_url", "paper_name", "paper_ids", "notes")
    # Settings of the image processor, which `image_processors` reads.
    cfg.ignore("interpolation", "crop_pct", "crop_mode", "mean", "std", "pool_size")
    cfg.ignore("test_input_size", "test_crop_pct", "test_pool_size", "min_input_size")
    pool = cfg.choice("global_pool", _POOLS) if "global_pool" in cfg else None
    channels, side = timm_input_size(cfg)
    if not cfg.flag("fixed_input_size", False):
        side = 224
    if section is not None:
        section.finish()
        # Without this section timm takes every field at the top for one of it, and refuses what it does not know.
        fields.ignore("model_args")
        fields.ignore_rest("timm")
    return channels, side, pool


def _refuse(args: Fields) -> None:
    """Refuse arguments that change the network, and ignore those of training and of heads."""
    args.ignore("num_classes", "fc_norm", "pool_include_prefix", "dynamic_img_size", "strict_img_size")
    args.ignore("drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
    args.ignore("weight_init", "fix_init")
    for name in ("qk_norm", "scale_attn_norm", "scale_mlp_norm", "dynamic_img_pad", "use_naflex"):
        args.only(name, False, "timm's plain vision transformers")
    for name in ("proj_bias", "final_norm"):
        args.only(name, True, "timm's plain vision transformers")
    args.only("pos_embed", "learn", "timm's plain vision transformers")
    for name in ("norm_layer", "mlp_layer", "block_fn", "attn_layer", "embed_layer", "embed_norm_layer"):
        args.only(name, None, "as the architecture's name says")


def _table(config: VisionConfig, norm: str) -> tuple[Row, ...]:
    names = "blocks.{}"
    attention, up = f"{names}.attn.qkv", f"{names}.mlp.fc1"
    rows: tuple[Row, ...] = ()
    if config.class_token:
        rows += (Row("cls_token", "embedding.cls", ones=2),)
    if config.distillation_token:
        rows += (Row("dist_token", "embedding.distillation", ones=2),)
    if config.registers:
        rows += (Row("reg_token", "embedding.registers", ones=1),)
    if config.embedding_norm:
        rows += layer_norm("norm_pre", "embedding.norm")
    if config.layer_scale:
        rows += (Row(f"{names}.ls1.gamma", "blocks.scale1"), Row(f"{names}.ls2.gamma", "blocks.scale2"))
    if config.gated:
        rows += linear(up, "blocks.feed_forward.gate", True, part=(0, 2))
    return (
        *rows,
        Row("pos_embed", "embedding.positions", ones=1),
        *linear("patch_embed.proj", "embedding", config.patch_bias)[1:],
        Row("patch_embed.proj.weight", "embedding.projection"),
        *layer_norm(f"{names}.norm1", "blocks.norm1"),
        *linear(attention, "blocks.attention.query", config.query_bias, part=(0, 3)),
        *linear(attention, "blocks.attention.key", config.key_bias, part=(1, 3)),
        *linear(attention, "blocks.attention.value", config.value_bias, part=(2, 3)),
        *linear(f"{names}.attn.proj", "blocks.attention.out", True),
        *layer_norm(f"{names}.norm2", "blocks.norm2"),
        *linear(up, "blocks.feed_forward.up", True, part=(1, 2) if config.gated else (0, 1)),
        *linear(f"{names}.mlp.fc2", "blocks.feed_forward.down", True),
        *layer_norm(norm, "final_norm"),
    )


def timm_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of models that timm normalises before pooling."""
    return _table(config, "norm")


def timm_fc_norm_table(config: VisionConfig) -> tuple[Row, ...]:
    """The weights of models that timm normalises after pooling."""
    return _table(config, "fc_norm")


TIMM = Family(
    read=read_timm,
    table=timm_table,
    prefixes=("",),
    unused=(r"head(_dist)?\..*", r"attn_pool\..*"),
    other_tables=(timm_fc_norm_table,),
)
