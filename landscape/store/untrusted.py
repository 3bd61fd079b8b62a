"""Opening a run file that may come from anybody.

Refused before a byte of data is read: links that leave the file, virtual or external storage,
filters other than those we write, object types, sizes beyond ``runtime.limits``, another schema
or a newer one.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5, h5a, h5d, h5g, h5l, h5o, h5t

from landscape.errors import InputError, printable, refused
from landscape.runtime import limits
from landscape.runtime.files import FileState, file_state
from landscape.store import schema
from landscape.store.heaps import check_heaps

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
_LARGEST_NUMBER = 16
"""Bytes of one number, of any type."""
_TOO_MUCH_TEXT = f"has attributes larger than {limits.MAX_ATTRIBUTE_BYTES >> 20} MiB"

Attribute = str | int | float

# States of files that passed the check: a file in such a state is not checked again. Part of the
# state is the time of the last change of the inode, which nobody can set.
_sound: set[FileState] = set()
_MOST_STATES = 4096
# ns; a file may change twice within a tick of the clock, which is at most 10 ms.
_SETTLED = 25_000_000


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
            begun = time.time_ns()
            now = path.stat()
            state = file_state(now)
            is_it = state == file_state(status)  # and no other, put in its place meanwhile
            if not is_it or state not in _sound:
                _check_size(file, path, limits.stored_bytes(now))
                check_heaps(file.id.get_vfd_handle(), path)
                _check_schema(file, path)
                if is_it:
                    _remember(state, begun)
        yield file


def _remember(state: FileState, begun: int) -> None:
    """Note the state of a file that passed the check, which had begun at a time in ns."""
    if begun - state[-1] < _SETTLED:
        return
    if len(_sound) >= _MOST_STATES:
        _sound.clear()
    _sound.add(state)


def reading(path: Path) -> AbstractContextManager[None]:
    """Turn the errors of HDF5 and numpy on a damaged file into one line.

    Raises:
        InputError: HDF5 or numpy raised an error.
    """
    return refused(f"{path} is truncated or damaged")


def plain_attributes(item: h5py.Group) -> dict[str, Attribute]:
    """The attributes of an open file or group that are single texts or numbers.

    Raises:
        InputError: their texts are larger than ``limits.MAX_ATTRIBUTE_BYTES``.
    """
    plain: dict[str, Attribute] = {}
    size = 0
    for encoded, attribute in _attributes(item.id):
        if attribute.shape != ():
            continue
        scalar = np.empty((), attribute.dtype)
        attribute.read(scalar)
        value = scalar.item()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            size += len(value)
            if size > limits.MAX_ATTRIBUTE_BYTES:
                raise _refusal(Path(item.file.filename), item.name, _TOO_MUCH_TEXT)
        if isinstance(value, str | int | float):
            plain[_decoded(encoded)] = value
    return plain


def _refusal(path: Path, inside: str, why: str) -> InputError:
    """The error for an object of a file.

    Args:
        path: Path of the file.
        inside: Path of the object in it; empty for the file itself.
        why: What is wrong with it.
    """
    return InputError(f"{path}:{printable(inside or '/')} {why}: refused")


def _attributes(group: h5g.GroupID) -> Iterator[tuple[bytes, h5a.AttrID]]:
    # In the order of the file: another order takes a table of all values for each attribute.
    names: list[bytes] = []
    h5a.iterate(group, names.append, order=h5.ITER_NATIVE)
    for name in names:
        if name not in _SCALE_ATTRIBUTES:
            yield name, h5a.open(group, name)


def _check_schema(file: h5py.File, path: Path) -> None:
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
    try:
        schema.check_attributes(attributes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@dataclass
class _Size:
    """Memory that reading a file takes, as far as it is known.

    Attributes:
        objects: Number of groups and variables.
        numbers: Bytes of all variables in the types that they are read as.
        chunks: Number of chunks of the variables.
        stored: Bytes of the variables in the file.
        attributes: Number of attributes of the file and its groups.
    """

    objects: int = 0
    numbers: int = 0
    chunks: int = 0
    stored: int = 0
    attributes: int = 0

    def check(self, path: Path) -> None:
        """Refuse a file that is already known to exceed a limit."""
        if self.numbers > limits.MAX_BYTES:
            raise InputError(
                f"{path} is larger than {limits.MAX_BYTES >> 20} MiB once it is unpacked: refused"
            )
        for size, most, what in (
            (self.objects, limits.MAX_OBJECTS, "groups and variables"),
            (self.attributes, limits.MAX_ALL_ATTRIBUTES, "attributes"),
            (self.chunks, limits.MAX_CHUNKS, "chunks"),
        ):
            if size > most:
                raise InputError(f"{path} holds more than {most:,} {what}: refused")

    def check_all(self, path: Path, nbytes: int) -> None:
        """Compare all that the file holds with the bytes that it takes on the disk."""
        if self.numbers > limits.max_unpacked(nbytes, limits.RATIO):
            raise InputError(
                f"{path} would unpack {-(-nbytes >> 10):,} KiB to {self.numbers >> 20:,} MiB, "
                "which no measured numbers do: refused"
            )
        if nbytes - self.stored > limits.MAX_OVERHEAD:
            raise InputError(
                f"{path} holds {(nbytes - self.stored) >> 20:,} MiB beside its numbers: refused; "
                "if it is yours, pack it anew with 'h5repack'"
            )


# h5py's low-level interface costs a third, and a folder of a hundred runs is checked before its
# list is shown.
def _check_size(file: h5py.File, path: Path, nbytes: int) -> None:
    """Check all that a file declares before a number or a text of it is read.

    Args:
        file: The open file.
        path: Its path.
        nbytes: Bytes that it takes on the disk.

    Raises:
        InputError: it is unsafe to read, or larger than the limits.
    """
    if not h5a.exists(file.id, b"schema_name"):
        raise InputError(f"{path} is an HDF5 file, but not a run of this package")
    size = _Size()
    groups: list[tuple[str, h5g.GroupID]] = []
    pending: list[tuple[str, h5g.GroupID, int]] = [("", file.id, 0)]
    while pending:
        prefix, group, depth = pending.pop()
        groups.append((prefix, group))
        about = h5o.get_info(group)
        attributes, members = h5a.get_num_attrs(group), group.get_num_objs()
        size.attributes += attributes
        if attributes > limits.MAX_ATTRIBUTES:
            raise _refusal(path, prefix, f"has more than {limits.MAX_ATTRIBUTES:,} attributes")
        # Texts of variable length are elsewhere: check_all and plain_attributes count them.
        if about.meta_size.attr.heap_size + about.hdr.space.total > limits.MAX_ATTRIBUTE_BYTES:
            raise _refusal(path, prefix, _TOO_MUCH_TEXT)
        size.objects += members
        size.check(path)
        if prefix[1:] in schema.FAMILIES and members > limits.MAX_MEMBERS:
            raise InputError(f"{path} holds more than {limits.MAX_MEMBERS:,} {prefix[1:]}: refused")
        for name, link in _links(group):
            text = _decoded(name)
            inside = f"{prefix}/{text}"
            if len(name) > limits.MAX_NAME or text.encode() != name:
                raise _refusal(path, inside, "has a name that is too long or no text")
            if link != h5l.TYPE_HARD:
                raise _refusal(path, inside, "is a soft or external link")
            item = h5o.open(group, name)
            if isinstance(item, h5g.GroupID):
                if depth + 1 > limits.MAX_DEPTH:
                    raise _refusal(path, inside, f"is nested deeper than {limits.MAX_DEPTH} groups")
                pending.append((inside, item, depth + 1))
            elif isinstance(item, h5d.DatasetID):
                _add(size, item, path, inside)
                size.check(path)
            else:
                raise _refusal(path, inside, "is neither a group nor a data set")
    size.check_all(path, nbytes)
    for prefix, group in groups:  # their texts are now known to be small
        _check_attributes(group, path, prefix)


def _links(group: h5g.GroupID) -> list[tuple[bytes, int]]:
    """The name and the type of each link of a group."""
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, about: links.append((name, about.type)), info=True)
    return links


def _add(size: _Size, data: h5d.DatasetID, path: Path, inside: str) -> None:
    """Add what reading a variable takes.

    Raises:
        InputError: the variable is of a kind that is never read.
    """
    properties = data.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise _refusal(path, inside, "keeps its data outside the file")
    kind, shape = data.get_type(), data.shape
    nbytes = kind.get_size()
    if kind.get_class() not in _NUMBERS or nbytes > _LARGEST_NUMBER:
        raise _refusal(path, inside, f"has type {_named(kind)}, not a number")
    if shape is None:
        raise _refusal(path, inside, "has no shape")
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in _FILTERS:
            raise _refusal(path, inside, f"uses filter {code}")
    # A chunk is unpacked as a whole, and may be larger than the part that is read.
    chunk = properties.get_chunk() if layout == h5d.CHUNKED else shape
    as_read = max(nbytes, schema.number_size(inside[1:]))
    size.numbers += max(math.prod(shape) * as_read, math.prod(chunk) * nbytes)
    size.chunks += math.prod(-(-a // b) for a, b in zip(shape, chunk, strict=True) if b)
    size.stored += data.get_storage_size()


def _check_attributes(group: h5g.GroupID, path: Path, inside: str) -> None:
    """Check the attributes of the file or a group; those of variables are never read here."""
    for name, attribute in _attributes(group):
        kind = attribute.get_type()
        if kind.get_class() not in _ATTRIBUTES:
            raise _refusal(
                path,
                inside,
                f"has attribute '{printable(_decoded(name))}' of type {_named(kind)}",
            )


def _named(kind: h5t.TypeID) -> str:
    """A type of HDF5 in words; numpy lacks some of them."""
    try:
        return str(kind.dtype)
    except TypeError:
        return f"{kind.get_size()} bytes of class {kind.get_class()}"


def _decoded(encoded: bytes) -> str:
    return encoded.decode("utf-8", "replace")
