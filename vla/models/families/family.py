"""What an architecture family is: a config reader plus a weight table."""

import dataclasses
from collections.abc import Callable
from typing import Any

from vla.models.decoder import DecoderConfig
from vla.models.fields import Fields
from vla.models.vision_encoder import VisionConfig

# Name of one of transformers' tokenizer classes, and what it is to be told unless the checkpoint says otherwise.
TokenizerClass = tuple[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter of the network and where a checkpoint keeps it.

    Attributes:
      name: Name of the tensor in the file, with `{}` for the number of the block.
      path: Where it goes, as dotted attributes of the network.
      part: (which, of): the parameter is part `which` of the tensor, cut into `of` equal parts along its first axis.
      ones: How many leading axes of length one the tensor has in the file and the parameter has not.
    """

    name: str
    path: str
    part: tuple[int, int] = (0, 1)
    ones: int = 0


@dataclasses.dataclass(frozen=True)
class Family:
    """An architecture family.

    Attributes:
      read: From the fields of config.json to the network's config; reads or refuses every field.
      table: From the config to the rows that fill the network.
      prefixes: What may stand before every name of the table, as a model with a head has it.
      unused: Regular expressions of tensors, without prefix, that a checkpoint may hold and no readout needs.
      tokenizer: The tokenizer of checkpoints that do not name one; None for vision.
    """

    read: Callable[[Fields], VisionConfig | DecoderConfig]
    table: Callable[..., tuple[Row, ...]]
    prefixes: tuple[str, ...]
    unused: tuple[str, ...]
    tokenizer: TokenizerClass | None = None


def linear(name: str, path: str, bias: bool, part: tuple[int, int] = (0, 1)) -> tuple[Row, ...]:
    """The rows of a linear map: its weight, and its bias where there is one."""
    weight = Row(f"{name}.weight", f"{path}.weight", part)
    return (weight, Row(f"{name}.bias", f"{path}.bias", part)) if bias else (weight,)


def layer_norm(name: str, path: str) -> tuple[Row, ...]:
    """The rows of a layer norm."""
    return (Row(f"{name}.weight", f"{path}.scale"), Row(f"{name}.bias", f"{path}.bias"))
