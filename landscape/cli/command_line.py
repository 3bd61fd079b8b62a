"""One command, from its words to its exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict

from landscape import workflow
from landscape.cli import importing, measuring, runs, studies, training
from landscape.cli.options import convert
from landscape.errors import InputError, LandscapeError, LandscapeWarning, printable
from landscape.runtime.interrupts import repeated_interrupts
from landscape.runtime.memory import keep_freed_memory
from landscape.runtime.progress import say

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": studies.demo,
    "train": training.train,
    "import": importing.import_weights,
    "measure": measuring.measure,
    "surface": measuring.surface,
    "study": studies.study,
    "inspect": runs.inspect,
    "export": runs.export,
    "app": runs.app,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: Command line without the program's name; that of the process if ``None``.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = "--debug" in words
    try:
        keep_freed_memory()
        with repeated_interrupts(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run([word for word in words if word != "--debug"])
        sys.stdout.flush()
    except LandscapeError as error:
        if is_debug:
            raise
        say(f"landscape: {error}")
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        say("\nlandscape: stopped; finished results are in the run files")
        return 130
    except BrokenPipeError:  # the reader has read enough: `landscape inspect FILE | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(words: list[str]) -> None:
    if not words:
        raise InputError(f"a command is required: {', '.join(COMMANDS)} (see 'landscape --help')")
    commands = dict(COMMANDS)
    settings: list[Dict] = []
    if words[0] == "train":
        commands["train"], words, settings = training.prepare(words)
    elif words[0] == "import":
        commands["import"], words = importing.prepare(words)
    app = App(
        name="landscape",
        help="Train Bayesian neural networks with flat posteriors and measure how flat they are.",
        help_epilogue="--debug shows the traceback of an error.",
        version_flags=[],
        default_parameter=Parameter(converter=convert, negative_bool=(), allow_repeating=True),
        config=settings,
    )
    for name, command in commands.items():
        app.command(command, name=name)
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        named = words[: 3 if words[0] == "train" else 1] if words[0] in COMMANDS else []
        line = printable(" ".join(str(error).split()))
        raise InputError(f"{line} (see '{' '.join(['landscape', *named])} --help')") from error
    bound.apply_defaults()
    _remove_leftovers(bound.arguments)
    command(*bound.args, **bound.kwargs)


def _remove_leftovers(arguments: dict[str, Any]) -> None:
    """Remove what killed commands left in the folders that this command uses."""
    for name in ("file", "path", "folder", "out"):
        path = arguments.get(name)
        if isinstance(path, Path) and path.exists():
            workflow.tidy(path if path.is_dir() else path.parent)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **_: Any) -> None:
    """Show our own warnings as a line, and other warnings as Python does."""
    if issubclass(category, LandscapeWarning):
        say(f"landscape: {message}")
    else:
        say(warnings.formatwarning(message, category, *where[:2]).rstrip("\n"))
