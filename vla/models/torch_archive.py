"""The tensors of a file that `torch.save` wrote, without torch, and without executing what the file holds.

Since torch 1.6 such a file is a zip archive of one pickle, which describes the tensors, and of uncompressed storages;
before, it was several pickles followed by the storages. In both, a tensor is a strided view of a range of the file, of
which any slice can be read alone.
"""

import dataclasses
import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from vla.models.tensor import FLOATS, Index, Tensor

# From torch's classes of storages to the dtype, as safetensors calls it, and the bytes of one element.
STORAGES = {
    "torch.BFloat16Storage": ("BF16", 2),
    "torch.BoolStorage": ("BOOL", 1),
    "torch.ByteStorage": ("U8", 1),
    "torch.CharStorage": ("I8", 1),
    "torch.DoubleStorage": ("F64", 8),
    "torch.FloatStorage": ("F32", 4),
    "torch.HalfStorage": ("F16", 2),
    "torch.IntStorage": ("I32", 4),
    "torch.LongStorage": ("I64", 8),
    "torch.ShortStorage": ("I16", 2),
}


class Refused(ValueError):
    """A pickle that asks for more than tensors."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """A range of numbers in the file.

    Attributes:
      key: Its name in the file.
      dtype: Of its elements, as safetensors calls it.
      width: Bytes of one element.
      length: Number of elements.
    """

    key: str
    dtype: str
    width: int
    length: int


@dataclasses.dataclass(frozen=True)
class Strided:
    """A tensor as a view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Name:
    """The name of a class or function that the pickle refers to; it is not imported."""

    text: str


def _strided(storage: Any, offset: Any, shape: Any, strides: Any, *flags: Any) -> Strided:
    """As torch rebuilds a tensor; `flags` are about gradients, hooks and lazy conjugation."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, Storage) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a tensor is not a view of a storage")
    if len(shape) != len(strides):
        raise ValueError(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    if len(flags) > 2 and flags[2]:
        raise Refused("it holds a tensor that is conjugated or negated when it is read")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.length:
        raise ValueError(f"a tensor reaches to element {last} of a storage of {storage.length}")
    return Strided(storage, offset, tuple(shape), tuple(strides))


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda: {},
    "torch.Size": tuple,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._utils._rebuild_tensor": _strided,
    "torch._utils._rebuild_tensor_v2": _strided,
}

# The operations of a pickle that make plain values and tensors; see pickletools.
_OPERATIONS = """PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES BINBYTES8 SHORT_BINBYTES UNICODE BINUNICODE BINUNICODE8 SHORT_BINUNICODE
    EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS PUT BINPUT LONG_BINPUT
    MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL BINPERSID REDUCE BUILD""".split()


class _Operations(dict):
    """From the code of an operation to its function."""

    def __missing__(self, code: int) -> Any:
        raise Refused(f"it uses the operation {pickletools.code2op[chr(code)].name}")  # type: ignore[attr-defined]


class _Exact:
    """A stream that raises an error where a pickle is cut short, instead of returning less."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError("it ends early")
        return data

    def readline(self) -> bytes:
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends early")
        return line


class _TensorUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Python's own unpickler, limited to plain values and tensors.

    Its twin in C is not limited as easily: a single operation of a crafted file makes it fill the memory.
    """

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        text = f"{module}.{name}"
        if text not in _CALLS and text not in STORAGES:
            raise Refused(f"it asks for {text}")
        return _Name(text)

    def persistent_load(self, pid: Any) -> Storage:
        """A reference to a storage: ("storage", class, key, device, length), in old files also a view."""
        if isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage" and not any(pid[5:]):
            _, name, key, _, length = pid[:5]
            if isinstance(name, _Name) and name.text in STORAGES and isinstance(key, str) and type(length) is int:
                return Storage(key, *STORAGES[name.text], length)
        raise Refused("it refers to something that is not a storage")

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.text not in _CALLS or not isinstance(arguments, tuple):
            raise Refused(f"it calls {function.text if isinstance(function, _Name) else type(function).__name__}")
        self.stack.append(_CALLS[function.text](*arguments))

    def load_build(self) -> None:
        # torch attaches the versions of modules to the dictionary, which do not matter for weights.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise Refused(f"it changes the state of a {type(self.stack[-1]).__name__}")

    def load_stack_global(self) -> None:
        if not all(isinstance(text, str) for text in self.stack[-2:]):
            raise Refused("it asks for something that has no name")
        super().load_stack_global()  # type: ignore[misc]

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())  # type: ignore[attr-defined]

    def _set(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise Refused(f"it adds to a {type(self.stack[-1]).__name__}")
        # Nested tuples as keys could take forever to hash.
        if not all(isinstance(key, str) for key in items[::2]):
            raise Refused("it has a dictionary whose keys are not names")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _operation(name: str, code: str) -> Callable[[_TensorUnpickler], None]:
    """The function of an operation: the unpickler's own, or Python's."""
    overriding = vars(_TensorUnpickler).get(f"load_{name.lower()}")
    return overriding or pickle._Unpickler.dispatch[ord(code)]  # type: ignore[attr-defined]


_TensorUnpickler.dispatch = _Operations(
    (ord(operation.code), _operation(operation.name, operation.code))
    for operation in pickletools.opcodes
    if operation.name in _OPERATIONS
)


def read_pickle(stream: io.BufferedIOBase) -> Any:
    """The value of the next pickle of a stream: dictionaries, lists, numbers, text, and `Strided` for tensors.

    Raises:
      Refused: It asks for more than tensors; nothing of it was executed.
      ValueError: It is not a pickle, or is broken.
    """
    try:
        return _TensorUnpickler(_Exact(stream)).load()
    except Refused:
        raise
    except Exception as error:  # a broken pickle raises errors of many types
        raise ValueError(f"not a pickle that can be read: {error}") from error


_ZIP, _LEGACY_MAGIC, _LEGACY_VERSION = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")

# From the key of a storage to its first byte in the file and its number of bytes.
Spans = dict[str, tuple[int, int]]


def archive_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one file by name; their numbers are not read yet.

    Raises:
      ValueError: The file is cut short or corrupt, or holds something other than a dictionary of tensors.
    """
    try:
        with file.open("rb") as stream:
            zipped = _ZIP.startswith(stream.read(4))
            stream.seek(0)
            state, spans, order = _read_zip(stream) if zipped else _read_legacy(stream)
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
            raise ValueError(
                f"{file} holds a {type(value).__name__} under {name!r}; expected only tensors, as transformers saves "
                "them"
            )
        start, size = spans.get(value.storage.key, (0, -1))
        if size < value.storage.length * value.storage.width:
            raise ValueError(f"{file} is cut short or corrupt (the numbers of {name!r} are missing); download it again")
        tensors[name] = _tensor(file, value, start, order)
    return tensors


