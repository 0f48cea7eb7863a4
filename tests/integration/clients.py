"""Clients that pull from the registries under test, and what the registries say of it."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.registries import Registry

_ACCESS = re.compile(
    r'"(?P<method>[A-Z]+) /v2/(?P<repository>\S+)/(?P<kind>blobs|manifests)/(?P<what>\S+) HTTP/[0-9.]+" '
    r"(?P<status>\d+) (?P<size>\d+)"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command of a client ended."""

    code: int
    out: str
    err: str

    def succeeded(self) -> str:
        """Assert that it did; what it said, without the line's end."""
        assert self.code == 0, self.err
        return self.out.strip()


def command(*arguments: str | Path) -> Ended:
    """Run a client to its end."""
    ended = subprocess.run(
        arguments, capture_output=True, text=True, errors="backslashreplace", check=False, timeout=300
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with an image store of its own."""

    store: Path

    def __call__(self, *arguments: str) -> Ended:
        """Run a command."""
        return command("podman", f"--root={self.store}", f"--runroot={self.store}-run", *arguments)

    def pull(self, image: str) -> Ended:
        """Pull from a registry without TLS, saying in detail what is done."""
        return self("--log-level=debug", "pull", "--tls-verify=false", image)


@contextmanager
def podman() -> Iterator[Podman]:
    """A podman that has no image yet. Its store is on a volume, where overlays can be mounted."""
    client = Podman(Path("/var/lib/containers") / uuid.uuid4().hex)
    try:
        yield client
    finally:
        client("rmi", "--all", "--force")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a blob or manifest as it stands in the registry's log. `size` is what was sent."""

    method: str
    kind: str
    what: str
    status: int
    size: int


def requests(registry: Registry, repository: str) -> Sequence[Request]:
    """All that the registry was asked for in a repository, in order."""
    port = registry.host.rpartition(":")[2]
    # Another container can have the same number, on IPv6.
    (container,) = (
        container
        for container in command("docker", "ps", "--quiet", f"--filter=publish={port}")
        .succeeded()
        .splitlines()
        if f"0.0.0.0:{port}" in command("docker", "port", container).out
    )
    # What a client was sent is logged a moment later: a request of our own comes after it.
    last = uuid.uuid4().hex
    with registry.client() as client:
        client.get(f"{repository}/manifests/{last}")
    deadline = time.monotonic() + 120
    while last not in (log := (ended := command("docker", "logs", container)).out + ended.err):
        assert time.monotonic() < deadline, f"{container}: {ended.code}, {log[-1000:]}"
        time.sleep(0.05)
    found = (m for m in _ACCESS.finditer(log) if m["repository"] == repository and m["what"] != last)
    return [Request(m["method"], m["kind"], m["what"], int(m["status"]), int(m["size"])) for m in found]


def blob_bytes(asked: Sequence[Request]) -> int:
    """The bytes of blobs that were sent."""
    return sum(r.size for r in asked if r.method == "GET" and r.kind == "blobs")
