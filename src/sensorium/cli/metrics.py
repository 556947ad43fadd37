"""Prometheus metrics over HTTP, to this machine alone if nothing else is said, for as long as a command runs."""

import logging
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import CollectorRegistry

from sensorium.errors import ConfigError
from sensorium.threads import Restart, Thread

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POLL_S = 0.2
REQUEST_S = 5.0


class Metrics:
    """Answers with what is in `registry`, one request after the other; what it serves never waits for it.

    Raises:
        ConfigError: the port is in use, or the address is none of this machine's.
    """

    def __init__(self, port: int, registry: CollectorRegistry, host: str = HOST) -> None:
        try:
            self._server = make_server(host, port, make_wsgi_app(registry), _Server, _Request)
        except OSError as error:
            raise ConfigError(f"--metrics: cannot listen on {host}:{port}: {error.strerror}; choose another") from error
        self._server.timeout = POLL_S
        self._stop = threading.Event()
        # What it tells of goes on without it.
        self._thread = Thread("metrics", "serves metrics", self._run, lambda _: None, restart=Restart(self._stop))

    @property
    def port(self) -> int:
        """As bound."""
        return self._server.server_port

    def stop(self) -> None:
        """End the thread, give the port back."""
        self._stop.set()
        if self._thread.join():
            self._server.server_close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._server.handle_request()


def served(address: str, registry: CollectorRegistry) -> Metrics:
    """Metrics at PORT of this machine alone, or at HOST:PORT.

    Raises:
        ConfigError: it is no such address, or cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--metrics {address}: expected PORT or HOST:PORT, for example 127.0.0.1:9108")
    return Metrics(int(port), registry, host.strip("[]") or HOST)


class _Server(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up half-way is its own affair."""
        del request
        log.debug("metrics: a request of %s failed", client_address, exc_info=True)


class _Request(WSGIRequestHandler):
    timeout = REQUEST_S

    def log_message(self, *_: object) -> None:
        """Nobody asks for a line a request."""
