"""A model whose blocks are in memory one at a time: every batch goes through one block, then through the next.

Axes: B rows of a batch, T tokens, S pooled vectors per row, R layers read, D width, V vocabulary.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from vla import devices
from vla.models.batch import Batch, Captions, without_pixels
from vla.models.decoder import Decoder
from vla.models.model import (
    Block,
    Model,
    Network,
    Processor,
    Reading,
    call_block,
    call_enter,
    call_leave,
    static_pools,
)
from vla.models.weights import Weights

# Bytes of hidden states that are kept in memory; the rest goes to a temporary file.
HELD_BYTES = 1 << 30

# The embedding table has a multiple of this many rows, so that few shapes are compiled.
_TABLE_ROWS = 1024


class Shelf:
    """Arrays by number, in memory and then in a temporary file; a replaced array keeps its size.

    The file is read and written, not mapped, so that it does not count as memory of the process; it has no name and
    disappears when the process ends, however it ends.
    """

    def __init__(self, bound: int, folder: str | None = None) -> None:
        """An empty shelf that keeps `bound` bytes in memory, and its file in `folder`, by default the temporary one."""
        self._free = bound
        self._folder = tempfile.gettempdir() if folder is None else folder
        self._in_memory: dict[int, np.ndarray] = {}
        self._file = None
        self._in_file: dict[int, tuple[int, tuple[int, ...], np.dtype]] = {}
        self._size = 0

    def put(self, number: int, array: np.ndarray) -> None:
        """Keep an array; a ValueError if the disk is full."""
        if number in self._in_memory or (number not in self._in_file and array.nbytes <= self._free):
            if number not in self._in_memory:
                self._free -= array.nbytes
            self._in_memory[number] = array
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        if number not in self._in_file:
            self._in_file[number] = (self._size, array.shape, array.dtype)
            self._size += array.nbytes
        offset, shape, dtype = self._in_file[number]
        assert (shape, dtype) == (array.shape, array.dtype)
        try:
            left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            free = shutil.disk_usage(self._folder).free
            raise ValueError(
                f"hidden states cannot be put aside in {self._folder} ({error}; {free / 2**30:.1f} GiB free): make "
                "room there, or set TMPDIR to a folder of a larger disk"
            ) from error

    def get(self, number: int) -> np.ndarray:
        """The last array put under that number."""
        if number in self._in_memory:
            return self._in_memory[number]
        offset, shape, dtype = self._in_file[number]
        assert self._file is not None
        array = np.empty(shape, dtype)
        left = array.reshape(-1).view(np.uint8).data
        while left:
            count = os.preadv(self._file.fileno(), [left], offset)
            assert count, "the file is shorter than what was written"
            left, offset = left[count:], offset + count
        return array

    def close(self) -> None:
        """Free memory and disk."""
        self._in_memory.clear()
        if self._file is not None:
            self._file.close()


class StreamedModel(Model):
    """A model that reads its weights block by block for every reading, the next while one is used.

    Memory holds two blocks, the embeddings of the tokens that occur, and one hidden state per token, whatever the
    depth.
    """

    streams = True

    def __init__(
        self,
        source: str,
        network: Network,
        processor: Processor,
        dtype: str,
        files: dict[str, Path],
        mesh: Mesh,
        weights: Weights,
    ) -> None:
        """As `Model`, with a network of shapes, and its weights on disk."""
        super().__init__(source, network, processor, dtype, files, mesh)
        self._weights = weights

    def passes(self, layers: tuple[str, ...]) -> int:
        """As `Model.passes`: the embedding, every block that is needed, the final norm if it is."""
        positions, needed = self._positions(layers)
        return 1 + needed + (needed + 1 in positions)

    def read(self, batches: Iterable[Batch], *, pools: tuple[str, ...], layers: tuple[str, ...]) -> Iterator[Reading]:
        """As `Model.read`: one layer of all batches after another; readings of other layers are empty."""
        positions, needed = self._positions(layers)

        def reading(layer: int, number: int, values: Array) -> Reading:
            position = positions.get(layer, slice(0, 0))
            return position, number, devices.to_host(values)[None][: position.stop - position.start]

        shelf, inputs = Shelf(HELD_BYTES), []
        try:
            with ThreadPoolExecutor(1) as ahead, devices.full_precision():
                next_block = ahead.submit(self._weights.block, 0) if needed else None
                table = None
                if self.modality == "language":
                    # All captions are needed first, to know which embeddings occur.
                    batches, table = self._table([batch for batch in batches if isinstance(batch, Captions)])
                ends = self._ends(table)
                for number, batch in enumerate(batches):
                    pools = static_pools(batch, pools)
                    hidden, values = call_enter(ends, self._shard(batch), pools=pools)
                    shelf.put(number, devices.to_host(hidden))
                    inputs.append(without_pixels(batch))
                    yield reading(0, number, values)
                for i in range(needed):
                    assert next_block is not None
                    block = next_block.result()
                    next_block = ahead.submit(self._weights.block, i + 1) if i + 1 < needed else None
                    for number, values in self._through(ends, block, i, shelf, inputs, pools):
                        yield reading(i + 1, number, values)
                    del block
                if needed + 1 in positions:
                    for number, batch in enumerate(inputs):
                        hidden = self._shard(shelf.get(number))
                        values = call_leave(ends, hidden, self._shard(batch), pools=pools)
                        yield reading(needed + 1, number, values)
        finally:
            shelf.close()

    def _positions(self, layers: tuple[str, ...]) -> tuple[dict[int, slice], int]:
        """The position in `layers` of each layer, by its index in `layer_names`; how many blocks they need."""
        positions = {self.layer_names.index(layer): slice(i, i + 1) for i, layer in enumerate(layers)}
        return positions, min(max(positions), len(self.layer_names) - 2)

    def _through(
        self, ends: Network, block: Block, i: int, shelf: Shelf, inputs: list[Batch], pools: tuple[str, ...]
    ) -> Iterator[tuple[int, Array]]:
        """Every batch through one block: its number and the pooled values."""

        def finish(number: int, hidden: Array, values: Array) -> tuple[int, Array]:
            shelf.put(number, devices.to_host(hidden))
            return number, values

        previous: tuple[int, Array, Array] | None = None
        for number, batch in enumerate(inputs):
            hidden = self._shard(shelf.get(number))
            output = call_block(ends, block, jnp.int32(i), hidden, self._shard(batch), pools=pools)
            # Fetched while the next batch is computed, so that the devices do not wait for the host.
            if previous is not None:
                yield finish(*previous)
            previous = number, *output
        if previous is not None:
            yield finish(*previous)

    def _all_layers(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """All pooled vectors of one batch."""
        return jnp.concatenate([values for _, _, values in self.read([batch], pools=pools, layers=layers)])

    def _table(self, batches: list[Captions]) -> tuple[list[Captions], Float[np.ndarray, "_ D"]]:
        """The embeddings of the tokens that occur, and the batches with ids that index this smaller table."""
        assert isinstance(self.network, Decoder)
        ids = [np.asarray(batch.tokens)[batch.ends > np.arange(batch.ends.shape[1])] for batch in batches]
        unique = np.unique(np.concatenate(ids))
        known = unique[(unique >= 0) & (unique < self.network.config.vocabulary)]
        rows = self._weights.rows("embedding", known)
        table = np.zeros((-(-len(rows) // _TABLE_ROWS) * _TABLE_ROWS, rows.shape[1]), rows.dtype)
        table[: len(rows)] = rows
        renumbered = []
        for batch in batches:
            index = np.searchsorted(known, batch.tokens)
            # An id that the model lacks points beyond the table, and reads as NaN.
            tokens = np.where(np.isin(batch.tokens, known), index, len(table)).astype(np.int32)
            renumbered.append(batch._replace(tokens=tokens))
        return renumbered, table

    def _ends(self, table: np.ndarray | None) -> Network:
        """The network without its blocks, and with that table of embeddings unless it is None."""
        ends = self._weights.ends(without=() if table is None else ("embedding",))
        ends.blocks = None
        if table is not None:
            ends.embedding = nnx.Param(jax.device_put(table, devices.sharded(self.mesh)))
        return ends
