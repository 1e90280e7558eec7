"""What an architecture family is: a config reader plus a weight table."""

import dataclasses
from collections.abc import Callable
from typing import Any

from vla.models.decoder_config import DecoderConfig
from vla.models.families.row import Row
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig

__all__ = ["Family", "Row", "layer_norm", "linear"]


@dataclasses.dataclass(frozen=True)
class Family:
    """An architecture family.

    Attributes:
      read: From the fields of config.json to the network's config; reads or refuses every field.
      table: From the config to the rows that fill the network.
      prefixes: What may stand before every name of the table, as a model with a head has it.
      unused: Regular expressions of tensors, without prefix, that a checkpoint may hold and no readout needs:
        buffers, heads, other towers. None of them is a parameter of the network that a config can say does not exist.
        A group called `block` is the number of a block, below the depth.
      tokenizer: The published tokenizer class of a vocabulary without tokenizer.json whose files name no class; ""
        where only a tokenizer.json says enough; None for vision.
      other_tables: The same for checkpoints that store the same parameters in other tensors.
    """

    read: Callable[[Fields], VisionConfig | DecoderConfig]
    table: Callable[..., tuple[Row, ...]]
    prefixes: tuple[str, ...]
    unused: tuple[str, ...]
    tokenizer: str | None = None
    other_tables: tuple[Callable[..., tuple[Row, ...]], ...] = ()


def linear(name: str, path: str, bias: bool, part: tuple[int, int] = (0, 1), **layout: Any) -> tuple[Row, ...]:
    """The rows of a linear map: its weight, and its bias where there is one.

    Args:
      name: Of the map in the file.
      path: Where it goes.
      bias: Whether there is one.
      part: As `Row.part`.
      **layout: Further fields of `Row`.
    """
    weight = Row(f"{name}.weight", f"{path}.weight", part, **layout)
    if not bias:
        return (weight,)
    layout.pop("transposed", None)  # a vector has no other way round
    return (weight, Row(f"{name}.bias", f"{path}.bias", part, **layout))


def layer_norm(name: str, path: str) -> tuple[Row, ...]:
    """The rows of a layer norm."""
    return (Row(f"{name}.weight", f"{path}.scale"), Row(f"{name}.bias", f"{path}.bias"))
