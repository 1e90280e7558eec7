"""Fill a network from a checkpoint, completely or not at all.

Axes: L blocks, the leading axis of every parameter of the stacked blocks.
"""

import functools
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
from vla.models.checkpoint import open_tensors
from vla.models.families.family import Family
from vla.models.network_config import DecoderConfig, VisionConfig
from vla.models.tensor import FLOATS, Index, Row, Tensor

# Maps back to the width, cut by inputs, and maps from the width, cut by outputs.
_FROM_INNER = (".out.weight", ".down.weight", ".down")
_TO_INNER = (
    "query.weight",
    "key.weight",
    "value.weight",
    "gate.weight",
    "up.weight",
    "feed_forward.gate",
    "feed_forward.up",
)


def sharded_axis(path: str, shape: tuple[int, ...], parts: int) -> int | None:
    """The axis along which `parts` devices share a parameter of a block or outside the blocks; None for no sharing.

    As in Megatron-LM (Shoeybi et al., arXiv:1909.08053): maps into attention and into the feed-forward network are cut
    by their outputs, maps back by their inputs, so that devices exchange one sum per branch; the token embeddings are
    cut by the vocabulary. An axis that does not divide is not cut. `shape` is [E, D] of maps, [X, E, D] of experts.
    """
    if parts == 1:
        return None
    axis = None
    if path == "embedding":
        axis = 0
    elif path.endswith(_FROM_INNER):
        axis = len(shape) - 1
    elif path.endswith(_TO_INNER):
        axis = len(shape) - 2
    return axis if axis is not None and shape[axis] % parts == 0 else None


_STACKED = "blocks."


