"""Serving over HTTP: on loopback alone, to whoever has the token, and to no page of another origin."""

import hmac
import ipaddress
import os
import secrets
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from sensorium.errors import ConfigError
from sensorium.link.key_file import check_key_file

PATH = "/mcp"
_TOKEN_BYTES = 32


class TokenAsked:
    """An ASGI application in front of another: without `Authorization: Bearer TOKEN` there is 401 and nothing else."""

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or self._is_given(scope):
            await self._app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b'Bearer realm="sensorium"'), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"expected Authorization: Bearer TOKEN\n"})

    def _is_given(self, scope: Any) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        kind, _, token = given[0].partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def serve_http(server: MCPServer, host: str, port: int, token: str, ready: Callable[[str], object]) -> None:
    """Serve until a signal; `ready` is told the URL once connections are taken.

    Raises:
        ConfigError: the address is not of this machine alone, or cannot be had.
    """
    with _listening(host, port) as listening:
        bound = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        names = [f"{shown}:{bound}", f"localhost:{bound}"]
        app = server.streamable_http_app(
            streamable_http_path=PATH,
            host=host,
            transport_security=TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=names,
                allowed_origins=[f"http://{name}" for name in names],
            ),
        )
        config = uvicorn.Config(
            TokenAsked(app, token), log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3
        )
        ready(f"http://{shown}:{bound}{PATH}")
        uvicorn.Server(config).run(sockets=[listening])


def token_in(path: Path) -> str:
    """The token in a file, that only its owner may read; a new one in a new file, where there is none.

    Raises:
        ConfigError: others may read it, or it is none.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise ConfigError(f"token {path}: {error.strerror}; name a file that can be made") from error
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with os.fdopen(fd, "w") as file:
        file.write(token + "\n")
    return token


def _read_token(path: Path) -> str:
    try:
        mode = check_key_file(path)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"token {path}: {error}; remove it, and a new one is made") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"token {path}: others than its owner may read it: chmod 600 it, or remove it")
    if len(token) < _TOKEN_BYTES or not token.isprintable() or " " in token:
        raise ConfigError(f"token {path}: expected {_TOKEN_BYTES} letters or more; remove it, and a new one is made")
    return token


def _listening(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise ConfigError(f"--http {host}: expected an address of this machine, as 127.0.0.1:7711") from error
    if not address.is_loopback:
        raise ConfigError(f"--http {host}: expected loopback (127.0.0.1 or ::1); a tunnel (ssh -L) leads there")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((str(address), port))
        found.listen(64)
    except OSError as error:
        found.close()
        raise ConfigError(f"--http {host}:{port}: {error.strerror}; another port, or 0 for any") from error
    return found
