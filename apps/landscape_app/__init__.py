"""A dashboard for run files: readers and figures without side effects, and a Dash server.

``landscape_app.figures`` needs no server. Notebooks therefore use the same figures as the pages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dash

    from landscape_app.access import Access

__all__ = ["create_app", "serve", "show"]


# These functions import Dash themselves, so that figures in a notebook load without a server.
def create_app(folder: Path, access: Access | None = None) -> dash.Dash:
    """Return the Dash application that shows the run files in ``folder``.

    Args:
        folder: Folder of the ``.h5`` files.
        access: Prefix of a proxy, token, names and frames; see ``landscape_app.access.Access``.
    """
    from landscape_app import app
    from landscape_app.access import Access as Settings

    return app.create_app(folder, access or Settings())


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8050,
    open_browser: bool = False,
    access: Access | None = None,
) -> None:
    """Serve the run files in ``folder`` to a browser until the process is interrupted.

    Args:
        folder: Folder of the ``.h5`` files. The list links to those of folders inside it.
        host: Address to listen on. The server warns if other machines can reach it.
        port: Port to listen on; 0 for a free port.
        open_browser: Whether to open the page in the default browser.
        access: Prefix of a proxy, token, names and frames. By default the prefix is that of
            JupyterHub or code-server, if the process runs there.

    Raises:
        InputError: the folder is missing, or the server cannot listen on the address.
    """
    from landscape_app import server

    server.serve(folder, host=host, port=port, open_browser=open_browser, access=access)


def show(folder: str | os.PathLike[str], **settings: Any) -> Any:
    """Show the dashboard of a folder in a notebook cell; see ``landscape_app.notebook.show``."""
    from landscape_app import notebook

    return notebook.show(folder, **settings)
