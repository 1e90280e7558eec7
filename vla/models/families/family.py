"""What an architecture family is: a config reader plus a weight table."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vla.models.decoder_config import DecoderConfig
from vla.models.fields import Fields
from vla.models.tensor import Index, Tensor
from vla.models.vision_encoder import VisionConfig


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter of the network and where a checkpoint keeps it.

    Attributes:
      name: Name of the tensor in the file, with `{}` for the number of the block, and `{expert}` for that of the
        expert where every expert has a tensor of its own.
      path: Where it goes, as dotted attributes of the network.
      part: (which, of): the parameter is part `which` of the tensor, cut into `of` equal parts along `axis`.
      ones: How many leading axes of length one the tensor has in the file and the parameter has not.
      shares: Relative lengths of the parts, where they are not equal; as many as `of`.
      heads: Into how many equal groups the axis is divided, each of which is cut into parts on its own: query, key
        and value of the first head, then those of the second, and so on.
      axis: The axis of the parameter that is cut.
      transposed: Whether the file has the parameter's two axes the other way round.
      experts: Number of tensors that make up the parameter along a first axis of its own; 0 for a single one.
    """

    name: str
    path: str
    part: tuple[int, int] = (0, 1)
    ones: int = 0
    shares: tuple[int, ...] = ()
    heads: int = 1
    axis: int = 0
    transposed: bool = False
    experts: int = 0

    def _spans(self) -> tuple[int, int, int]:
        """Where the part begins and how long it is, and how long all parts are, in relative units."""
        which, of = self.part
        shares = self.shares or (1,) * of
        assert len(shares) == of
        return sum(shares[:which]), shares[which], sum(shares)

    def names(self, block: int) -> tuple[str, ...]:
        """The tensors of one block, one per expert where every expert has its own."""
        return tuple(self.name.format(block, expert=expert) for expert in range(self.experts or 1))

    def shape_in_file(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of each tensor in the file.

        Args:
          shape: Of the parameter in one block.
        """
        cut = list(shape[1:] if self.experts else shape)
        _, share, whole = self._spans()
        cut[self.axis] = cut[self.axis] * whole // share
        return (1,) * self.ones + tuple(cut[::-1] if self.transposed else cut)

    def read(self, tensors: Sequence[Tensor], index: Index) -> np.ndarray:
        """The part `index` of the parameter in one block, without reading the rest of its tensors.

        Args:
          tensors: Those of `names`.
          index: One slice per axis of the parameter.
        """
        if self.experts:
            return np.stack([self._read(tensor, index[1:]) for tensor in tensors[index[0]]])
        [tensor] = tensors
        return self._read(tensor, index)

    def _read(self, tensor: Tensor, index: Index) -> np.ndarray:
        """The same of one tensor."""
        there = tensor.shape[self.ones :]
        length = (there[::-1] if self.transposed else there)[self.axis]
        pieces = []
        for piece in self._pieces(length, index[self.axis]):
            cut = (*index[: self.axis], piece, *index[self.axis + 1 :])
            part = tensor.read((slice(0, 1),) * self.ones + (cut[::-1] if self.transposed else cut))
            part = part.reshape(part.shape[self.ones :])
            pieces.append(part.T if self.transposed else part)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=self.axis)

    def _pieces(self, length: int, wanted: slice) -> list[slice]:
        """Where in a tensor `length` long the wanted stretch of the parameter lies: a slice per group it touches."""
        first, share, whole = self._spans()
        unit = length // self.heads // whole
        in_group = unit * share
        start, stop, _ = wanted.indices(in_group * self.heads)
        pieces = []
        for group in range(start // in_group, -(-stop // in_group)):
            low, high = max(start - group * in_group, 0), min(stop - group * in_group, in_group)
            begin = (group * whole + first) * unit
            pieces.append(slice(begin + low, begin + high))
        return pieces


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
