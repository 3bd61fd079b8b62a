"""The browser for run files: pure readers, pure figures, a Dash server.

``landscape_app.figures`` needs no server, so notebooks use the same figures as the pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dash

__all__ = ["create_app", "serve"]


# Dash is imported inside these two, so that figures in a notebook do not pay for a server.
def create_app(folder: Path) -> dash.Dash:
    """The Dash application that shows the run files in ``folder``."""
    from landscape_app import app

    return app.create_app(folder)


def serve(
    folder: Path, host: str = "127.0.0.1", port: int = 8050, open_browser: bool = False
) -> None:
    """Show the run files in ``folder`` in a browser, until interrupted.

    Args:
        folder: Folder of the ``.h5`` files; folders inside it are not searched.
        host: Address to listen on. Any other than this machine's own is warned about.
        port: Port to listen on; 0 takes a free one.
        open_browser: Open the page in the default browser.

    Raises:
        InputError: the folder is missing, or the address cannot be listened on.
    """
    from landscape_app import server

    server.serve(folder, host=host, port=port, open_browser=open_browser)
