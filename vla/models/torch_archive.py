"""The tensors of a file that `torch.save` wrote, without torch, and without executing what it holds.

Since torch 1.6 such a file is a zip archive of one pickle, which describes the tensors, and of uncompressed storages;
before, it was several pickles with the storages behind them. Either way a tensor is a strided view of a stretch of the
file, of which any slice can be read alone.
"""

import dataclasses
import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from vla.models.tensor import FLOATS, Index, Tensor

# Names in safetensors of what torch's classes of storages hold, and bytes of one element.
KINDS = {
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
    """A stretch of numbers in the file.

    Attributes:
      key: Its name there.
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
    """Something that the pickle would have imported."""

    text: str


def _strided(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Strided:
    """As torch rebuilds a tensor; `rest` says whether gradients are wanted, and of hooks and lazy conjugation."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, Storage) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a tensor is no view of a storage")
    if len(shape) != len(strides):
        raise ValueError(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    if len(rest) > 2 and rest[2]:
        raise Refused("it holds a tensor that is conjugated or negated when it is read")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.length:
        raise ValueError(f"a tensor reaches to element {last} of a storage of {storage.length}")
    return Strided(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda: {},
    "torch.Size": tuple,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": _strided,
    "torch._utils._rebuild_tensor_v2": _strided,
}

_LITERALS = frozenset(
    """BINBYTES BINBYTES8 BINFLOAT BININT BININT1 BININT2 BINSTRING BINUNICODE BINUNICODE8 FLOAT INT LONG LONG1 LONG4
    SHORT_BINBYTES SHORT_BINSTRING SHORT_BINUNICODE STRING UNICODE""".split()
)
_CONSTANTS = {"NEWFALSE": False, "NEWTRUE": True, "NONE": None}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack, its marks, and what the program has asked to remember."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BufferedIOBase) -> Any:
        """Follow the program to its end; the stream is left right behind it."""
        source: Any = stream
        for operation, argument, _ in pickletools.genops(source):
            self._step(operation.name, argument)
        [result] = self.stack
        return result

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self._push_tuple(len(stack) - _TUPLES[name])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            self._push_tuple(self.marks.pop())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._extend(name)
        elif name == "GLOBAL":
            stack.append(_name(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            module, attribute = self._pop(2)
            if not isinstance(module, str) or not isinstance(attribute, str):
                raise Refused("it asks for something that has no name")
            stack.append(_name(f"{module}.{attribute}"))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            called, arguments = self._pop(2)
            if not isinstance(called, _Name) or called.text not in _CALLS or not isinstance(arguments, tuple):
                raise Refused(f"it calls {called.text if isinstance(called, _Name) else type(called).__name__}")
            stack.append(_CALLS[called.text](*arguments))
        elif name == "BUILD":
            # torch hangs the versions of modules on the dictionary, which say nothing of weights
            if not isinstance(stack[-2], dict):
                raise Refused(f"it changes the state of a {type(stack[-2]).__name__}")
            stack.pop()
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"it uses the operation {name}")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _push_tuple(self, start: int) -> None:
        self.stack.append(tuple(self._pop(len(self.stack) - start)))

    def _extend(self, name: str) -> None:
        """Put what lies above into the list or dictionary below it."""
        single = {"APPEND": 1, "SETITEM": 2}.get(name)
        values = self._pop(len(self.stack) - self.marks.pop() if single is None else single)
        target = self.stack[-1]
        if name.startswith("APPEND") and isinstance(target, list):
            target.extend(values)
        elif name.startswith("SETITEM") and isinstance(target, dict):
            # Others than names could take forever to hash.
            if not all(isinstance(key, str) for key in values[::2]):
                raise Refused("it has a dictionary of something else than names")
            target.update(zip(values[::2], values[1::2], strict=True))
        else:
            raise Refused(f"it adds to a {type(target).__name__}")


def _name(text: str) -> _Name:
    if text not in _CALLS and text not in KINDS:
        raise Refused(f"it asks for {text}")
    return _Name(text)


def _storage(said: Any) -> Storage:
    """What a reference out of the pickle means: ("storage", class, key, device, length), of old files with a view."""
    if not isinstance(said, tuple) or len(said) not in (5, 6) or said[0] != "storage" or any(said[5:]):
        raise Refused("it refers to something that is no storage")
    _, kind, key, _, length = said[:5]
    if not isinstance(kind, _Name) or kind.text not in KINDS or not isinstance(key, str) or type(length) is not int:
        raise Refused("it refers to something that is no storage")
    return Storage(key, *KINDS[kind.text], length)


def read_pickle(stream: io.BufferedIOBase) -> Any:
    """The value of one pickle: dictionaries, lists, numbers, text, and `Strided` for tensors.

    Args:
      stream: At the beginning of the pickle; left right behind its end.

    Raises:
      Refused: It asks for anything else than tensors; nothing of it was executed.
      ValueError: It is no pickle, or a broken one.
    """
    try:
        return _Machine().run(stream)
    except Refused:
        raise
    except Exception as error:  # a broken program fails in every way there is
        raise ValueError(f"no pickle that can be read: {error}") from error


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
