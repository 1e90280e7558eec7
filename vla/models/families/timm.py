"""Vision transformers as timm stores them: its architectures by name, its config.json and its weights.

A norm that timm applies after pooling (`fc_norm`) is the final norm here, applied to every token before pooling as in
all families. Heads and attention pooling, which come after the last layer, are not read.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from vla.models.families.family import Family, grid_side, qkv_biases, share_of_heads
from vla.models.fields import Fields, timm_input_size
from vla.models.network_config import VisionConfig
from vla.models.tensor import Row, layer_norm, linear

_REGISTER = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_DEFAULTS: dict[str, Any] = {"init_values": None, **_REGISTER["defaults"]}


def _arguments(name: str, more: dict[str, Any]) -> dict[str, Any]:
    match = re.match(r"(?:vit|deit3?)_([a-z0-9]+?)(?:_distilled)?_patch(\d+)", name)
    assert match is not None, name
    return {**_REGISTER["sizes"][match[1]], "patch_size": int(match[2]), **more}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: _arguments(name, group.get("more", {})) for group in _REGISTER["group"] for name in group["names"].split()
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
