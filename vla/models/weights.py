"""Filling a network from a checkpoint, completely or not at all.

Axes: L blocks, the leading axis of every parameter of the stacked blocks.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike

from vla import devices
from vla.models.checkpoint import Tensor, open_tensors
from vla.models.families.family import Family, Row
from vla.models.tensor import FLOATS

# Maps back to the width: their inputs are what the maps before them have spread over the devices.
_BACK = (".out.weight", ".down.weight", ".down")
_FORTH = (
    "query.weight",
    "key.weight",
    "value.weight",
    "gate.weight",
    "up.weight",
    "feed_forward.gate",
    "feed_forward.up",
)


def sharded_axis(path: str, shape: tuple[int, ...], parts: int) -> int | None:
    """The axis of one block's parameter, or of one outside the blocks, that `parts` devices share; None for none.

    As in Megatron-LM (Shoeybi et al., arXiv:1909.08053): maps into attention and into the feed-forward network are
    cut by their outputs, maps back by their inputs, so that one sum over the devices per branch is all they exchange;
    the table of token embeddings is cut by the vocabulary. What does not divide is held whole by each.

    Args:
      path: Dotted attributes of the network.
      shape: [E, D] of maps, [X, E, D] of experts', [V, D] of the table.
      parts: How many devices share a copy.
    """
    if parts == 1:
        return None
    axis = None
    if path == "embedding":
        axis = 0
    elif path.endswith(_BACK):
        axis = len(shape) - 1
    elif path.endswith(_FORTH):
        axis = len(shape) - 2
    return axis if axis is not None and shape[axis] % parts == 0 else None


_STACKED = "blocks."


class Weights:
    """Which tensors of a checkpoint fill which parameters of a network; read as often as one likes.

    Attributes:
      mesh: The devices that hold what is read.
    """

    def __init__(
        self,
        abstract: Any,
        family: Family,
        tables: Sequence[Sequence[Row]],
        directory: Path,
        depth: int,
        mesh: Mesh | None = None,
    ) -> None:
        """Look at names and shapes; no weight is read.

        Args:
          abstract: The network as `jax.eval_shape` gives it.
          family: Prefixes, and tensors that may be there without being needed.
          tables: One row per parameter; the table that fits the checkpoint best is taken.
          directory: The checkpoint.
          depth: L.
          mesh: Devices; by default all of this process, each with a copy of its own.

        Raises:
          ValueError: Anything missing, unknown or mis-shaped, all of it in one error; an unreadable file.
        """
        self.mesh = devices.mesh() if mesh is None else mesh
        self._abstract, self._directory = abstract, directory
        tensors = open_tensors(directory)
        table, prefix = _layout(tables, family.prefixes, tensors)
        self._rows = {row.path: row for row in table}
        flat = _flat(nnx.split(abstract)[1])
        assert self._rows.keys() == flat.keys(), sorted(self._rows.keys() ^ flat.keys())
        self._names = {path: _names(row, prefix, depth) for path, row in self._rows.items()}
        shapes = {path: variable.get_value().shape for path, variable in flat.items()}
        _check(self._names, self._rows, shapes, tensors, family, depth, directory)

    def network(self) -> Any:
        """The whole network, in the dtypes of the abstract one.

        One parameter at a time is read, converted and put on the devices, each of which gets its own part of it, so
        that memory peaks at the weights and one (stacked) parameter.
        """
        return self._filled(self._abstract, "")

    def ends(self, without: Sequence[str] = ()) -> Any:
        """The network without its blocks: what stands before the first and after the last of them.

        Args:
          without: Further parameters that are left out, and stay shapes.
        """
        graph, state = nnx.split(self._abstract)
        kept = [path for path in _flat(state) if not path.startswith(_STACKED) and path not in without]
        return self._filled(self._abstract, "", kept)

    def block(self, number: int) -> Any:
        """Block `number`, from 0, alone.

        The files are opened and closed: a file kept open would stay mapped, and count as memory, as far as it was
        ever read.
        """
        alone = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self._abstract.blocks)
        return self._filled(alone, _STACKED, number=number)

    def rows(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """Some rows of a table, in the dtype of the network, without reading the others.

        Args:
          path: Of the parameter, whose first axis is picked from.
          numbers: Which rows, ascending.
        """
        tensors, row = open_tensors(self._directory), self._rows[path]
        found = [tensors[name] for name in self._names[path]]
        variable = _flat(nnx.split(self._abstract)[1])[path].get_value()
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        rest = (slice(None),) * (len(variable.shape) - 1)
        runs = [row.read(found, (slice(int(run[0]), int(run[-1]) + 1), *rest)) for run in np.split(numbers, breaks)]
        return np.concatenate(runs).astype(variable.dtype)

    def _filled(self, abstract: Any, prefix: str, only: Sequence[str] | None = None, number: int | None = None) -> Any:
        """A network, or a part of it whose paths begin with `prefix`, with the weights of those paths."""
        graph, state = nnx.split(abstract)
        tensors = open_tensors(self._directory)
        for short, variable in _flat(state).items():
            path = prefix + short
            if only is not None and path not in only:
                continue
            row, names = self._rows[path], self._names[path]
            shape, dtype = variable.get_value().shape, variable.get_value().dtype
            if number is not None:
                each = len(row.names(0))
                names = names[number * each : (number + 1) * each]
            found = [tensors[name] for name in names]
            stacked = path.startswith(_STACKED) and number is None

            def read(index: tuple[slice, ...], found=found, row=row, dtype=dtype, stacked=stacked) -> np.ndarray:
                return _read(found, row, index, dtype, stacked)

            axis = sharded_axis(path, shape[stacked:], self.mesh.shape[devices.MODEL])
            sharding = devices.sharded(self.mesh, None if axis is None else axis + stacked)
            variable.set_value(devices.from_parts(shape, read, sharding))
        return nnx.merge(graph, state)


def _flat(state: Any) -> dict[str, Any]:
    """The variables of a network by their dotted paths."""
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def _names(row: Row, prefix: str, depth: int) -> list[str]:
    """The tensors of one row, those of every block after one another, or those of a single place."""
    blocks = depth if row.path.startswith(_STACKED) else 1
    return [prefix + name for i in range(blocks) for name in row.names(i)]


def _layout(
    tables: Sequence[Sequence[Row]], prefixes: Sequence[str], tensors: dict[str, Tensor]
) -> tuple[Sequence[Row], str]:
    """The table of which most is found, and the prefix under which; the first of equals."""
    candidates = [(table, prefix) for table in tables for prefix in prefixes]

    def found(candidate: tuple[Sequence[Row], str]) -> float:
        table, prefix = candidate
        names = [prefix + name for row in table for name in row.names(0)]
        return sum(name in tensors for name in names) / len(names)

    return max(candidates, key=found)


def _file_shape(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the file of what becomes a parameter of `shape`, the axis of blocks included."""
    return row.shape_in_file(shape[1:] if row.path.startswith(_STACKED) else shape)


