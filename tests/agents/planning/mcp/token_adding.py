"""In front of a server that asks for a token, for clients that cannot be given one: adds it, and changes no more.

Its own address stands for the server's in `Host` and `Origin`; any other goes through as it came, and so is judged.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@contextlib.contextmanager
def adding_token(url: str, token: str) -> Iterator[str]:
    """The URL to ask instead, until the end of a `with`."""
    to = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            own = f"127.0.0.1:{server.server_port}"
            names = {name: value.replace(own, to.netloc) for name, value in self.headers.items()}
            headers = {name: value for name, value in names.items() if name.lower() not in _HOP}
            headers["Authorization"] = f"Bearer {token}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)
            with contextlib.closing(connection), contextlib.suppress(ConnectionError, TimeoutError):
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1(65_536):
                    self.wfile.write(piece)
                    self.wfile.flush()

        do_GET = do_POST = do_DELETE = _forward  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{to.path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
