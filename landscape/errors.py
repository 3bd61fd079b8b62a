"""The errors that a user meets: one line each, what was wrong and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 300
"""Characters of a reason: a damaged file may put a whole page into it."""


class LandscapeError(Exception):
    """Work that started could not be finished; the command line exits with 1.

    The message is one line of printable characters, whatever a file put into it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_escaped(message))


class InputError(LandscapeError, ValueError):
    """The request itself was wrong; nothing was started and the command line exits with 2."""


class TrainingError(LandscapeError):
    """Training produced a loss or gradient that is not finite."""


class NotFiniteError(LandscapeError):
    """A curvature product is infinite or NaN at some weights."""


class LandscapeWarning(UserWarning):
    """What a number is not, or could not be checked for; the number is given all the same."""


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Turn whatever a library makes of a damaged file into one line: ``message`` and the reason.

    The block calls decoders of others on bytes that may come from anybody, and these raise errors
    of any kind. An error of this package passes as it is.

    Args:
        message: What could not be done, with the file's name.

    Raises:
        InputError: in place of what the block raises.
    """
    try:
        yield
    except LandscapeError:
        raise
    except Exception as error:
        raise InputError(f"{message}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """An error in one line of printable characters."""
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
    """Text from a file in a message of one line: no control characters, and not a whole page."""
    shown = _escaped(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
