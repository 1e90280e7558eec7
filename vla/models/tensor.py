"""Tensors on disk, read slice by slice, and how they make up the parameters of a network."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

Index = tuple[slice, ...]

# The dtypes of plain numbers, by their names in safetensors; quantised dtypes mean nothing without their scales.
FLOATS: dict[str, np.dtype] = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor on disk.

    Attributes:
      file: The file that holds it.
      shape: Its shape in the file.
      read: From slices along the first axes to that part of the tensor, in the dtype of the file.
      dtype: Its dtype in the file, by its name in safetensors; only those in FLOATS can be read.
    """

    file: Path
    shape: tuple[int, ...]
    read: Callable[[Index], np.ndarray]
    dtype: str = "F32"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a family's weight table: a parameter of the network, and the tensor that holds it.

    Attributes:
      name: Name of the tensor in the file, with `{}` for the number of the block, and `{expert}` for that of the
        expert if each expert has its own tensor.
      path: The parameter, as dotted attributes of the network.
      part: (which, of): the parameter is part `which` of the tensor, cut into `of` equal parts along `axis`.
      ones: How many leading axes of length one the tensor has in the file and the parameter has not.
      shares: Relative lengths of the parts if they are not equal; as many as `of`.
      heads: Into how many equal groups the axis is divided before each group is cut into parts: query, key and value
        of the first head, then those of the second, and so on.
      axis: The axis of the parameter that is cut.
      transposed: Whether the file has the two axes of the parameter in the other order.
      experts: Number of tensors that are stacked along a new first axis of the parameter; 0 for a single tensor.
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

    def _span(self) -> tuple[int, int, int]:
        """Start and length of the part, and the length of all parts, in relative units."""
        which, of = self.part
        shares = self.shares or (1,) * of
        assert len(shares) == of
        return sum(shares[:which]), shares[which], sum(shares)

    def names(self, block: int) -> tuple[str, ...]:
        """The tensors of one block, one per expert if each expert has its own."""
        return tuple(self.name.format(block, expert=expert) for expert in range(self.experts or 1))

    def shape_in_file(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of each tensor in the file, given that of the parameter in one block."""
        size = list(shape[1:] if self.experts else shape)
        _, share, total = self._span()
        size[self.axis] = size[self.axis] * total // share
        return (1,) * self.ones + tuple(size[::-1] if self.transposed else size)

    def read(self, tensors: Sequence[Tensor], index: Index) -> np.ndarray:
        """The part `index` of the parameter in one block, from its tensors, without reading the rest of them."""
        if self.experts:
            return np.stack([self._read(tensor, index[1:]) for tensor in tensors[index[0]]])
        [tensor] = tensors
        return self._read(tensor, index)

    def _read(self, tensor: Tensor, index: Index) -> np.ndarray:
        """The part `index` of the parameter, from one tensor."""
        shape = tensor.shape[self.ones :]
        length = (shape[::-1] if self.transposed else shape)[self.axis]
        pieces = []
        for piece in self._pieces(length, index[self.axis]):
            cut = (*index[: self.axis], piece, *index[self.axis + 1 :])
            part = tensor.read((slice(0, 1),) * self.ones + (cut[::-1] if self.transposed else cut))
            part = part.reshape(part.shape[self.ones :])
            pieces.append(part.T if self.transposed else part)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=self.axis)

    def _pieces(self, length: int, index: slice) -> list[slice]:
        """The slices of a tensor of that length that hold a slice of the parameter: one per group it touches."""
        first, share, total = self._span()
        unit = length // self.heads // total
        in_group = unit * share
        start, stop, _ = index.indices(in_group * self.heads)
        pieces = []
        for group in range(start // in_group, -(-stop // in_group)):
            low, high = max(start - group * in_group, 0), min(stop - group * in_group, in_group)
            begin = (group * total + first) * unit
            pieces.append(slice(begin + low, begin + high))
        return pieces


def linear(name: str, path: str, bias: bool, part: tuple[int, int] = (0, 1), **layout: Any) -> tuple[Row, ...]:
    """The rows of a linear map: its weight, and its bias if it has one; `layout` are further fields of `Row`."""
    weight = Row(f"{name}.weight", f"{path}.weight", part, **layout)
    if not bias:
        return (weight,)
    layout.pop("transposed", None)  # a vector has one axis
    return (weight, Row(f"{name}.bias", f"{path}.bias", part, **layout))


def layer_norm(name: str, path: str) -> tuple[Row, ...]:
    """The rows of a layer norm."""
    return (Row(f"{name}.weight", f"{path}.scale"), Row(f"{name}.bias", f"{path}.bias"))


def rms_norm(name: str, path: str) -> Row:
    """The row of a norm without bias."""
    return Row(f"{name}.weight", f"{path}.scale")
