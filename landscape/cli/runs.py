"""The commands ``inspect``, ``export`` and ``app``, which read runs."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from landscape.cli.options import Json
from landscape.cli.report import print_run
from landscape.errors import InputError
from landscape.runtime.progress import say
from landscape.store import Run


def inspect(file: Path, /, *, as_json: Json = False) -> None:
    """Say what a run file holds.

    Args:
        file: Run file (.h5).
    """
    print_run(file, as_json)


def export(path: Path, /, *, csv: Path | None = None, html: Path | None = None) -> None:
    """Write figures and their numbers to files, for a run or a folder of runs.

    Args:
        path: Run file (.h5), or a folder of run files.
        csv: Folder for the numbers of each figure and run.
        html: File for one self-contained page.
    """
    from landscape_app import exports

    if csv is None and html is None:
        raise InputError("say what to write: --csv DIR, --html FILE, or both")
    run = None if path.is_dir() else Run.open(path)
    if csv is not None:
        if run is None:
            written, faults = exports.write_folder_csv(path, csv)
        else:
            written, faults = exports.write_csv(run, csv)
        print(*written, sep="\n")
        for fault in faults:
            say(f"landscape: left out: {fault}")
    if html is not None:
        if run is None:
            exports.write_report(path, html)
        else:
            exports.write_run_html(run, html)
        print(html)


def app(
    folder: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8050,
    open_browser: Annotated[bool, Parameter(name="--open")] = False,
    prefix: str | None = None,
    token: str = "",
    allow_host: list[str] | None = None,
    frame_ancestor: list[str] | None = None,
) -> None:
    """Look at the runs of a folder in the browser.

    Args:
        folder: Folder of run files.
        host: Address to listen on.
        port: Port to listen on.
        open_browser: Open the browser.
        prefix: Path under which a proxy shows the dashboard, such as /user/me/proxy/8050/. By
            default that of JupyterHub or code-server, if the command runs there.
        token: Secret that the first address has to hold; 'auto' makes one.
        allow_host: Another name by which browsers reach this machine.
        frame_ancestor: Site whose pages may show the dashboard in a frame.
    """
    from landscape_app import serve
    from landscape_app.access import Access, proxy_prefix

    torch.set_num_threads(1)  # each answer has a thread of its own, and computes little
    access = Access(
        prefix=proxy_prefix(port) if prefix is None else prefix,
        token=secrets.token_urlsafe(24) if token == "auto" else token,
        hosts=tuple(name.lower() for name in allow_host or ()),
        ancestors=tuple(frame_ancestor or ()),
    )
    serve(folder, host=host, port=port, open_browser=open_browser, access=access)
