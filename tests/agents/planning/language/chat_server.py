"""A chat endpoint on a socket of its own, that answers as real ones do, well and badly, one answer a request."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class ChatServer:
    """Answers requests in turn; the last answer again and again. `asked` has what came, `heads` their headers."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.answers = list(answers)
        self.over = threading.Event()
        serves = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/chat/completions"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                serves.asked.append(json.loads(body))
                serves.heads.append(dict(self.headers))
                answer = serves.answers.pop(0) if len(serves.answers) > 1 else serves.answers[0]
                with contextlib.suppress(ConnectionError):  # who asked gave up
                    answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextlib.contextmanager
    def serving(self) -> Iterator["ChatServer"]:
        """Until the end of a `with`."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def raw(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """These bytes, as they are."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(content: str | None, *, finish: str = "stop", refusal: str | None = None, usage: Any = USAGE) -> Answer:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": usage,
    }
    return raw(json.dumps(document).encode(), headers={"Content-Type": "application/json"})


def proposes(*proposals: dict[str, Any], **beside: Any) -> Answer:
    """A good answer."""
    return says(json.dumps({"proposals": proposals, **beside}))


def refuses(status: int, why: str, **headers: str) -> Answer:
    """An error, as such servers word it."""
    document = {"error": {"message": why, "type": "invalid_request_error"}}
    return raw(
        json.dumps(document).encode(), status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def breaks_off(n_bytes: int) -> Answer:
    """Half an answer: the connection ends within it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [' + b" " * n_bytes)
        handler.close_connection = True

    return answer


def stays_silent(server: ChatServer) -> Answer:
    """Takes the question, and answers nothing for as long as the server is there."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        server.over.wait()
        handler.close_connection = True

    return answer


def never_ends(server: ChatServer, piece: bytes, pause_s: float = 0.0) -> Answer:
    """An endless stream, in chunks."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while not server.over.is_set():
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            handler.wfile.flush()
            time.sleep(pause_s)

    return answer


def trickles(server: ChatServer, before: bytes, piece: bytes) -> Answer:
    """These bytes, then a piece again and again, and never an answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(before)
        while not server.over.is_set():
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.05)

    return answer
