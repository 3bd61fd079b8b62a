"""Who may reach the dashboard, and how: prefix of a proxy, hosts, token, frames, compression."""

from __future__ import annotations

import gzip
import hmac
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import flask

from landscape.errors import InputError

_PREFIX = re.compile(r"/([\w.~@%:+-]+/)*")
_SOURCE = re.compile(r"'self'|[\w.:*/@-]+")
"""A frame ancestor of a Content-Security-Policy; nothing in it ends the directive."""
_LEAST = 1024
"""Bytes below which compression does not pay."""
_COOKIE = "landscape-token"
_YEAR = 365 * 24 * 3600
_TEXT = ("text/", "application/json", "application/javascript", "image/svg+xml")


@dataclass(frozen=True)
class Access:
    """Settings of the server towards browsers.

    Attributes:
        prefix: Path under which a proxy shows the dashboard, with a slash at both ends.
        token: Secret without which nothing is shown; empty for none.
        hosts: Names of this server beside localhost and its addresses, as browsers call it.
        ancestors: Sites whose pages may show the dashboard in a frame.
    """

    prefix: str = "/"
    token: str = ""
    hosts: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InputError(
                f"the prefix '{self.prefix}' is no path that begins and ends with a slash, such as "
                "/user/me/proxy/8050/"
            )
        for source in self.ancestors:
            if not _SOURCE.fullmatch(source):
                raise InputError(f"'{source}' is no site, such as https://hub.example.org")

    @property
    def policy(self) -> str:
        """The Content-Security-Policy, by which the browser refuses requests to other servers."""
        frames = " ".join(dict.fromkeys(["'self'", *self.ancestors]))
        return (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
            f"frame-ancestors {frames}"
        )


def proxy_prefix(port: int, environment: Mapping[str, str] = os.environ) -> str:
    """The prefix under which JupyterHub or code-server shows a port of this machine; else ``/``."""
    hub = environment.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if hub:
        return f"{hub.rstrip('/')}/proxy/{port}/"
    address = environment.get("VSCODE_PROXY_URI", "")
    path = urlsplit(address.replace("{{port}}", str(port))).path
    return f"{path.rstrip('/')}/" if address else "/"


def root() -> str:
    """The prefix of the present request's application; ``/`` outside of a request."""
    if not flask.has_app_context():
        return "/"
    return str(flask.current_app.config.get("LANDSCAPE_ROOT", "/"))


def href(path: str) -> str:
    """A path of the dashboard as the browser has to ask for it."""
    return root() + path.removeprefix("/")


def protect(server: flask.Flask, access: Access) -> None:
    """Make ``server`` answer as ``access`` says."""
    server.config["LANDSCAPE_ROOT"] = access.prefix
    server.wsgi_app = _without_prefix(server.wsgi_app, access.prefix)  # type: ignore[method-assign]
    server.before_request(lambda: _refusal(access))

    @server.after_request
    def finish(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = access.policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        return _compressed(response)


def _without_prefix(application: Any, prefix: str) -> Callable[..., Iterable[bytes]]:
    """An application that takes a prefix off each path: some proxies leave it, and some do not."""

    def stripped(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if prefix != "/" and f"{path}/".startswith(prefix):
            environ["PATH_INFO"] = "/" + path[len(prefix) :]
        result: Iterable[bytes] = application(environ, start)
        return result

    return stripped


def _refusal(access: Access) -> flask.Response | None:
    """The answer to a request that is refused; None for the others."""
    request = flask.request
    given = request.args.get("token", "")
    if access.token and hmac.compare_digest(given.encode(), access.token.encode()):
        rest = [(name, value) for name, value in request.args.items(True) if name != "token"]
        query = f"?{urlencode(rest)}" if rest else ""
        answer = flask.redirect(href(request.path) + query)
        answer.set_cookie(
            _COOKIE, access.token, max_age=_YEAR, httponly=True, samesite="Lax", path=access.prefix
        )
        return flask.make_response(answer)
    if access.token:
        cookie = request.cookies.get(_COOKIE, "")
        if hmac.compare_digest(cookie.encode(), access.token.encode()):
            return None
        return _text("open the address that `landscape app` printed, with its token", 403)
    name = urlsplit(f"//{request.host}").hostname or ""
    if _is_own(name, access):
        return None
    # A page of another site can give its own name the address of this machine (DNS rebinding).
    shown = name[:100]
    return _text(f"unknown host '{shown}': start the dashboard with --allow-host {shown}", 403)


def _is_own(name: str, access: Access) -> bool:
    """Whether a host is an address, or a name of this machine."""
    if name in ("localhost", "") or name.endswith(".localhost") or name in access.hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True


def _text(words: str, status: int) -> flask.Response:
    return flask.Response(f"{words}\n", status=status, mimetype="text/plain")


def _compressed(response: flask.Response) -> flask.Response:
    """The response with its text compressed, if the browser takes that."""
    takes = "gzip" in flask.request.headers.get("Accept-Encoding", "")
    if not takes or response.status_code != 200 or "Content-Encoding" in response.headers:
        return response
    if not str(response.mimetype).startswith(_TEXT):
        return response
    response.direct_passthrough = False
    content = response.get_data()
    if len(content) < _LEAST:
        return response
    tag = response.headers.get("ETag", "")
    response.set_data(_static(content) if tag else gzip.compress(content, 1))
    response.headers["Content-Encoding"] = "gzip"
    response.headers.add("Vary", "Accept-Encoding")
    return response


@lru_cache(maxsize=64)
def _static(content: bytes) -> bytes:
    """A script or a style sheet, compressed once."""
    return gzip.compress(content, 6)
