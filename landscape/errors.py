"""Errors for users. Each message is one line: what was wrong and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 300
"""Maximal number of characters of a reason. Messages about damaged files can be very long."""


class LandscapeError(Exception):
    """Work that was started could not be finished. The command line exits with code 1.

    The message is one line. Characters that are not printable are escaped.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_escaped(message))


class InputError(LandscapeError, ValueError):
    """The request was wrong, and no work was started. The command line exits with code 2."""


class TrainingError(LandscapeError):
    """Training produced a loss or gradient that is not finite."""


class NotFiniteError(LandscapeError):
    """A matrix-vector product is infinite or NaN at some weights."""


class LandscapeWarning(UserWarning):
    """A result may not be what the user expects, or a check could not be done."""


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Turn any error in the block into an ``InputError`` of one line: ``message`` and the reason.

    Use it around decoders of other packages: on a damaged or malicious file they may raise errors
    of any kind. Errors of this package are not changed.

    Args:
        message: Description of what failed, with the file's name.

    Raises:
        InputError: The block raised an error.
    """
    try:
        yield
    except LandscapeError:
        raise
    except Exception as error:
        raise InputError(f"{message}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The reason for an error, in one line of printable characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"no {error}"
    elif isinstance(error, MemoryError):
        text = "it takes more memory than there is"
    elif isinstance(error, EOFError):
        text = "it ends too early"
    lines = [line for line in str(text).splitlines() if line.strip()]
    return printable((lines or [type(error).__name__])[0])


def printable(text: str) -> str:
    """Text from a file, made safe for a message: escaped and shortened."""
    escaped = _escaped(text)
    return escaped if len(escaped) <= _LONGEST else f"{escaped[:_LONGEST]}..."


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
