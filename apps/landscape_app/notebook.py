"""The dashboard in a cell of a notebook."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from landscape.errors import InputError
from landscape_app.access import Access
from landscape_app.server import behind

NOTEBOOKS = (
    "http://localhost:*",
    "http://127.0.0.1:*",
    "https://*.vscode-cdn.net",
    "vscode-webview:",
)
"""Sites whose pages may show the dashboard in a cell: notebooks on this machine."""

_servers: dict[Path, tuple[str, str]] = {}
"""Address and prefix of each folder that is served."""
_open = ExitStack()


def show(
    folder: str | os.PathLike[str],
    *,
    address: str = "/",
    height: int = 800,
    port: int = 0,
    prefix: str | None = None,
    ancestors: tuple[str, ...] = NOTEBOOKS,
) -> Any:
    """Show the dashboard of a folder in a notebook cell. It is served until the kernel ends.

    Args:
        folder: Folder of the run files.
        address: Page to begin with, as in a permalink: ``"/flatness?run=swag&run=vi"``.
        height: Height of the cell in pixels.
        port: Port of this machine to serve on; 0 for a free one.
        prefix: Path under which a proxy shows that port. By default that of JupyterHub or
            code-server, if the kernel runs there.
        ancestors: Sites whose pages may show the dashboard in a frame.

    Returns:
        An ``IPython.display.IFrame``.

    Raises:
        InputError: the folder is missing, the port is taken, or IPython is not installed.
    """
    try:
        from IPython.display import IFrame
    except ImportError as error:
        raise InputError("show needs a notebook: 'pip install ipython'") from error
    path = Path(folder).resolve()
    if path not in _servers:
        access = Access(prefix=prefix or "/", ancestors=ancestors)
        site, access = _open.enter_context(behind(path, port, access, prefix is None))
        _servers[path] = (site, access.prefix)
    site, shown = _servers[path]
    page = quote(address.removeprefix("/"), safe="/?&=:,%+")
    source = f"{site}/{page}" if shown == "/" else f"{shown}{page}"
    return IFrame(source, width="100%", height=height)