class Weights:
    """Which tensors of a checkpoint fill which parameters of a network; can be read repeatedly."""

    def __init__(
        self,
        abstract: Any,
        family: Family,
        config: VisionConfig | DecoderConfig,
        directory: Path,
        mesh: Mesh | None = None,
    ) -> None:
        """Check names and shapes; no weight is read.

        Args:
          abstract: The network as `jax.eval_shape` gives it.
          family: Its tables; the one that fits the checkpoint best is used.
          config: Of the network.
          directory: The checkpoint.
          mesh: Devices; by default all of this process, each with its own copy.

        Raises:
          ValueError: Anything missing, unknown or mis-shaped, all in one error; an unreadable file.
        """
        self.mesh = devices.mesh() if mesh is None else mesh
        self._abstract, self._directory = abstract, directory
        tensors = open_tensors(directory)
        tables = [table(config) for table in (family.table, *family.other_tables)]
        table, prefix = _layout(tables, family.prefixes, tensors)
        self._rows = {row.path: row for row in table}
        parameters = _flat(nnx.split(abstract)[1])
        assert self._rows.keys() == parameters.keys(), sorted(self._rows.keys() ^ parameters.keys())
        self._names = {path: _names(row, prefix, config.depth) for path, row in self._rows.items()}
        expected = {
            name: _file_shape(self._rows[path], variable.get_value().shape)
            for path, variable in parameters.items()
            for name in self._names[path]
        }
        _check(expected, tensors, family, config.depth, directory)

    def network(self) -> Any:
        """The complete network, in the dtypes of the abstract one.

        Reads, converts and shards one parameter at a time, so that memory peaks at the weights and one (stacked)
        parameter.
        """
        return self._filled(self._abstract, "")

    def ends(self, without: Sequence[str] = ()) -> Any:
        """The network without its blocks, and with shapes in place of the parameters `without`."""
        graph, state = nnx.split(self._abstract)
        kept = [path for path in _flat(state) if not path.startswith(_STACKED) and path not in without]
        return self._filled(self._abstract, "", kept)

    def block(self, number: int) -> Any:
        """Block `number`, from 0.

        The files are opened and closed: the parts read of an open file stay mapped and count as memory.
        """
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self._abstract.blocks)
        return self._filled(abstract, _STACKED, number=number)

    def rows(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """The rows `numbers`, ascending, of a parameter, in the dtype of the network, without reading the others."""
        all_tensors, row = open_tensors(self._directory), self._rows[path]
        tensors = [all_tensors[name] for name in self._names[path]]
        variable = _flat(nnx.split(self._abstract)[1])[path].get_value()
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        rest = (slice(None),) * (len(variable.shape) - 1)
        runs = [row.read(tensors, (slice(int(run[0]), int(run[-1]) + 1), *rest)) for run in np.split(numbers, breaks)]
        return np.concatenate(runs).astype(variable.dtype)

    def _filled(self, abstract: Any, prefix: str, only: Sequence[str] | None = None, number: int | None = None) -> Any:
        """A network, or its part whose paths begin with `prefix` (of the block `number`, if given), with its weights.

        Parameters that are not in `only`, if given, stay shapes.
        """
        graph, state = nnx.split(abstract)
        all_tensors = open_tensors(self._directory)
        for short, variable in _flat(state).items():
            path = prefix + short
            if only is not None and path not in only:
                continue
            row, names = self._rows[path], self._names[path]
            shape, dtype = variable.get_value().shape, variable.get_value().dtype
            if number is not None:
                count = len(row.names(0))
                names = names[number * count : (number + 1) * count]
            stacked = path.startswith(_STACKED) and number is None
            tensors = [all_tensors[name] for name in names]
            read = functools.partial(_read, tensors, row, dtype, stacked)
            axis = sharded_axis(path, shape[stacked:], self.mesh.shape[devices.MODEL])
            sharding = devices.sharded(self.mesh, None if axis is None else axis + stacked)
            variable.set_value(devices.from_parts(shape, read, sharding))
        return nnx.merge(graph, state)


def _flat(state: Any) -> dict[str, Any]:
    """The variables of a network by their dotted paths."""
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def _names(row: Row, prefix: str, depth: int) -> list[str]:
    """The tensors of one row, block after block."""
    blocks = depth if row.path.startswith(_STACKED) else 1
    return [prefix + name for i in range(blocks) for name in row.names(i)]


def _layout(
    tables: Sequence[Sequence[Row]], prefixes: Sequence[str], tensors: dict[str, Tensor]
) -> tuple[Sequence[Row], str]:
    """The table and the prefix with which most tensors exist; the first of equals."""
    candidates = [(table, prefix) for table in tables for prefix in prefixes]

    def existing(candidate: tuple[Sequence[Row], str]) -> float:
        table, prefix = candidate
        names = [prefix + name for row in table for name in row.names(0)]
        return sum(name in tensors for name in names) / len(names)

    return max(candidates, key=existing)


def _file_shape(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the file of a parameter of `shape`, which includes the axis of blocks."""
    return row.shape_in_file(shape[1:] if row.path.startswith(_STACKED) else shape)


def _check(
    expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor], family: Family, depth: int, directory: Path
) -> None:
    """Raise one error about everything that is missing, unknown or mis-shaped."""
    missing = sorted(expected.keys() - tensors.keys())
    unused = re.compile(f"({'|'.join(map(re.escape, sorted(family.prefixes)))})({'|'.join(family.unused)})")

    def is_unused(name: str) -> bool:
        # DINOv3 without registers has an empty tensor.
        if 0 in tensors[name].shape:
            return True
        match = unused.fullmatch(name)
        block = match and match.groupdict().get("block")
        return match is not None and (block is None or int(block) < depth)

    unknown = sorted(name for name in tensors.keys() - expected.keys() if not is_unused(name))
    shaped = sorted(name for name in expected.keys() & tensors.keys() if tensors[name].shape != expected[name])
    quantised = sorted(name for name in expected.keys() & tensors.keys() if tensors[name].dtype not in FLOATS)
    if not (missing or unknown or shaped or quantised):
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
        for name in quantised
    ]
    lines.append("Use the config.json that was published with these weights, or download the checkpoint again")
    raise ValueError("\n".join(lines))


def _read(tensors: list[Tensor], row: Row, dtype: DTypeLike, stacked: bool, index: Index) -> np.ndarray:
    """The part `index` of a parameter; of a stacked one, stacked from the same part of every block's tensors."""
    if not stacked:
        return np.asarray(row.read(tensors, index), dtype)
    count = len(row.names(0))
    blocks = [tensors[i : i + count] for i in range(0, len(tensors), count)][index[0]]
    first = row.read(blocks[0], index[1:])
    stack = np.empty((len(blocks), *first.shape), dtype)
    stack[0] = first
    for i, block in enumerate(blocks[1:], start=1):
        stack[i] = row.read(block, index[1:])
    return stack
