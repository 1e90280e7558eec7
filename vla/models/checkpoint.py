"""The tensors of a checkpoint directory, found by name and read slice by slice."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

# numpy learns bfloat16 from it, without which safetensors cannot hand such tensors out
import ml_dtypes  # noqa: F401
import numpy as np
from safetensors import SafetensorError, safe_open

from vla.models.fields import read_json
from vla.records import listed

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# What safetensors calls the dtypes that hold plain numbers; quantised ones mean nothing without their scales.
_DTYPES = ("BF16", "F16", "F32", "F64")

Index = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor on disk.

    Attributes:
      file: The file that holds it.
      shape: Its shape there.
      read: From slices along its first axes to that part of it, in the dtype of the file.
    """

    file: Path
    shape: tuple[int, ...]
    read: Callable[[Index], np.ndarray]


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, in sorted order.

    Raises:
      ValueError: There are none, or the index of a sharded checkpoint names files that are not there.
    """
    if (directory / WEIGHTS).is_file():
        return (directory / WEIGHTS,)
    if (directory / INDEX).is_file():
        files = sorted({directory / name for name in _weight_map(directory / INDEX).values()})
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise ValueError(
                f"{directory / INDEX} names {len(absent)} of {len(files)} files that are not there: "
                f"{', '.join(absent)}; download them again"
            )
        return tuple(files)
    pickled = sorted(path.name for path in directory.glob("*.bin") if path.name.startswith("pytorch_model"))
    if pickled:
        raise ValueError(
            f"{directory} holds its weights only as {listed(pickled)}, which cannot be read; convert them to "
            "safetensors once, with transformers and torch: "
            "AutoModel.from_pretrained(directory).save_pretrained(new_directory)"
        )
    there = sorted(path.name for path in directory.iterdir())
    raise ValueError(
        f"no weights in {directory}: expected {WEIGHTS}, or {INDEX} with its shards; found {listed(there) or 'nothing'}"
    )


def _weight_map(index: Path) -> dict[str, str]:
    """From tensor names to file names."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no 'weight_map' from tensors to files; download it again")
    for name, file in names.items():
        # An index may only name its neighbours: a path could lead to any file of the machine.
        if not isinstance(file, str) or Path(file).name != file:
            raise ValueError(f"{index} says that {name!r} is in {file!r}, which is no file name; download it again")
    return names


def open_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of the checkpoint by their names in the files; nothing is read yet.

    Raises:
      ValueError: No weights, a file that is cut short or corrupt, an index at odds with its shards.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(directory):
        for name, tensor in _tensors_of(file).items():
            if name in tensors:
                raise ValueError(
                    f"tensor {name!r} is in {tensors[name].file.name} and in {file.name} of {directory}; "
                    "download the checkpoint again"
                )
            tensors[name] = tensor
    if not (directory / WEIGHTS).is_file():
        _check_index(directory / INDEX, tensors)
    return tensors


def _check_index(index: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse an index that says anything else than its shards do."""
    names = _weight_map(index)
    wrong = [
        f"{name} (should be in {file}, {'is in ' + tensors[name].file.name if name in tensors else 'is in no shard'})"
        for name, file in sorted(names.items())
        if name not in tensors or tensors[name].file.name != file
    ]
    wrong += [f"{name} (in {tensors[name].file.name}, not in the index)" for name in sorted(set(tensors) - set(names))]
    if wrong:
        raise ValueError(f"{index} and its shards disagree about {'; '.join(wrong)}; download the checkpoint again")


def _tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of one file."""
    try:
        opened: Any = safe_open(str(file), framework="numpy")
        slices = {name: opened.get_slice(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is cut short or corrupt ({error}); download it again") from error
    tensors = {}
    for name, part in slices.items():
        if part.get_dtype() not in _DTYPES:
            raise ValueError(
                f"{file}: tensor {name!r} has dtype {part.get_dtype()}; supported are {', '.join(_DTYPES)}. "
                "Use the unquantised checkpoint"
            )
        # a tensor without axes has no slices, and no network here has such a parameter
        tensors[name] = Tensor(file, tuple(part.get_shape()), part.__getitem__)
    return tensors
