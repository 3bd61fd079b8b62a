"""A reader of pickled arrays that runs no code from the file.

Python's own unpickler calls the functions that a file names, and it crashes on a key that is nested
a million levels deep. This reader treats a pickle as a list of instructions for a stack of plain
values. It makes arrays from their bytes.
"""

from __future__ import annotations

import codecs
import io
import math
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import printable, refused
from landscape.runtime.files import check_regular

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NUMBERS = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_NAMES = {
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
}


def unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a file, with strings as keys.

    Raises:
        InputError: The file cannot be read, or holds anything but plain values and arrays.
    """
    contents = io.BytesIO(read_bytes(path))
    with refused(f"cannot read {path}"):
        value = _Stack(contents).run()
        if not isinstance(value, dict):
            raise ValueError("it holds no dictionary")
        return {key: _array(item) for key, item in value.items()}


def read_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        InputError: The file cannot be read.
    """
    check_regular(path)
    with refused(f"cannot read {path}"):
        return path.read_bytes()


class _Name:
    """The name of a function that a pickle calls. The function is never looked up."""

    def __init__(self, module: object, name: object) -> None:
        self.name = f"{module}.{name}"
        if self.name not in _NAMES:
            raise ValueError(f"it calls {printable(self.name)}, which does not make an array")


class _Call:
    """A call in a pickle that makes a number type or an array: its name, arguments and state."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments = name, arguments
        self.state: Any = None


class _Stack:
    """The stack of a pickle's instructions. It holds plain values, names and calls only."""

    def __init__(self, contents: io.BytesIO) -> None:
        self.contents = contents
        self.values: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Run all instructions and return the last value on the stack."""
        while True:
            opcode = _OPCODES.get(self.contents.read(1))
            if opcode is None:
                raise ValueError("it is not a pickle, or ends too early")
            if opcode.name == "STOP":
                return self.values.pop()
            self._do(opcode.name, self._argument(opcode))

    def _argument(self, opcode: Any) -> Any:
        if opcode.name == "STRING":  # bytes from Python 2, which pickletools would read as ASCII
            line = self.contents.readline().strip()
            return codecs.escape_decode(line[1:-1])[0].decode("latin1")
        return None if opcode.arg is None else opcode.arg.reader(self.contents)

    def _do(self, name: str, argument: Any) -> None:
        values = self.values
        if name in _VALUES:
            values.append(argument)
        elif name in _CONSTANTS:
            values.append(_CONSTANTS[name])
        elif name in _TUPLES:
            values.append(tuple(self._pop(_TUPLES[name])))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            values.append([] if name == "EMPTY_LIST" else {})
        elif name == "MARK":
            self.marks.append(len(values))
        elif name == "TUPLE":
            values.append(tuple(self._above_mark()))
        elif name == "LIST":
            values.append(self._above_mark())
        elif name == "DICT":
            values.append(_put({}, self._above_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._above_mark()
            _of_kind(values[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._above_mark()
            _put(_of_kind(values[-1], dict), items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = values[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = values[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            values.append(self.memo[argument])
        elif name == "GLOBAL":
            values.append(_Name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            values.append(_Name(*self._pop(2)))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            values.append(_call(_of_kind(function, _Name).name, _of_kind(arguments, tuple)))
        elif name == "BUILD":
            (state,) = self._pop(1)
            _of_kind(values[-1], _Call).state = state
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it holds more than plain values and arrays ({name})")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.values):
            raise ValueError("it is damaged")
        start = len(self.values) - count
        popped = self.values[start:]
        del self.values[start:]
        return popped

    def _above_mark(self) -> list[Any]:
        return self._pop(len(self.values) - self.marks.pop())


def _of_kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("it is damaged")
    return value


def _put(target: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes):
            raise ValueError("it holds a key that is not a string")
        target[key.decode("latin1") if isinstance(key, bytes) else key] = value
    return target


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "_codecs.encode":  # old protocols write bytes in this way
        return _of_kind(arguments[0], str).encode("latin1")
    return _Call(name, arguments)


def _array(value: Any) -> Any:
    """The array that a call describes. Other values are returned unchanged."""
    if not isinstance(value, _Call) or not value.name.endswith("_reconstruct"):
        return value
    _, shape, kind, by_columns, contents = value.state
    numbers = np.dtype(_type_name(_of_kind(kind, _Call)))
    raw = contents.encode("latin1") if isinstance(contents, str) else _of_kind(contents, bytes)
    if not all(type(length) is int and length >= 0 for length in _of_kind(shape, tuple)):
        raise ValueError("it is damaged")
    if math.prod(shape) * numbers.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} does not have {len(raw)} bytes")
    return np.frombuffer(raw, numbers).reshape(shape, order="F" if by_columns else "C")


def _type_name(kind: _Call) -> str:
    name = kind.arguments[0] if kind.arguments else ""
    name = name.decode("latin1") if isinstance(name, bytes) else str(name)
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    order = order.decode("latin1") if isinstance(order, bytes) else order
    full = name if name[:1] in "<>|=" else f"{order}{name}"
    if kind.name != "numpy.dtype" or not _NUMBERS.fullmatch(full):
        raise ValueError("it holds an array that does not consist of numbers")
    return full
