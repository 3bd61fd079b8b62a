"""Files that a reader never meets half written, and locks on them."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.errors import InputError, LandscapeError, printable, reason


def check_regular(path: Path) -> None:
    """Check that a file can be read to its end: a pipe would be waited for, a device has no end.

    Raises:
        InputError: the file is missing, or it is a folder, a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"cannot read {printable(str(path))}: {reason(error)}") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot read {path}: it is a folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"cannot read {path}: it is not a regular file")


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, as a hexadecimal string."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder.

    Nothing happens while somebody writes to the folder, or where it may not be written.
    """
    with suppress(OSError), _turn(folder, wait=False) as alone:
        if alone:
            for path in folder.iterdir():
                if _TEMPORARY.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                    path.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which takes the place of ``path`` at the end.

    The file is brought to the disk and renamed, so that a reader meets the old one or the new one
    whole; after an error, or a kill at any moment, it meets the old one. What a killed writer left
    behind is removed by the next. Writers to one folder take turns, so that what is read inside
    the block is still there when it is replaced; readers wait for nobody. A file keeps its
    permissions, and a symbolic link goes on pointing to what is replaced.

    Raises:
        LandscapeError: the file could not be written, or is read-only; the earlier one is intact.
    """
    try:
        path = Path(os.path.realpath(path))
        with _turn(path.parent) as alone:
            if alone:  # so nobody is writing what lies here
                for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                    leftover.unlink(missing_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            mode = _mode(path)
            try:
                yield temporary
                if mode is not None:
                    temporary.chmod(mode)
                _synchronise(temporary)
                temporary.replace(path)
                _synchronise(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise LandscapeError(
            f"could not write {path}: {error.strerror or error}; what was saved before is intact"
        ) from error


def _mode(path: Path) -> int | None:
    """Permissions of a file that may be written; None where there is no file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return mode


@contextmanager
def file_lock(path: Path, refusal: str) -> Iterator[None]:
    """Keep other holders off a file that nobody replaces, at most as long as this process lives.

    Raises:
        InputError: another process has the lock; the message is ``refusal``.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        except OSError:  # some network file systems
            pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _turn(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Wait for a lock on ``folder``, which ends with the process; False where there are none.

    Without ``wait`` it is False, too, where another process has the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        _lock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile may hold a copy of it
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError:  # some network file systems
        return False
    return True


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
