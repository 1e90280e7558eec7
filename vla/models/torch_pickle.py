"""What a pickle written by `torch.save` says of tensors, found out without executing any of it.

A pickle is a program for a stack machine that may import and call whatever it names. The machine here knows the few
operations that state dicts consist of; what it is told to call it looks up in a table of its own, and what is not in
there is refused by name. Nothing is ever imported. Format: Python's `pickletools`, torch's `serialization.py`.
"""

import dataclasses
import io
import pickletools
from collections.abc import Callable
from typing import Any

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
