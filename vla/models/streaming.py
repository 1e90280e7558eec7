"""A model whose blocks are in memory one at a time: every batch goes through one, then through the next.

Axes: B rows of a batch, T tokens, S vectors wanted of one row, D width, V vocabulary.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from vla import devices
from vla.models.batch import Batch, Captions, without_pixels
from vla.models.decoder_config import DecoderConfig
from vla.models.model import Model, Reading
from vla.models.stages import call_block, call_enter, call_leave, compiled_for
from vla.models.weights import Weights


class Shelf:
    """Arrays by number; one put again must be as large as it was.

    The file is read and written, not mapped, so that none of it counts as memory of the process; it has no name and
    is gone when the process ends, however that comes.
    """

    def __init__(self, bound: int, folder: str | None = None) -> None:
        """An empty shelf.

        Args:
          bound: Bytes kept in memory.
          folder: Where the file is made; by default where temporary files go.
        """
        self._room = bound
        self._folder = tempfile.gettempdir() if folder is None else folder
        self._held: dict[int, np.ndarray] = {}
        self._file = None
        self._places: dict[int, tuple[int, tuple[int, ...], np.dtype]] = {}
        self._size = 0

    def put(self, number: int, array: np.ndarray) -> None:
        """Keep an array.

        Raises:
          ValueError: The disk is full.
        """
        if number in self._held or (number not in self._places and array.nbytes <= self._room):
            if number not in self._held:
                self._room -= array.nbytes
            self._held[number] = array
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        if number not in self._places:
            self._places[number] = (self._size, array.shape, array.dtype)
            self._size += array.nbytes
        place, shape, dtype = self._places[number]
        assert (shape, dtype) == (array.shape, array.dtype)
        try:
            left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            while left:
                written = os.pwrite(self._file.fileno(), left, place)
                left, place = left[written:], place + written
        except OSError as error:
            free = shutil.disk_usage(self._folder).free
            raise ValueError(
                f"hidden states cannot be put aside in {self._folder} ({error}; {free / 2**30:.1f} GiB free): make "
                "room there, or set TMPDIR to a folder of a larger disk"
            ) from error

    def get(self, number: int) -> np.ndarray:
        """The array that was put last under that number."""
        if number in self._held:
            return self._held[number]
        place, shape, dtype = self._places[number]
        assert self._file is not None
        array = np.empty(shape, dtype)
        left = array.reshape(-1).view(np.uint8).data
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            assert count, "the file is shorter than what was written"
            left, place = left[count:], place + count
        return array

    def close(self) -> None:
        """Give memory and disk back."""
        self._held.clear()
        if self._file is not None:
            self._file.close()


# Hidden states of all items that are kept in memory; the rest is put aside in a temporary file.
HELD_BYTES = 1 << 30

# Tables of token embeddings have a multiple of this many rows: few shapes to compile.
_TABLE_ROWS = 1024


class StreamedModel(Model):
    """A model that reads its weights block by block for every reading, the next while one is used.

    Memory holds two blocks, the rows of the embedding table that occur, and one hidden state per token, however many
    blocks there are.
    """

    streams = True

    def __init__(self, *arguments: Any, weights: Weights, **options: Any) -> None:
        """As `Model`, with a network of shapes, and where its weights are."""
        super().__init__(*arguments, **options)
        self._weights = weights

    def passes(self, layers: tuple[str, ...]) -> int:
        """As `Model.passes`: the embedding, every block that is needed, the final norm if it is."""
        wanted, needed = self._wanted(layers)
        return 1 + needed + (needed + 1 in wanted)

    def read(self, batches: Iterable[Batch], *, pools: tuple[str, ...], layers: tuple[str, ...]) -> Iterator[Reading]:
        """As `Model.read`: one layer of all batches after another, and nothing of layers not wanted."""
        wanted, needed = self._wanted(layers)

        def reading(layer: int, number: int, read: Array) -> Reading:
            where = wanted.get(layer, slice(0, 0))
            return where, number, devices.to_host(read)[None][: where.stop - where.start]

        shelf, kept = Shelf(HELD_BYTES), []
        try:
            with ThreadPoolExecutor(1) as ahead, devices.full_precision():
                coming = ahead.submit(self._weights.block, 0) if needed else None
                if self.modality == "language":
                    # All are looked at first, for which embeddings they need.
                    batches, table = self._table([batch for batch in batches if isinstance(batch, Captions)])
                    ends = self._ends(table)
                else:
                    ends = self._ends(None)
                for number, batch in enumerate(batches):
                    pools = compiled_for(batch, pools)
                    hidden, read = call_enter(ends, self._spread(batch), pools=pools)
                    shelf.put(number, devices.to_host(hidden))
                    kept.append(without_pixels(batch))
                    yield reading(0, number, read)
                for i in range(needed):
                    assert coming is not None
                    block = coming.result()
                    coming = ahead.submit(self._weights.block, i + 1) if i + 1 < needed else None
                    for number, read in self._through(ends, block, i, shelf, kept, pools):
                        yield reading(i + 1, number, read)
                    del block
                if needed + 1 in wanted:
                    for number, batch in enumerate(kept):
                        hidden, batch = self._spread(shelf.get(number)), self._spread(batch)
                        read = call_leave(ends, hidden, batch, pools=pools)
                        yield reading(needed + 1, number, read)
        finally:
            shelf.close()

    def _wanted(self, layers: tuple[str, ...]) -> tuple[dict[int, slice], int]:
        """Where among `layers` each is, by its number in `layer_names`; how many blocks they take."""
        wanted = {self.layer_names.index(layer): slice(i, i + 1) for i, layer in enumerate(layers)}
        return wanted, min(max(wanted), len(self.layer_names) - 2)

    def _through(
        self, ends: Any, block: Any, i: int, shelf: Shelf, kept: list[Batch], pools: tuple[str, ...]
    ) -> Iterator[tuple[int, Array]]:
        """Every batch through one block; its number and what was read."""

        def put_aside(number: int, hidden: Array, read: Array) -> tuple[int, Array]:
            shelf.put(number, devices.to_host(hidden))
            return number, read

        before: tuple[int, Array, Array] | None = None
        for number, batch in enumerate(kept):
            hidden = self._spread(shelf.get(number))
            out = call_block(ends, block, jnp.int32(i), hidden, self._spread(batch), pools=pools)
            # Fetched when the next is under way, so that the devices need not wait for the host.
            if before is not None:
                yield put_aside(*before)
            before = number, *out
        if before is not None:
            yield put_aside(*before)

    def _all_layers(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """What is wanted of one batch."""
        return jnp.concatenate([read for _, _, read in self.read([batch], pools=pools, layers=layers)])

    def _table(self, batches: list[Captions]) -> tuple[list[Captions], Float[np.ndarray, "_ D"]]:
        """The batches with ids that count the rows of a small table, and that table: the embeddings that occur."""
        config = self.network.config
        assert isinstance(config, DecoderConfig)
        real = [np.asarray(batch.tokens)[batch.ends > np.arange(batch.ends.shape[1])] for batch in batches]
        found = np.unique(np.concatenate(real))
        known = found[(found >= 0) & (found < config.vocabulary)]
        rows = self._weights.rows("embedding", known)
        table = np.zeros((-(-len(rows) // _TABLE_ROWS) * _TABLE_ROWS, rows.shape[1]), rows.dtype)
        table[: len(rows)] = rows
        renumbered = []
        for batch in batches:
            places = np.searchsorted(known, batch.tokens)
            # An id that the model does not know stays beyond the table, and reads as NaN.
            lost = ~np.isin(batch.tokens, known)
            renumbered.append(batch._replace(tokens=np.where(lost, len(table), places).astype(np.int32)))
        return renumbered, table

    def _ends(self, table: np.ndarray | None) -> Any:
        """The network without its blocks, and with that table of embeddings if one is given."""
        ends = self._weights.ends(without=() if table is None else ("embedding",))
        ends.blocks = None
        if table is not None:
            ends.embedding = nnx.Param(jax.device_put(table, devices.sharded(self.mesh)))
        return ends
