"""The tensors of a file that `torch.save` wrote, without torch, and without executing what it holds.

Since torch 1.6 such a file is a zip archive of one pickle, which describes the tensors, and of uncompressed storages;
before, it was several pickles with the storages behind them. Either way a tensor is a strided view of a stretch of the
file, of which any slice can be read alone.
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from vla.models.tensor import FLOATS, Index, Tensor
from vla.models.torch_pickle import Refused, Storage, Strided, read_pickle

_ZIP, _LEGACY_MAGIC, _LEGACY_VERSION = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001
_WRITER = ", as transformers saves them"
_LOCAL_HEADER = struct.Struct("<4s22xHH")

# Where each storage begins in the file and how many bytes it has.
Places = dict[str, tuple[int, int]]


def archive_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one file by name; nothing of them is read yet.

    Raises:
      ValueError: The file is cut short or corrupt, or holds anything else than a dictionary of tensors.
    """
    try:
        with file.open("rb") as stream:
            zipped = stream.read(4) == _ZIP
            stream.seek(0)
            state, places, order = _read_zip(stream) if zipped else _read_legacy(stream)
    except Refused as error:
        raise ValueError(
            f"{file} holds more than tensors: {error}. Nothing of it was executed. Use a checkpoint in safetensors, "
            "from a publisher that you trust"
        ) from error
    except (ValueError, OSError, EOFError, KeyError, struct.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{file} is cut short or corrupt ({error}); download it again") from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{file} holds a {type(state).__name__}; expected a dictionary of tensors, as transformers saves it"
        )
    tensors = {}
    for name, value in state.items():
        if not isinstance(value, Strided):
            raise ValueError(f"{file} holds a {type(value).__name__} under {name!r}; expected tensors alone{_WRITER}")
        start, size = places.get(value.storage.key, (0, -1))
        if size < value.storage.length * value.storage.width:
            raise ValueError(f"{file} is cut short or corrupt (the numbers of {name!r} are missing); download it again")
        tensors[name] = _tensor(file, value, start, order)
    return tensors


def _tensor(file: Path, view: Strided, start: int, order: str) -> Tensor:
    """The tensor that is that view of the storage which begins at byte `start`."""
    storage = view.storage

    def read(index: Index) -> np.ndarray:
        # Mapped for the moment alone: a file that stays mapped counts as memory as far as it was ever read.
        length = storage.length if 0 not in view.shape else 0
        raw: Any = np.empty(0, f"{order}u{storage.width}")
        if length:
            raw = np.memmap(file, f"{order}u{storage.width}", "r", offset=start, shape=(length,))
        strides = [stride * storage.width for stride in view.strides]
        part = as_strided(raw[view.offset :], view.shape, strides)[index]
        return np.array(part, f"=u{storage.width}").view(FLOATS[storage.dtype])

    return Tensor(file, view.shape, read, storage.dtype)


def _read_zip(stream: io.BufferedIOBase) -> tuple[Any, Places, str]:
    """What the archive's pickle says, where its storages are, and their byte order."""
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ValueError("two entries have one name")
        packed = sorted(name for name, entry in entries.items() if entry.compress_type != zipfile.ZIP_STORED)
        if packed:
            raise ValueError(f"{packed[0]} is compressed, which torch never does")
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} entries are called data.pkl; expected one")
        folder = pickles[0].removesuffix("data.pkl")
        state = read_pickle(io.BytesIO(archive.read(pickles[0])))
        said = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        places = {}
        for name, entry in entries.items():
            if name.startswith(f"{folder}data/"):
                places[name.removeprefix(f"{folder}data/")] = (_start(stream, entry), entry.file_size)
    if said not in (b"little", b"big"):
        raise ValueError(f"its byte order is {said!r}")
    return state, places, "<" if said == b"little" else ">"


def _start(stream: io.BufferedIOBase, entry: zipfile.ZipInfo) -> int:
    """Where the content of an entry begins: behind its local header, whose length only that header says."""
    stream.seek(entry.header_offset)
    magic, name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    start = entry.header_offset + _LOCAL_HEADER.size + name + extra
    if magic != _ZIP or start + entry.file_size > stream.seek(0, io.SEEK_END):
        raise ValueError(f"{entry.filename} is not where the archive says")
    return start


def _read_legacy(stream: io.BufferedIOBase) -> tuple[Any, Places, str]:
    """The same of a file from before torch 1.6: magic, version, facts of the machine, state, keys, storages."""
    if read_pickle(stream) != _LEGACY_MAGIC or read_pickle(stream) != _LEGACY_VERSION:
        raise ValueError("no file that torch.save wrote")
    order = "<" if read_pickle(stream)["little_endian"] else ">"
    state, keys = read_pickle(stream), read_pickle(stream)
    storages = _storages(state)
    if not storages:
        return state, {}, order
    start, end = stream.tell(), stream.seek(0, io.SEEK_END)
    places = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        stream.seek(start)
        [length] = struct.unpack(f"{order}q", stream.read(8))
        if storage is None or length != storage.length or start + 8 + length * storage.width > end:
            raise ValueError("a storage is not what the pickle says")
        places[key] = (start + 8, length * storage.width)
        start += 8 + length * storage.width
    return state, places, order


def _storages(state: Any) -> dict[str, Storage]:
    """All storages that tensors of the state refer to."""
    values = state.values() if isinstance(state, dict) else ()
    return {value.storage.key: value.storage for value in values if isinstance(value, Strided)}
