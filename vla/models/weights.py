"""Filling a network from a checkpoint, completely or not at all.

Axes: L blocks, the leading axis of every parameter of the stacked blocks.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from vla import devices
from vla.models.checkpoint import Tensor, open_tensors
from vla.models.families.family import Family, Row

_STACKED = "blocks."


def load_weights(abstract: Any, family: Family, table: Sequence[Row], directory: Path, depth: int) -> Any:
    """The network with the checkpoint's weights, in the dtypes of the abstract network.

    One parameter at a time is read, converted and put on the devices, each of which asks for its own part of it, so
    that memory peaks at the weights and one (stacked) parameter.

    Args:
      abstract: The network as `jax.eval_shape` gives it.
      family: Prefixes, and tensors that may be there without being needed.
      table: One row per parameter.
      directory: The checkpoint.
      depth: L.

    Raises:
      ValueError: Anything missing, unknown or mis-shaped, all of it in one error; an unreadable file.
    """
    graph, state = nnx.split(abstract)
    flat = {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}
    rows = {row.path: row for row in table}
    assert rows.keys() == flat.keys(), sorted(rows.keys() ^ flat.keys())

    tensors = open_tensors(directory)
    prefix = _prefix(table, family.prefixes, tensors)
    sources = {path: _names(row, prefix, depth) for path, row in rows.items()}
    shapes = {path: variable.get_value().shape for path, variable in flat.items()}
    _check(sources, rows, shapes, tensors, family, prefix, directory)

    for path, variable in flat.items():
        found = [tensors[name] for name in sources[path]]
        dtype = variable.get_value().dtype

        def read(index: tuple[slice, ...], found=found, row=rows[path], dtype=dtype) -> np.ndarray:
            return _read(found, row, index, dtype)

        variable.set_value(devices.on_every_device(shapes[path], read))
    return nnx.merge(graph, state)


def _names(row: Row, prefix: str, depth: int) -> list[str]:
    """The tensors of one row: one per block, or a single one."""
    name = prefix + row.name
    return [name.format(i) for i in range(depth)] if row.path.startswith(_STACKED) else [name]


def _prefix(table: Sequence[Row], prefixes: Sequence[str], tensors: dict[str, Tensor]) -> str:
    """The prefix under which most of the table is found; the first of equals."""
    names = [row.name.format(0) for row in table]
    return max(prefixes, key=lambda prefix: sum(prefix + name in tensors for name in names))


def _file_shape(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the file of what becomes a parameter of `shape`, the axis of blocks included."""
    inner = shape[1:] if row.path.startswith(_STACKED) else shape
    return (1,) * row.ones + (inner[0] * row.part[1], *inner[1:])


def _check(
    sources: dict[str, list[str]],
    rows: dict[str, Row],
    shapes: dict[str, tuple[int, ...]],
    tensors: dict[str, Tensor],
    family: Family,
    prefix: str,
    directory: Path,
) -> None:
    """Raise one error about everything that is missing, unknown or mis-shaped."""
    expected = {name: _file_shape(rows[path], shapes[path]) for path, names in sources.items() for name in names}
    missing = sorted(expected.keys() - tensors.keys())
    unused = re.compile(f"({'|'.join(map(re.escape, sorted(family.prefixes)))})({'|'.join(family.unused)})")
    unknown = sorted(name for name in tensors.keys() - expected.keys() if not unused.fullmatch(name))
    shaped = sorted(name for name in expected.keys() & tensors.keys() if tensors[name].shape != expected[name])
    if not (missing or unknown or shaped):
        return
    lines = [f"the weights in {directory} are not those that its config.json describes:"]
    lines += [f"  missing: {name} {list(expected[name])}" for name in missing]
    lines += [f"  unknown: {name} {list(tensors[name].shape)} in {tensors[name].file.name}" for name in unknown]
    lines += [
        f"  mis-shaped: {name} is {list(tensors[name].shape)} in {tensors[name].file.name}, "
        f"expected {list(expected[name])}"
        for name in shaped
    ]
    lines.append("Use the config.json that was published with these weights, or download the checkpoint again")
    raise ValueError("\n".join(lines))


def _read(found: list[Tensor], row: Row, index: tuple[slice, ...], dtype: DTypeLike) -> np.ndarray:
    """The part `index` of a parameter, put together from the same part of every block's tensor."""
    if not row.path.startswith(_STACKED):
        return _slice(found[0], row, index).astype(dtype)
    blocks = found[index[0]]
    first = _slice(blocks[0], row, index[1:])
    stacked = np.empty((len(blocks), *first.shape), dtype)
    stacked[0] = first
    for i, tensor in enumerate(blocks[1:], start=1):
        stacked[i] = _slice(tensor, row, index[1:])
    return stacked


def _slice(tensor: Tensor, row: Row, index: tuple[slice, ...]) -> np.ndarray:
    """The part `index` of one block's parameter, without reading the rest of the tensor."""
    which, of = row.part
    length = tensor.shape[row.ones] // of
    start, stop, _ = index[0].indices(length)
    leading = slice(which * length + start, which * length + stop)
    part = tensor.read((slice(0, 1),) * row.ones + (leading, *index[1:]))
    return part.reshape(part.shape[row.ones :])
