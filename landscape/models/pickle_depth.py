"""How deep the values of a pickle lie in each other, before anything is made of it.

Python takes the hash of a key by recursion without end: one of a million tuples kills the process.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

_MOST = 500
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_FILLED = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_MARKED = {pickletools.markobject, pickletools.stackslice}


def check_depth(stream: IO[bytes]) -> None:
    """Read one pickle, up to its end, without making its values.

    Raises:
        ValueError: its values are nested more than 500 deep, or it is no pickle.
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
            taken = depths[start:]
            if name in _FILLED:  # is as deep as before, or as what is put into it
                deepest = max(taken[0], 1 + max(taken[1:], default=-1))
            else:
                deepest = 1 + max(taken, default=-1)
            if deepest > _MOST:
                raise ValueError(f"it holds values that are nested more than {_MOST} deep")
            depths[start:] = [deepest] * len(opcode.stack_after)
