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
from h5py import h5a, h5d, h5g, h5l, h5o, h5t

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
_NUMBERS = {h5t.INTEGER, h5t.FLOAT, h5t.ENUM}  # the last are truth values
_ATTRIBUTES = _NUMBERS | {h5t.STRING}
# HDF5 keeps the axes' links to their scales in these; they are never read.
_SCALE_ATTRIBUTES = {b"DIMENSION_LIST", b"REFERENCE_LIST"}
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


def plain_attributes(item: h5py.Group, *names: str) -> dict[str, Attribute]:
    """The attributes of an open file or group that are one text or number each.

    Args:
        item: The file or group.
        *names: Which of them; all if none is named.
    """
    plain: dict[str, Attribute] = {}
    for encoded, attribute in _attributes(item.id):
        name = encoded.decode("utf-8", "replace")
        if attribute.shape != () or (names and name not in names):
            continue
        held = np.empty((), attribute.dtype)
        attribute.read(held)
        value = held.item()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str | int | float):
            plain[name] = value
    return plain


def _attributes(group: h5g.GroupID) -> Iterator[tuple[bytes, h5a.AttrID]]:
    for index in range(h5a.get_num_attrs(group)):
        attribute = h5a.open(group, index=index)
        name = attribute.name
        if name not in _SCALE_ATTRIBUTES:
            yield name, attribute


def _check_schema(file: h5py.File, path: Path) -> None:
    _check_attributes(file.id, f"{path}:/")
    attributes = plain_attributes(file, "schema_name", "schema_version")
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


# By h5py's low-level interface, at a third of the cost: a folder of a hundred runs is checked
# before its list is shown.
def _check_tree(file: h5py.File, path: Path) -> None:
    pending: list[tuple[str, h5g.GroupID, int]] = [("", file.id, 0)]
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
            if group.links.get_info(name).type != h5l.TYPE_HARD:
                raise InputError(f"{where} is a soft or external link: refused")
            item = h5o.open(group, name)
            if isinstance(item, h5g.GroupID):
                if depth + 1 > MAX_DEPTH:
                    raise InputError(f"{where} is nested deeper than {MAX_DEPTH} groups: refused")
                pending.append((inside, item, depth + 1))
            elif isinstance(item, h5d.DatasetID):
                size += _checked_size(item, where)
                if size > MAX_BYTES:
                    raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB: refused")
            else:
                raise InputError(f"{where} is neither a group nor a data set: refused")


def _checked_size(data: h5d.DatasetID, where: str) -> int:
    properties = data.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise InputError(f"{where} keeps its data outside the file: refused")
    kind, shape = data.get_type(), data.shape
    if kind.get_class() not in _NUMBERS:
        raise InputError(f"{where} has type {kind.dtype}, not a number: refused")
    if shape is None:
        raise InputError(f"{where} has no shape: refused")
    # A chunk is unpacked whole, and may be larger than what is taken from it.
    chunk = properties.get_chunk() if layout == h5d.CHUNKED else ()
    for index in range(properties.get_nfilters()):
        if properties.get_filter(index)[0] not in _FILTERS:
            raise InputError(f"{where} uses filter {properties.get_filter(index)[0]}: refused")
    return int(max(math.prod(shape), math.prod(chunk)) * kind.get_size())


def _check_attributes(group: h5g.GroupID, where: str) -> None:
    """Of the file or a group; those of variables are for other readers, and not read here."""
    for name, attribute in _attributes(group):
        kind = attribute.get_type()
        if kind.get_class() not in _ATTRIBUTES:
            raise InputError(
                f"{where} has attribute '{_printable(name)}' of type {kind.dtype}: refused"
            )
        if attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
            raise InputError(
                f"{where} has an attribute '{_printable(name)}' that is too large: refused"
            )


def _printable(encoded: bytes) -> str:
    """A name for a message of one line: a file from anybody may name things as it likes."""
    name = encoded.decode("utf-8", "replace")
    return name if name.isprintable() else ascii(name)[1:-1]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
