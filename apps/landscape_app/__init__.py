"""A dashboard for run files: readers and figures without side effects, and a Dash server.

``landscape_app.figures`` needs no server. Notebooks therefore use the same figures as the pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dash

__all__ = ["create_app", "serve"]


# These two functions import Dash themselves, so that figures in a notebook load without a server.
def create_app(folder: Path) -> dash.Dash:
    """Return the Dash application that shows the run files in ``folder``."""
    from landscape_app import app

    return app.create_app(folder)


def serve(
    folder: Path, host: str = "127.0.0.1", port: int = 8050, open_browser: bool = False
) -> None:
    """Serve the run files in ``folder`` to a browser until the process is interrupted.

    Args:
        folder: Folder of the ``.h5`` files. Folders inside it are not searched.
        host: Address to listen on. The server warns if other machines can reach it.
        port: Port to listen on; 0 for a free port.
        open_browser: Whether to open the page in the default browser.

    Raises:
        InputError: the folder is missing, or the server cannot listen on the address.
    """
    from landscape_app import server

    server.serve(folder, host=host, port=port, open_browser=open_browser)
