"""What stands between a client and a real registry, and can get in the way."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.http_server import Answer, HttpServer, Request
from tests.integration.registries import Registry

Fault = Callable[[Request], Answer | None]
"""Answers in the registry's place, or not."""

# Of the connection, not of the message; the server says how long the answer is by itself.
_OF_THE_CONNECTION = {"transfer-encoding", "connection", "keep-alive"}


class Proxy:
    """Hands requests on to a registry unless a fault answers them first."""

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None = None) -> None:
        self.fault: Fault = lambda _: None
        self.server = HttpServer(self._handle, tls)
        self._client = httpx.Client(base_url=f"{registry.scheme}://{registry.host}", verify=False, timeout=60)

    @property
    def host(self) -> str:
        """The address in place of the registry's."""
        return self.server.host

    def times(self, count: int, answer: Answer, method: str, part: str) -> None:
        """Give this answer so many times to requests with this method and part of the path."""
        lock = threading.Lock()
        left = [count]

        def fault(request: Request) -> Answer | None:
            with lock:
                if request.method != method or part not in request.target or not left[0]:
                    return None
                left[0] -= 1
                return answer

        self.fault = fault

    def always(self, answer: Answer, method: str, part: str) -> None:
        """Give this answer to all requests with this method and part of the path."""
        self.times(1_000_000, answer, method, part)

    def forward(self, request: Request, **headers: str) -> Answer:
        """What the registry answers, to the request with these headers instead of its own."""
        # The registry makes the Locations of uploads of it.
        scheme = {"x-forwarded-proto": "https"} if self.server.tls else {}
        given = {**request.headers, **scheme, **headers}
        answer = self._client.request(
            request.method,
            request.target,
            headers={name: value for name, value in given.items() if value},
            content=request.body,
        )
        kept = {n: v for n, v in answer.headers.items() if n.lower() not in _OF_THE_CONNECTION}
        return Answer(answer.status_code, answer.content, kept)

    def _handle(self, request: Request) -> Answer:
        return self.fault(request) or self.forward(request)

    def close(self) -> None:
        """Let go of the registry."""
        self._client.close()


@contextmanager
def proxy_to(registry: Registry, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy for as long as the block takes, with TLS on its side where `tls` is given."""
    proxy = Proxy(registry, tls)
    with proxy.server:
        yield proxy
    proxy.close()
