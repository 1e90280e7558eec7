"""An architecture family: a reader of its config and a table of its weights; and readers that families share."""

import dataclasses
from collections.abc import Callable
from typing import Any

from vla.models.fields import Fields
from vla.models.linear import NONLINEARITIES
from vla.models.network_config import DecoderConfig, VisionConfig
from vla.models.tensor import Row

Table = Callable[[Any], tuple[Row, ...]]


@dataclasses.dataclass(frozen=True)
class Family:
    """An architecture family.

    Attributes:
      read: From the fields of config.json to the network's config; reads or refuses every field.
      table: From that config to the rows that fill the network.
      prefixes: What may precede every name of the table, as in a model with a head.
      unused: Regular expressions of tensors, without prefix, that a checkpoint may hold and no readout needs: buffers,
        heads, other towers. None of them may match a parameter that some config has. A group called `block` is the
        number of a block, below the depth.
      tokenizer: The published tokenizer class for a vocabulary without tokenizer.json whose files name no class; "" if
        only a tokenizer.json is enough; None for vision.
      other_tables: Tables of checkpoints that store the same parameters in other tensors.
    """

    read: Callable[[Fields], VisionConfig | DecoderConfig]
    table: Table
    prefixes: tuple[str, ...]
    unused: tuple[str, ...]
    tokenizer: str | None = None
    other_tables: tuple[Table, ...] = ()


def share_of_heads(fields: Fields, width: int, heads: int) -> int:
    """Units per head if the heads share the width.

    Raises:
      ValueError: The width does not divide by the heads.
    """
    if width % heads:
        raise ValueError(f"{fields.where}: hidden_size {width} does not divide by num_attention_heads {heads}")
    return width // heads


def grid_side(fields: Fields, image: int, patch: int) -> int:
    """Patches along one side of the training image.

    Raises:
      ValueError: The image is smaller than a patch.
    """
    if image < patch:
        raise ValueError(f"{fields.where}: image_size {image} is smaller than patch_size {patch}")
    return image // patch


def qkv_biases(exist: bool) -> dict[str, bool]:
    """The fields of VisionConfig for families whose queries, keys and values all have biases or all have none."""
    return {"query_bias": exist, "key_bias": exist, "value_bias": exist}


def read_encoder(
    fields: Fields,
    *,
    patch: int,
    epsilon: float,
    nonlinearity: str = "gelu",
    width: int = 768,
    heads: int = 12,
    inner: int | None = 3072,
    **options: Any,
) -> VisionConfig:
    """Read the sizes that the vision encoders of Hugging Face share; the arguments are defaults of a family.

    `inner` is None, and 0 in the result, for families that derive it from other fields. `options` are further fields
    of VisionConfig.
    """
    patch = fields.side("patch_size", patch)
    config = VisionConfig(
        width=fields.integer("hidden_size", width),
        depth=fields.integer("num_hidden_layers", 12),
        heads=fields.integer("num_attention_heads", heads),
        inner=0 if inner is None else fields.integer("intermediate_size", inner),
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), nonlinearity),
        norm_epsilon=fields.number("layer_norm_eps", epsilon),
        patch=patch,
        grid=grid_side(fields, fields.side("image_size", 224), patch),
        channels=fields.integer("num_channels", 3),
        **options,
    )
    share_of_heads(fields, config.width, config.heads)
    return config


# The fields of DecoderConfig of decoders with layer norms and biases, and without rotary embedding.
CLASSIC: dict[str, Any] = {
    "rotary": None,
    "attention_bias": True,
    "out_bias": True,
    "feed_forward_bias": True,
    "gated": False,
    "norm": "layer",
}


def read_causal(fields: Fields) -> bool:
    """Read `is_causal`, which no config class declares and the masks of all decoders of Hugging Face obey.

    Without a causal mask, a sliding window extends to either side, as `DecoderConfig.window` says.
    """
    return fields.flag("is_causal", None) is not False
