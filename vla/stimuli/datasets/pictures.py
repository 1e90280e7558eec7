"""An encoded image in one cell of a parquet file, read when it is opened."""

import collections
import dataclasses
import hashlib
import threading
from pathlib import Path

# The images wanted of some 1,500 judgments of Pick-a-Pic, or of one row group read in order.
CACHE_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class ParquetImage:
    """An image file's bytes in a column of a parquet file.

    Parquet has no way to one cell but through those before it in its row group. So the first image opened of
    a row group reads all that are wanted of it, in one pass that holds a few rows at a time, and a process
    keeps what it read, up to 512 MiB.

    Attributes:
      item: The item's id, for messages.
      path: The file.
      column: The column of bytes.
      row_group: The row group, counted from 0.
      row: The row in its row group, counted from 0.
      wanted: All rows that will be opened of this column in this row group, in rising order.
    """

    item: str
    path: Path
    column: str
    row_group: int
    row: int
    wanted: tuple[int, ...]

    def open(self) -> bytes:
        """The bytes of the image file.

        Raises:
          ValueError: the parquet file is gone or damaged, or has no image in this cell.
        """
        place = f"image of item {self.item!r} ({self.path}, column {self.column}, row group {self.row_group})"
        try:
            data = _CELLS.read(self)
        # pyarrow's own errors are kinds of ValueError, OSError and KeyError.
        except (OSError, ValueError, LookupError) as error:
            raise ValueError(f"{place} cannot be read: {error}. Fetch the file again, or leave the item out") from error
        if not data:
            raise ValueError(f"{place} is empty. Fetch the file again, or leave the item out")
        return data

    def content(self) -> str:
        """SHA-256 of the bytes of the image file."""
        return hashlib.sha256(self.open()).hexdigest()


class _Cells:
    """What was read of columns, the longest unused forgotten first."""

    def __init__(self):
        self._columns: collections.OrderedDict[tuple, dict[int, bytes | None]] = collections.OrderedDict()
        # Held while reading: threads that want the same row group wait for one of them to read it.
        self._lock = threading.Lock()

    def read(self, image: ParquetImage) -> bytes | None:
        """The bytes in an image's cell."""
        stat = image.path.stat()
        key = (image.path, stat.st_mtime_ns, stat.st_size, image.column, image.row_group, image.wanted)
        with self._lock:
            if key not in self._columns:
                self._columns[key] = _read_cells(image)
                while len(self._columns) > 1 and sum(map(_size, self._columns.values())) > CACHE_BYTES:
                    self._columns.popitem(last=False)
            self._columns.move_to_end(key)
            return self._columns[key][image.row]


_CELLS = _Cells()


def _size(cells: dict[int, bytes | None]) -> int:
    """Bytes of some cells."""
    return sum(len(data or b"") for data in cells.values())


def _read_cells(image: ParquetImage) -> dict[int, bytes | None]:
    """The wanted cells of a column of a row group."""
    import pyarrow.parquet

    cells, start = {}, 0
    with pyarrow.parquet.ParquetFile(image.path, buffer_size=2**20, pre_buffer=False) as file:
        batches = file.iter_batches(16, row_groups=[image.row_group], columns=[image.column], use_threads=False)
        for batch in batches:
            column, end = batch.column(0), start + batch.num_rows
            cells.update({row: column[row - start].as_py() for row in image.wanted if start <= row < end})
            start = end
            if start > image.wanted[-1]:
                break
    return cells
