"""The ways in which an answer goes wrong, and the kinds of request at which it can."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace

from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.integration.proxy import Fault, Proxy

ENDPOINTS = {
    "a manifest": ("GET", r"/manifests/sha256:"),
    "an SBOM": ("GET", r"/manifests/[^:]+\.sbom$"),
    "referrers": ("GET", r"/referrers/sha256:"),
    "a tag": ("GET", r"/manifests/[^:]+zstd-chunked[^:]*$"),
    "a blob": ("GET", r"/blobs/sha256:"),
    "whether a blob is there": ("HEAD", r"/blobs/sha256:"),
    "the start of an upload": ("POST", r"/blobs/uploads/$"),
    "the bytes of an upload": ("PATCH", r"/blobs/uploads/"),
    "the end of an upload": ("PUT", r"/blobs/uploads/"),
    "the twin's manifest": ("PUT", r"/manifests/sha256:"),
    "the twin's tag": ("PUT", r"/manifests/sha256-"),
}


def is_at(endpoint: str, request: Request) -> bool:
    """Whether this is such a request."""
    method, pattern = ENDPOINTS[endpoint]
    return request.method == method and re.search(pattern, request.path) is not None


def at_each_endpoint(times: int, fault: Callable[[Request], Answer]) -> Fault:
    """The fault for the first requests of each kind."""
    lock = threading.Lock()
    left = dict.fromkeys(ENDPOINTS, times)

    def choose(request: Request) -> Answer | None:
        with lock:
            endpoint = next((name for name in ENDPOINTS if is_at(name, request)), None)
            if endpoint is None or not left[endpoint]:
                return None
            left[endpoint] -= 1
        return fault(request)

    return choose


def with_length(answer: Answer, length: int) -> Answer:
    """The answer with this Content-Length, true or not."""
    headers = {n: v for n, v in answer.headers.items() if n.lower() != "content-length"}
    return replace(answer, headers={**headers, "Content-Length": str(length)})


def _lying(answer: Answer, length: int) -> Answer:
    # Without a body it is no lie about one: that of HEAD is the size of the blob.
    return replace(with_length(answer, length), cut=len(answer.body)) if answer.body else answer


BROKEN: dict[str, Callable[[Answer], Answer]] = {
    "reset in the middle": lambda answer: replace(answer, cut=len(answer.body) // 2, reset=True),
    "reset before the answer": lambda answer: replace(answer, body=b"", cut=0, reset=True),
    "cut in the middle": lambda answer: replace(answer, cut=len(answer.body) // 2),
    "Content-Length too large": lambda answer: _lying(answer, len(answer.body) + 7),
    "Content-Length too small": lambda answer: _lying(answer, len(answer.body) // 2),
    "slow": lambda answer: replace(answer, pause=0.02, piece=4000),
}
"""What becomes of a good answer."""

PASSING = {
    "500": error_answer(500, "UNKNOWN", "oops"),
    "502": Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    "503": error_answer(503, "UNAVAILABLE", "later"),
    "504": Answer(504),
    "429": error_answer(429, "TOOMANYREQUESTS", "slow down"),
    "429 for a second": error_answer(429, "TOOMANYREQUESTS", "slow down", **{"Retry-After": "1"}),
    "upload unknown": error_answer(404, "BLOB_UPLOAD_UNKNOWN", "what upload?"),
}
"""Answers in the registry's place that are followed by better ones."""


def broken(kind: str, proxy: Proxy) -> Callable[[Request], Answer]:
    """What the registry answers, broken in this way."""
    return lambda request: BROKEN[kind](proxy.forward(request))
