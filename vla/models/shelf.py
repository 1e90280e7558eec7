"""Arrays put aside by number: in memory as far as they fit, in a nameless temporary file beyond."""

import os
import shutil
import tempfile

import numpy as np


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
