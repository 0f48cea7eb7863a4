"""The kind of proxy that HTTP_PROXY names: absolute URLs and CONNECT, with a password if wanted."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_END = b"\r\n\r\n"


class ForwardProxy(socketserver.ThreadingTCPServer):
    """Knows hosts that nobody else knows, by `hosts`; keeps what it was asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, hosts: Mapping[str, str], password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hosts = hosts
        self.password = password
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """What HTTP_PROXY is set to."""
        user = f"proxy-user:{self.password}@" if self.password else ""
        return f"http://{user}127.0.0.1:{self.server_address[1]}"

    def takes(self, head: str) -> bool:
        """Whether a request shows the password."""
        shown = base64.b64encode(f"proxy-user:{self.password}".encode()).decode()
        return not self.password or f"proxy-authorization: basic {shown}".lower() in head.lower()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nothing to write about."""


class _Handler(socketserver.BaseRequestHandler):
    server: ForwardProxy
    request: socket.socket

    def handle(self) -> None:
        head = b""
        while _END not in head:
            if not (more := self.request.recv(65536)):
                return
            head += more
        head, _, rest = head.partition(_END)
        line, *headers = head.decode().split("\r\n")
        method, target, version = line.split()
        self.server.asked.append(f"{method} {target}")
        if not self.server.takes(head.decode()):
            refusal = ("407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="p"')
            self.request.sendall("\r\n".join((f"HTTP/1.1 {refusal[0]}", refusal[1])).encode())
            self.request.sendall(b"\r\nContent-Length: 0" + _END)
            return
        if method == "CONNECT":
            with self._connect(target) as there:
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                self._relay(there)
            return
        host, _, path = target.removeprefix("http://").partition("/")
        # One request for each connection is enough for a proxy of tests.
        kept = [h for h in headers if not h.lower().startswith(("proxy-", "connection:"))]
        with self._connect(host) as there:
            there.sendall("\r\n".join((f"{method} /{path} {version}", *kept, "Connection: close")).encode())
            there.sendall(_END + rest)
            self._relay(there)

    def _connect(self, host: str) -> socket.socket:
        name, _, port = self.server.hosts[host].partition(":")
        return socket.create_connection((name, int(port)))

    def _relay(self, there: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([self.request, there], [], [])
            for one in ready:
                if not (content := one.recv(65536)):
                    return
                (there if one is self.request else self.request).sendall(content)


@contextmanager
def forward_proxy(hosts: Mapping[str, str], password: str = "") -> Iterator[ForwardProxy]:
    """A proxy for as long as the block takes."""
    with ForwardProxy(hosts, password) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
