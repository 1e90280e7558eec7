"""The tensors of a checkpoint directory by name, read slice by slice."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

# Registers bfloat16 with NumPy, which safetensors needs.
import ml_dtypes  # noqa: F401
import numpy as np
from safetensors import SafetensorError, safe_open

from vla.checks import listed
from vla.models.fields import read_json
from vla.models.tensor import FLOATS, Index, Tensor
from vla.models.torch_archive import archive_tensors

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

# A single file, or the index of several; the first that exists is used.
LAYOUTS = ((WEIGHTS, INDEX), (PICKLED, PICKLED_INDEX))


def choose_weights(existing: Collection[str], folder: str, open_index: Callable[[str], Path]) -> tuple[str, ...]:
    """Names of the files that make up the weights; of sharded weights the index comes first.

    Args:
      existing: Names of the files of a checkpoint.
      folder: Their folder or repository, for messages.
      open_index: From the name of an index to a file that can be read.

    Raises:
      ValueError: There are no weights, or the index of a sharded checkpoint names files that do not exist.
    """
    for single, index in LAYOUTS:
        if single in existing:
            return (single,)
        if index in existing:
            shards = sorted(set(_weight_map(open_index(index)).values()))
            absent = [shard for shard in shards if shard not in existing]
            if absent:
                raise ValueError(
                    f"{index} in {folder} names {len(absent)} of {len(shards)} files that do not exist: "
                    f"{listed(absent)}; download them again"
                )
            return (index, *shards)
    if any(name.endswith(".gguf") for name in existing):
        raise ValueError(
            f"the weights in {folder} are in GGUF, the format of llama.cpp, which is not read here: name the "
            "repository that it was converted from, or convert it by transformers' "
            "from_pretrained(..., gguf_file=FILE).save_pretrained(DIR) and name DIR"
        )
    expected = " or ".join(f"{single} ({index} with its shards)" for single, index in LAYOUTS)
    raise ValueError(
        f"no weights in {folder}: expected {expected}; found {listed(sorted(existing)) or 'nothing'}; "
        "download what is missing"
    )


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The files with the weights of a checkpoint, in sorted order; raises as `choose_weights`."""
    names = _weight_names(directory)
    return tuple(directory / name for name in names if not name.endswith(".json"))


def _weight_names(directory: Path) -> tuple[str, ...]:
    existing = {path.name for path in directory.iterdir() if path.is_file()}
    return choose_weights(existing, str(directory), directory.joinpath)


def _weight_map(index: Path) -> dict[str, str]:
    """From tensor names to file names."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no 'weight_map' from tensors to files; download it again")
    for name, file in names.items():
        # A path could lead to any file of the machine.
        if not isinstance(file, str) or Path(file).name != file:
            raise ValueError(f"{index} says that {name!r} is in {file!r}, which is not a file name; download it again")
    return names


def open_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of the checkpoint by their names in the files; no numbers are read yet.

    Raises:
      ValueError: No weights, a file that is cut short or corrupt, an index that disagrees with its shards.
    """
    tensors: dict[str, Tensor] = {}
    names = _weight_names(directory)
    for name in names:
        file = directory / name
        in_file = {} if name.endswith(".json") else _tensors_of(file)
        for twice in sorted(in_file.keys() & tensors.keys()):
            raise ValueError(
                f"tensor {twice!r} is in {tensors[twice].file.name} and in {name} of {directory}; "
                "download the checkpoint again"
            )
        tensors |= in_file
    if names[0].endswith(".json"):
        _check_index(directory / names[0], tensors)
    return tensors


def _check_index(index: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse an index that disagrees with its shards."""
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
    """The tensors of one file; quantised and integer tensors raise an error when they are read."""
    tensors = _safetensors_of(file) if file.suffix == ".safetensors" else archive_tensors(file)
    return {name: tensor if tensor.dtype in FLOATS else _unreadable(name, tensor) for name, tensor in tensors.items()}


def _safetensors_of(file: Path) -> dict[str, Tensor]:
    try:
        opened: Any = safe_open(str(file), framework="numpy")
        slices = {name: opened.get_slice(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is cut short or corrupt ({error}); download it again") from error
    # A scalar has no slices, and no network here has one.
    return {
        name: Tensor(file, tuple(part.get_shape()), part.__getitem__, part.get_dtype()) for name, part in slices.items()
    }


def _unreadable(name: str, tensor: Tensor) -> Tensor:
    """A tensor of integers or quantised numbers, which may be a buffer that no network needs."""

    def read(_: Index) -> np.ndarray:
        raise ValueError(
            f"{tensor.file}: tensor {name!r} has dtype {tensor.dtype}; supported are {', '.join(sorted(FLOATS))}. "
            "Use the unquantised checkpoint"
        )

    return Tensor(tensor.file, tensor.shape, read, tensor.dtype)
