"""Vision transformers as timm stores them: its config.json, and its names of tensors.

A norm that timm applies after pooling (`fc_norm`) is the final norm here too, applied to every token before pooling as
all families have it. Heads and attention pooling, which are above the last layer, are not read.
"""

from typing import Any

from vla.models.families.family import Family, Row, layer_norm, linear
from vla.models.families.timm_architectures import ARCHITECTURES
from vla.models.families.vit import check_heads, grid_side, qkv_biases
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig

# timm's own, where an architecture says nothing.
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


def is_timm(values: dict[str, Any]) -> bool:
    """Whether a config.json is one of timm's."""
    return "architecture" in values and "model_type" not in values


def read_timm(fields: Fields) -> VisionConfig:
    """Read a config.json of timm's: an architecture by name, and the arguments in which the model differs from it."""
    name = fields.choice("architecture", tuple(ARCHITECTURES))
    known = {**_DEFAULTS, **ARCHITECTURES[name]}
    channels, image, pool = _pretrained(fields)
    args = fields.part("model_args") or Fields({}, f"{fields.where}, 'model_args'")
    width, patch = args.whole("embed_dim", known["embed_dim"]), args.side("patch_size", known["patch_size"])
    inner = int(width * args.number("mlp_ratio", known["mlp_ratio"]))
    class_token = args.flag("class_token", known["class_token"])
    registers = args.whole("reg_tokens", known["reg_tokens"], least=0)
    extra = class_token + known["distilled"] + registers
    gated = known["packed_swiglu"]
    config = VisionConfig(
        width=width,
        depth=args.whole("depth", known["depth"]),
        heads=args.whole("num_heads", known["num_heads"]),
        inner=inner // 2 if gated else inner,
        nonlinearity="silu"
        if gated
        else _NONLINEARITIES[args.choice("act_layer", tuple(_NONLINEARITIES), known["act_layer"])],
        gated=gated,
        norm_epsilon=known["norm_epsilon"],
        patch=patch,
        grid=grid_side(fields, args.side("img_size", image), patch),
        channels=args.whole("in_chans", channels),
        class_token=class_token,
        distillation_token=known["distilled"],
        registers=registers,
        placed=0 if args.flag("no_embed_class", known["no_embed_class"]) else extra,
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
    check_heads(fields, config.width, config.heads)
    return config


def _pretrained(fields: Fields) -> tuple[int, int, str | None]:
    """Channels, side of the image and pooling that `pretrained_cfg` names; older files have its fields at the top."""
    fields.ignore("num_classes", "num_features", "global_pool", "label_names", "label_descriptions", "labels")
    section = fields.part("pretrained_cfg")
    given = fields if section is None else section
    given.ignore("url", "file", "hf_hub_id", "hf_hub_filename", "source", "architecture", "tag", "custom_load")
    given.ignore("num_classes", "label_offset", "label_names", "label_descriptions", "first_conv", "classifier")
    given.ignore("license", "description", "origin_url", "paper_name", "paper_ids", "notes")
    # What is done to images, which `timm_images` reads; and what timm would do for larger ones.
    given.ignore("interpolation", "crop_pct", "crop_mode", "mean", "std", "pool_size")
    given.ignore("test_input_size", "test_crop_pct", "test_pool_size", "min_input_size")
    pool = given.choice("global_pool", _POOLS) if "global_pool" in given else None
    channels, side = input_size(given)
    if not given.flag("fixed_input_size", False):
        side = 224
    if section is not None:
        section.finish()
        # Without this section timm takes every field at the top for one of it, and refuses what it does not know.
        fields.ignore("model_args")
        fields.ignore_rest("timm")
    return channels, side, pool


def input_size(fields: Fields) -> tuple[int, int]:
    """Channels and side of the images in `input_size`, [C, H, W].

    Raises:
      ValueError: It is something else, or no square.
    """
    size = fields.numbers("input_size") if "input_size" in fields else (3, 224, 224)
    if len(size) != 3 or any(part != int(part) for part in size) or size[1] != size[2]:
        raise ValueError(f"{fields.where}: 'input_size' is {list(size)}; expected [C, H, W] with H = W")
    return int(size[0]), int(size[1])


def _refuse(args: Fields) -> None:
    """Refuse arguments that make another network, and pass those that only matter in training or to heads."""
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
    """Names in the file and where they go."""
    return _table(config, "norm")


def timm_fc_norm_table(config: VisionConfig) -> tuple[Row, ...]:
    """The same of models that timm normalises after pooling."""
    return _table(config, "fc_norm")


TIMM = Family(
    read=read_timm,
    table=timm_table,
    prefixes=("",),
    unused=(r"head(_dist)?\..*", r"attn_pool\..*"),
    other_tables=(timm_fc_norm_table,),
)
