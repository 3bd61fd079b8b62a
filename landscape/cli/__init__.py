"""The command line: landscape demo | train | measure | surface | study | inspect | export | app.

Results go to standard output, progress and errors to standard error. The exit code is 0, or 1 when
work that started failed, or 2 when the request was wrong, or 130 after Ctrl-C.
"""

from landscape.cli.command_line import main

__all__ = ["main"]
