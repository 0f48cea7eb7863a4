"""A real HTTP server of the tests' own, which answers as a test wants it to."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """What came in. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out.

    `cut` ends the connection after so many bytes of the body, `reset` does so the hard way. `pause`
    is waited for before each `piece` bytes of the body, for as long as the client waits, too.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    pause: float = 0.0
    piece: int = 1


Handler = Callable[[Request], Answer]


class HttpServer:
    """Serves one handler on 127.0.0.1 and keeps what was asked, in order."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.tls = tls
        self.closing = threading.Event()
        self.requests: list[Request] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        """The address with the port, as it stands in an image reference."""
        return f"127.0.0.1:{self._server.server_port}"

    def asked(self, method: str, part: str = "") -> list[Request]:
        """The requests with this method and with `part` in their target."""
        return [r for r in self.requests if r.method == method and part in r.target]

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: object, ___: TracebackType | None) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Take no more connections: the next one is refused."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def in_turn(*answers: Answer) -> Handler:
    """A handler that gives these answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def serving(handler: Handler) -> Iterator[HttpServer]:
    """A server for as long as the block takes."""
    with HttpServer(handler) as server:
        yield server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A connection that a client leaves open must not keep the test waiting.
    block_on_close = False

    def __init__(self, owner: HttpServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS first, in the thread of this connection alone."""
        if self.owner.tls is None:
            super().finish_request(request, client_address)
            return
        with self.owner.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nothing to write about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two packets, and the second must not wait for the first to be acknowledged.
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = self._chunks()
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            # skopeo sends a line for each media type that it accepts.
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        request = Request(self.command, self.path, headers, body)
        self.server.owner.requests.append(request)
        answer = self.server.owner.handler(request)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "content-length" not in map(str.lower, answer.headers):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer)
        if answer.cut is not None or answer.reset:
            self.close_connection = True
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _send_body(self, answer: Answer) -> None:
        body = answer.body[: answer.cut]
        if not answer.pause:
            self.wfile.write(body)
            return
        for start in range(0, len(body), answer.piece):
            if self.server.owner.closing.wait(answer.pause):
                return
            self.wfile.write(body[start : start + answer.piece])

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """The tests look at what was asked, not at a log."""
