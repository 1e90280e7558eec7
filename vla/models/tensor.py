"""A tensor on disk, read slice by slice."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np

Index = tuple[slice, ...]

# The dtypes that hold plain numbers, by their names in safetensors; quantised ones mean nothing without their scales.
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
      shape: Its shape there.
      read: From slices along its first axes to that part of it, in the dtype of the file.
      dtype: Its dtype there, by its name in safetensors; only those in FLOATS can be read.
    """

    file: Path
    shape: tuple[int, ...]
    read: Callable[[Index], np.ndarray]
    dtype: str = "F32"
