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
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import waitress
from waitress.wasyncore import close_all

from landscape.errors import InputError
from landscape_app.access import Access, proxy_prefix
from landscape_app.app import create_app, read_ahead


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8050,
    open_browser: bool = False,
    access: Access | None = None,
) -> None:
    """Serve until interrupted; see ``landscape_app.serve``."""
    read_ahead(folder)  # every browser requests the list first
    server, access = _listen(folder, host, port, {}, access or Access(), access is None)
    if not is_loopback(host) and not access.token:
        print(f"warning: {host} can be reached from other machines, and there is no password")
    token = f"/?token={quote(access.token)}" if access.token else ""
    address = _address(server) + token
    print(f"showing the runs in {folder} at {address} (stop with Ctrl+C)", flush=True)
    if access.prefix != "/":
        print(f"behind a proxy: at {access.prefix} of its site", flush=True)
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
    with behind(folder, port, Access()) as (site, _):
        yield site


@contextmanager
def behind(
    folder: Path, port: int, access: Access, is_proxied: bool = False
) -> Iterator[tuple[str, Access]]:
    """``in_background`` with settings of access.

    Args:
        folder: Folder of the runs.
        port: Port to listen on; 0 for a free port.
        access: Settings of access.
        is_proxied: Whether the prefix is that of the proxy of JupyterHub or code-server, if the
            process runs there.

    Yields:
        The address of the dashboard on this machine, and the settings with their prefix.
    """
    channels: dict[int, Any] = {}
    server, access = _listen(folder, "127.0.0.1", port, channels, access, is_proxied)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield _address(server), access
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


def _listen(
    folder: Path,
    host: str,
    port: int,
    channels: dict[int, Any],
    access: Access,
    is_proxied: bool,
) -> tuple[Any, Access]:
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
    if is_proxied:
        access = replace(access, prefix=proxy_prefix(listener.getsockname()[1]))
    if not is_loopback(host):
        access = replace(access, hosts=(*access.hosts, host))
    application = create_app(folder, access).server
    # Plotly's script is 5 MB. A response larger than ``outbuf_overflow`` goes to a temporary file.
    server = waitress.create_server(
        application, map=channels, sockets=[listener], threads=4, outbuf_overflow=1 << 26
    )
    return server, access


def _address(server: Any) -> str:
    host, port = server.effective_host, server.effective_port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
