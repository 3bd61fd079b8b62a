"""The nesting depth of a pickle's values, found without making the values.

Python computes the hash of a nested key by unlimited recursion. A key of a million nested tuples
kills the process.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

_MOST = 500
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_FILLED = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_MARKED = {pickletools.markobject, pickletools.stackslice}


def check_depth(stream: IO[bytes]) -> None:
    """Read one pickle up to its end, without making its values.

    Raises:
        ValueError: The values are nested more than 500 levels deep, or the pickle is damaged.
    """
    depths: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    while True:
        opcode: Any = _OPCODES.get(stream.read(1))
        if opcode is None:
            raise ValueError("it holds no pickle, or one that ends too early")
        argument: Any = None if opcode.arg is None else opcode.arg.reader(stream)
        name = opcode.name
        if name == "STOP":
            return
        if name == "MARK":
            marks.append(len(depths))
        elif name.endswith("PUT"):
            memo[argument] = depths[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = depths[-1]
        elif name.endswith("GET"):
            depths.append(memo[argument])
        else:
            before = opcode.stack_before
            start = len(depths) - len(before)
            if _MARKED & set(before):
                start = marks.pop() - (name in _FILLED)
            if start < 0:
                raise ValueError("it holds a damaged pickle")
            operands = depths[start:]
            if name in _FILLED:  # the depth of the container, or one more than that of an item
                depth = max(operands[0], 1 + max(operands[1:], default=-1))
            else:
                depth = 1 + max(operands, default=-1)
            if depth > _MOST:
                raise ValueError(f"it holds values that are nested more than {_MOST} levels deep")
            depths[start:] = [depth] * len(opcode.stack_after)
