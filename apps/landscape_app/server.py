"""The server of the application. By default only this machine can reach it."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import shlex
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import waitress
from waitress.wasyncore import close_all

from landscape.errors import InputError
from landscape_app.app import create_app, read_ahead


def serve(
    folder: Path, host: str = "127.0.0.1", port: int = 8050, open_browser: bool = False
) -> None:
    """Serve until interrupted; see ``landscape_app.serve``."""
    read_ahead(folder)  # every browser requests the list first
    server = _listen(folder, host, port, {})
    if not is_loopback(host):
        print(f"warning: {host} can be reached from other machines, and there is no password")
    address = _address(server)
    print(f"showing the runs in {folder} at {address} (stop with Ctrl+C)", flush=True)
    if open_browser:
        webbrowser.open(address)
    # Without this, each full collection scans all of torch and delays some response by 0.15 s.
    gc.collect()
    gc.freeze()
    server.run()


@contextmanager
def in_background(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve ``folder`` to this machine from a thread, while the block runs.

    Args:
        folder: Folder of the runs.
        port: Port to listen on; 0 for a free port.

    Yields:
        The address of the dashboard.

    Raises:
        InputError: the folder is missing, or the port is taken.
    """
    channels: dict[int, Any] = {}
    server = _listen(folder, "127.0.0.1", port, channels)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield _address(server)
    finally:
        # Only the thread that waits on the sockets may close them. If a response has just ended,
        # that thread is awake and may close the trigger's socket before the trigger writes to it.
        with suppress(OSError):
            server.trigger.pull_trigger(lambda: close_all(channels))
        thread.join()
        server.task_dispatcher.shutdown()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``. The only name that counts is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(folder: Path, host: str, port: int, channels: dict[int, Any]) -> Any:
    if folder.is_file():
        parent = shlex.quote(str(folder.parent))
        raise InputError(f"{folder} is a file: give its folder instead, `landscape app {parent}`")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; `landscape demo` makes a folder with runs")
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        raise InputError(f"cannot listen on port {port}: a port is between 0 and 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is in use, perhaps by another dashboard: choose another "
                "with --port (0 takes a free one)"
            ) from error
        reason = error.strerror or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; choose another port or host"
        ) from error
    # A page requests a dozen scripts at once. Some wait for a thread, which is no reason to warn.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    application = create_app(folder).server
    # Plotly's script is 5 MB. A response larger than ``outbuf_overflow`` goes to a temporary file.
    return waitress.create_server(
        application, map=channels, sockets=[listener], threads=4, outbuf_overflow=1 << 26
    )


def _address(server: Any) -> str:
    host, port = server.effective_host, server.effective_port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