def _check(
    sources: dict[str, list[str]],
    rows: dict[str, Row],
    shapes: dict[str, tuple[int, ...]],
    tensors: dict[str, Tensor],
    family: Family,
    depth: int,
    directory: Path,
) -> None:
    """Raise one error about everything that is missing, unknown or mis-shaped."""
    expected = {name: _file_shape(rows[path], shapes[path]) for path, names in sources.items() for name in names}
    missing = sorted(expected.keys() - tensors.keys())
    unused = re.compile(f"({'|'.join(map(re.escape, sorted(family.prefixes)))})({'|'.join(family.unused)})")

    def is_needless(name: str) -> bool:
        # An empty tensor holds nothing that could be missed: DINOv3 without registers has one.
        if 0 in tensors[name].shape:
            return True
        match = unused.fullmatch(name)
        block = match and match.groupdict().get("block")
        return match is not None and (block is None or int(block) < depth)

    unknown = sorted(name for name in tensors.keys() - expected.keys() if not is_needless(name))
    shaped = sorted(name for name in expected.keys() & tensors.keys() if tensors[name].shape != expected[name])
    coded = sorted(name for name in expected.keys() & tensors.keys() if tensors[name].dtype not in FLOATS)
    if not (missing or unknown or shaped or coded):
        return
    lines = [f"the weights in {directory} are not those that its config.json describes:"]
    lines += [f"  missing: {name} {list(expected[name])}" for name in missing]
    lines += [f"  unknown: {name} {list(tensors[name].shape)} in {tensors[name].file.name}" for name in unknown]
    lines += [
        f"  mis-shaped: {name} is {list(tensors[name].shape)} in {tensors[name].file.name}, "
        f"expected {list(expected[name])}"
        for name in shaped
    ]
    lines += [
        f"  no plain numbers: {name} is {tensors[name].dtype} in {tensors[name].file.name}, expected one of "
        f"{', '.join(sorted(FLOATS))}: use the unquantised checkpoint"
        for name in coded
    ]
    lines.append("Use the config.json that was published with these weights, or download the checkpoint again")
    raise ValueError("\n".join(lines))


def _read(found: list[Tensor], row: Row, index: tuple[slice, ...], dtype: DTypeLike, stacked: bool) -> np.ndarray:
    """The part `index` of a parameter; of a stacked one, put together from the same part of every block's tensors."""
    if not stacked:
        return np.asarray(row.read(found, index), dtype)
    each = len(row.names(0))
    blocks = [found[i : i + each] for i in range(0, len(found), each)][index[0]]
    first = row.read(blocks[0], index[1:])
    whole = np.empty((len(blocks), *first.shape), dtype)
    whole[0] = first
    for i, tensors in enumerate(blocks[1:], start=1):
        whole[i] = row.read(tensors, index[1:])
    return whole
