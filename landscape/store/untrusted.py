"""Opening a run file that may come from anybody.

Refused before a byte of data is read: links that leave the file, virtual or external storage,
filters other than those we write, object types, absurd sizes, another schema or a newer one.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import InputError
from landscape.store import schema

MAX_BYTES = 1 << 30
"""Largest uncompressed size of all variables together."""
MAX_OBJECTS = 10_000
MAX_DEPTH = 4
MAX_ATTRIBUTE_BYTES = 1 << 24

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
}
# HDF5 keeps the axes' links to their scales in these; they are never read.
_SCALE_ATTRIBUTES = {"DIMENSION_LIST", "REFERENCE_LIST"}
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, OverflowError)

Attribute = str | int | float

# States of files that were checked and found sound, so that reading one again does not check again.
# The time of the last change of a file's inode, which nobody can set, is part of its state.
_State = tuple[int, ...]
_sound: set[_State] = set()
_MOST_STATES = 4096
_SETTLED = 100_000_000  # ns; a file may change twice within a tick of its clock


@contextmanager
def open_run(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a run file for reading, after checking that it is one and that it is safe to read.

    Yields:
        The open file; a writer may replace it meanwhile.

    Raises:
        InputError: one line that names the file and the reason.
    """
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; name a run file (.h5) in it")
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise InputError(f"{path} is not a regular file")
        with path.open("rb") as stream:
            head = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if head != _SIGNATURE:
        raise InputError(f"{path} is not an HDF5 file; runs are written by 'landscape train'")
    with reading(path):
        file = h5py.File(path, "r")
    with file:
        with reading(path):
            state = _state(path.stat())
            is_it = state == _state(status)  # and no other, put in its place meanwhile
            if not is_it or state not in _sound:
                _check_schema(file, path)
                _check_tree(file, path)
                if is_it:
                    _remember(state)
        yield file


def _state(status: os.stat_result) -> _State:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _remember(state: _State) -> None:
    """Note the state of a file that was found sound."""
    if time.time_ns() - state[-1] < _SETTLED:
        return
    if len(_sound) >= _MOST_STATES:
        _sound.clear()
    _sound.add(state)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever HDF5 and numpy make of a damaged file into one line.

    Raises:
        InputError: in place of what they raise.
    """
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path} is truncated or damaged: {_first_line(error)}") from error


def plain_attributes(item: h5py.Group) -> dict[str, Attribute]:
    """The attributes of an open file or group that are one text or number each."""
    plain: dict[str, Attribute] = {}
    attributes = item.attrs
    for name in attributes:
        if name in _SCALE_ATTRIBUTES or attributes.get_id(name).shape != ():
            continue
        value = attributes[name]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str | int | float):
            plain[name] = value
    return plain


def _check_schema(file: h5py.File, path: Path) -> None:
    _check_attributes(file, f"{path}:/")
    attributes = plain_attributes(file)
    version = attributes.get("schema_version")
    if attributes.get("schema_name") != schema.NAME:
        raise InputError(f"{path} is an HDF5 file, but not a run of this package")
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{path} has no valid schema_version")
    if version > schema.VERSION:
        raise InputError(
            f"{path} has schema {version}, newer than {schema.VERSION}, the newest that this "
            "version reads: upgrade landscape"
        )


def _check_tree(file: h5py.File, path: Path) -> None:
    pending: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    seen = size = 0
    while pending:
        prefix, group, depth = pending.pop()
        _check_attributes(group, f"{path}:{prefix or '/'}")
        for name in group:
            seen += 1
            inside = f"{prefix}/{_printable(name)}"
            where = f"{path}:{inside}"
            if seen > MAX_OBJECTS:
                raise InputError(f"{path} holds more than {MAX_OBJECTS} objects: refused")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{where} is a soft or external link: refused")
            item = group[name]
            if isinstance(item, h5py.Group):
                if depth + 1 > MAX_DEPTH:
                    raise InputError(f"{where} is nested deeper than {MAX_DEPTH} groups: refused")
                pending.append((inside, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                size += _checked_size(item, where)
                if size > MAX_BYTES:
                    raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB: refused")
            else:
                raise InputError(f"{where} is neither a group nor a data set: refused")


def _checked_size(data: h5py.Dataset, where: str) -> int:
    _check_attributes(data, where)
    if data.is_virtual or data.external is not None:
        raise InputError(f"{where} keeps its data outside the file: refused")
    kind, shape = data.dtype, data.shape
    if kind.kind not in "biuf":
        raise InputError(f"{where} has type {kind}, not a number: refused")
    if shape is None:
        raise InputError(f"{where} has no shape: refused")
    # A chunk is unpacked whole, and may be larger than what is taken from it.
    entries = max(math.prod(shape), math.prod(data.chunks or ()))
    properties = data.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        if properties.get_filter(index)[0] not in _FILTERS:
            raise InputError(f"{where} uses filter {properties.get_filter(index)[0]}: refused")
    return int(entries * kind.itemsize)


def _check_attributes(item: h5py.Group | h5py.Dataset, where: str) -> None:
    attributes = item.attrs
    for name in attributes:
        if name in _SCALE_ATTRIBUTES:
            continue
        identifier = attributes.get_id(name)
        kind = identifier.dtype
        if kind.kind not in "biufS" and h5py.check_string_dtype(kind) is None:
            raise InputError(f"{where} has attribute '{_printable(name)}' of type {kind}: refused")
        if identifier.get_storage_size() > MAX_ATTRIBUTE_BYTES:
            raise InputError(
                f"{where} has an attribute '{_printable(name)}' that is too large: refused"
            )


def _printable(name: str) -> str:
    """A name for a message of one line: a file from anybody may name things as it likes."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