def _tensor(file: Path, view: Strided, start: int, order: str) -> Tensor:
    """The tensor that is this view of the storage at byte `start`."""
    storage = view.storage

    def read(index: Index) -> np.ndarray:
        # Mapped only for this read: the parts read of a mapped file count as memory of the process.
        length = storage.length if 0 not in view.shape else 0
        raw: Any = np.empty(0, f"{order}u{storage.width}")
        if length:
            raw = np.memmap(file, f"{order}u{storage.width}", "r", offset=start, shape=(length,))
        strides = [stride * storage.width for stride in view.strides]
        part = as_strided(raw[view.offset :], view.shape, strides)[index]
        return np.array(part, f"=u{storage.width}").view(FLOATS[storage.dtype])

    return Tensor(file, view.shape, read, storage.dtype)


def _read_zip(stream: io.BufferedIOBase) -> tuple[Any, Spans, str]:
    """The value of the archive's pickle, the spans of its storages, and their byte order."""
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ValueError("two entries have the same name")
        packed = sorted(name for name, entry in entries.items() if entry.compress_type != zipfile.ZIP_STORED)
        if packed:
            raise ValueError(f"{packed[0]} is compressed, which torch never does")
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} entries are called data.pkl; expected one")
        folder = pickles[0].removesuffix("data.pkl")
        state = read_pickle(io.BytesIO(archive.read(pickles[0])))
        byte_order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        spans = {}
        for name, entry in entries.items():
            if name.startswith(f"{folder}data/"):
                spans[name.removeprefix(f"{folder}data/")] = (_start(stream, entry), entry.file_size)
    if byte_order not in (b"little", b"big"):
        raise ValueError(f"its byte order is {byte_order!r}")
    return state, spans, "<" if byte_order == b"little" else ">"


def _start(stream: io.BufferedIOBase, entry: zipfile.ZipInfo) -> int:
    """The first byte of an entry's content, after its local header, whose length only that header tells."""
    stream.seek(entry.header_offset)
    magic, name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    start = entry.header_offset + _LOCAL_HEADER.size + name + extra
    if magic != _ZIP or start + entry.file_size > stream.seek(0, io.SEEK_END):
        raise ValueError(f"{entry.filename} is not at the position that the archive states")
    return start


def _read_legacy(stream: io.BufferedIOBase) -> tuple[Any, Spans, str]:
    """As `_read_zip`, of a file from before torch 1.6: magic, version, machine, state, keys, storages."""
    if read_pickle(stream) != _LEGACY_MAGIC or read_pickle(stream) != _LEGACY_VERSION:
        raise ValueError("torch.save did not write it")
    order = "<" if read_pickle(stream)["little_endian"] else ">"
    state, keys = read_pickle(stream), read_pickle(stream)
    values = state.values() if isinstance(state, dict) else ()
    storages = {value.storage.key: value.storage for value in values if isinstance(value, Strided)}
    if not storages:
        return state, {}, order
    start, end = stream.tell(), stream.seek(0, io.SEEK_END)
    spans = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        stream.seek(start)
        [length] = struct.unpack(f"{order}q", stream.read(8))
        if storage is None or length != storage.length or start + 8 + length * storage.width > end:
            raise ValueError("a storage is not what the pickle says")
        spans[key] = (start + 8, length * storage.width)
        start += 8 + length * storage.width
    return state, spans, order
