"""The tensors of a checkpoint directory, found by name and read slice by slice."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

# numpy learns bfloat16 from it, without which safetensors cannot hand such tensors out
import ml_dtypes  # noqa: F401
import numpy as np
from safetensors import SafetensorError, safe_open

from vla.checks import listed
from vla.models.fields import read_json
from vla.models.tensor import FLOATS, Index, Tensor
from vla.models.torch_archive import archive_tensors

__all__ = ["Index", "Tensor", "choose_weights", "open_tensors", "weight_files"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

# In one file, or in several that an index names; the first that is there is taken.
LAYOUTS = ((WEIGHTS, INDEX), (PICKLED, PICKLED_INDEX))


def choose_weights(there: Collection[str], place: str, open_index: Callable[[str], Path]) -> tuple[str, ...]:
    """Names of the files that make up the weights, of all that are there; of shards their index comes first.

    Args:
      there: Names of the files of a checkpoint.
      place: Where they are, for messages.
      open_index: From the name of an index to a file that can be read.

    Raises:
      ValueError: There are no weights, or the index of a sharded checkpoint names files that are not there.
    """
    for single, index in LAYOUTS:
        if single in there:
            return (single,)
        if index in there:
            shards = sorted(set(_weight_map(open_index(index)).values()))
            absent = [shard for shard in shards if shard not in there]
            if absent:
                raise ValueError(
                    f"{index} in {place} names {len(absent)} of {len(shards)} files that are not there: "
                    f"{listed(absent)}; download them again"
                )
            return (index, *shards)
    if any(name.endswith(".gguf") for name in there):
        raise ValueError(
            f"the weights in {place} are in GGUF, the format of llama.cpp, which is not read here: name the repository "
            "that it was converted from, or convert it by transformers' "
            "from_pretrained(..., gguf_file=FILE).save_pretrained(DIR) and name DIR"
        )
    expected = " or ".join(f"{single} ({index} with its shards)" for single, index in LAYOUTS)
    raise ValueError(
        f"no weights in {place}: expected {expected}; found {listed(sorted(there)) or 'nothing'}; "
        "download what is missing"
    )


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The files with the weights of a checkpoint, in sorted order: safetensors, or torch's where there are no others.

    Raises:
      ValueError: As `choose_weights`.
    """
    there = {path.name for path in directory.iterdir() if path.is_file()}
    names = choose_weights(there, str(directory), directory.joinpath)
    return tuple(directory / name for name in names if not name.endswith(".json"))


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
    there = {path.name for path in directory.iterdir() if path.is_file()}
    names = choose_weights(there, str(directory), directory.joinpath)
    for name in names:
        file = directory / name
        found = {} if name.endswith(".json") else _tensors_of(file)
        for twice in sorted(found.keys() & tensors.keys()):
            raise ValueError(
                f"tensor {twice!r} is in {tensors[twice].file.name} and in {name} of {directory}; "
                "download the checkpoint again"
            )
        tensors |= found
    if names[0].endswith(".json"):
        _check_index(directory / names[0], tensors)
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
    """The tensors of one file; those that hold no plain numbers refuse to be read."""
    found = _safetensors_of(file) if file.suffix == ".safetensors" else archive_tensors(file)
    return {name: tensor if tensor.dtype in FLOATS else _unreadable(name, tensor) for name, tensor in found.items()}


def _safetensors_of(file: Path) -> dict[str, Tensor]:
    try:
        opened: Any = safe_open(str(file), framework="numpy")
        slices = {name: opened.get_slice(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is cut short or corrupt ({error}); download it again") from error
    # a tensor without axes has no slices, and no network here has such a parameter
    return {
        name: Tensor(file, tuple(part.get_shape()), part.__getitem__, part.get_dtype()) for name, part in slices.items()
    }


def _unreadable(name: str, tensor: Tensor) -> Tensor:
    """A tensor of whole numbers or of quantised ones: buffers that no network needs may be such."""

    def read(_: Index) -> np.ndarray:
        raise ValueError(
            f"{tensor.file}: tensor {name!r} has dtype {tensor.dtype}; supported are {', '.join(sorted(FLOATS))}. "
            "Use the unquantised checkpoint"
        )

    return Tensor(tensor.file, tensor.shape, read, tensor.dtype)
