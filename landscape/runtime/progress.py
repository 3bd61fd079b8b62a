"""Progress of long work: how much is done, and the time that the rest will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from landscape.runtime import distributed

Report = Callable[..., None]


def reporter(
    progress: bool | Report | None, label: str, describe: Callable[[Any], str] | None = None
) -> Report | None:
    """The callback for the ``progress`` setting of a function.

    Args:
        progress: A callback; or whether to show progress. ``None`` shows it in a terminal or a
            notebook only. Of several processes that train together, the first one shows it.
        label: Name of the work.
        describe: Text about what the callback gets as its third argument.
    """
    if callable(progress):
        return progress
    is_shown = _has_bars() if progress is None else progress
    return Progress(label, describe) if is_shown and distributed.rank() == 0 else None


class Progress:
    """A callback that shows progress on standard error, after each call.

    It is a bar in a terminal or a notebook, and one line for each tenth of the work elsewhere, for
    example in a log file.

    Args:
        label: Name of the work.
        describe: Text about what the callback gets as its third argument; a text is shown as it is.
    """

    def __init__(self, label: str, describe: Callable[[Any], str] | None = None) -> None:
        self._label = label
        self._describe = describe
        self._begun = time.monotonic()
        self._before = -1
        self._tenth = 0
        self._bar: Any = None

    def __call__(self, done: int, total: int, detail: Any = None) -> None:
        """Show that ``done`` of ``total`` units are finished.

        Units that were finished before the first call, all but one, took no time here.
        """
        text = detail if self._describe is None else self._describe(detail)
        text = text if isinstance(text, str) else ""
        if self._before < 0:
            self._before = done - 1
            if _has_bars():
                from tqdm.auto import tqdm  # in a notebook without ipywidgets it warns

                self._bar = tqdm(
                    desc=self._label,
                    total=total,
                    initial=self._before,
                    miniters=1,  # show each unit at once, for it may take an hour
                    dynamic_ncols=True,
                )
                self._bar.start_t -= time.monotonic() - self._begun
        if self._bar is None:
            self._line(done, total, text)
            return
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)
        if done == self._before + 1:
            self._bar.refresh()
        if done == total:
            self._bar.close()

    def _line(self, done: int, total: int, text: str) -> None:
        tenth = 10 * done // total
        if tenth == self._tenth and done < total:
            return
        self._tenth = tenth
        elapsed = time.monotonic() - self._begun
        left = elapsed / max(1, done - self._before) * (total - done)
        took = f"{elapsed:.0f} s" if done == total else f"{left:.0f} s left"
        say(f"{self._label}: {done}/{total}, {took}{f', {text}' if text else ''}")


def say(text: str) -> None:
    """Write a line to standard error, above a bar if there is one."""
    from tqdm.auto import tqdm

    tqdm.write(text, file=sys.stderr)


def _has_bars() -> bool:
    """Whether standard error is a terminal or a notebook's output."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return sys.stderr.isatty() or (shell is not None and "IPKernelApp" in shell.config)
