"""Files that are written atomically, and locks on files."""

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

FileState = tuple[int, int, int, int, int]
"""Device, inode, size, time of the last write, and change time."""


def file_state(status: os.stat_result) -> FileState:
    """The state that a file is in: another one after each change. Nobody can set the change time.

    Args:
        status: The result of ``stat``.
    """
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def check_regular(path: Path) -> None:
    """Check that a path is a regular file. Reading a pipe may block, and a device has no end.

    Raises:
        InputError: The file is missing, or it is a folder, a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: the name has a zero byte
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
    """Remove the temporary files that killed processes left in a folder.

    Nothing happens if another process is writing to the folder, or if the folder is read-only.
    """
    with suppress(OSError), _folder_lock(folder, wait=False) as locked:
        if locked:
            for path in folder.iterdir():
                if _TEMPORARY.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                    path.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to ``path`` at the end of the block.

    The file is flushed to the disk before it is renamed. A reader therefore always finds the
    complete old file or the complete new file. After an error, or if the process is killed, it is
    the old one. The next writer removes the temporary files of killed processes.

    Writers to one folder wait for each other, so the block may read the old file and extend it.
    Readers do not wait. The new file has the permissions of the old one. If ``path`` is a symbolic
    link, the file that it points to is replaced.

    Yields:
        The temporary path.

    Raises:
        LandscapeError: The file cannot be written or is read-only. The old file is unchanged.
    """
    try:
        path = Path(os.path.realpath(path))
        with _folder_lock(path.parent) as locked:
            if locked:  # with the lock, no other process is using these files
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
    """Permissions of a writable file, or ``None`` if there is no file.

    Raises:
        PermissionError: The file is read-only.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return mode


@contextmanager
def file_lock(path: Path, refusal: str) -> Iterator[None]:
    """Lock a file for the block. The lock ends at the latest when this process ends.

    Args:
        path: File to lock. It must not be replaced meanwhile.
        refusal: Message of the error.

    Raises:
        InputError: Another process has the lock.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        except OSError:  # some network file systems have no locks
            pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _folder_lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a folder for the block. The lock ends at the latest when this process ends.

    Args:
        folder: Folder to lock.
        wait: Whether to wait for another process that has the lock.

    Yields:
        Whether this process has the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        # A process that was forked in the block has a copy of the descriptor, so closing it alone
        # would not end the lock.
        _lock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError:  # another process has the lock, or the file system has no locks
        return False
    return True


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
