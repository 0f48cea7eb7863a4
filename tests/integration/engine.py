"""A Docker Engine that knows zstd, in a container of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.integration.clients import Ended, command
from tests.integration.registries import labels


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, spoken to by the client in its container."""

    container: str

    def docker(self, *arguments: str) -> Ended:
        """Run a command of the client."""
        return command("docker", "exec", self.container, "docker", *arguments)


@contextmanager
def new_engine() -> Iterator[Engine]:
    """A Docker Engine of the tests' own release, for as long as the block takes."""
    (label,) = (f"{name}={value}" for name, value in labels().items())
    container = command(
        "docker", "run", "--detach", "--rm", "--init", "--label", label,
        "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN",
        "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
        "--env=DOCKER_HOST=", "recompress-test",
        "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--insecure-registry=0.0.0.0/0",
    ).succeeded()  # fmt: skip
    engine = Engine(container)
    try:
        deadline = time.monotonic() + 60
        while (ended := engine.docker("version", "--format={{.Server.Version}}")).code:
            assert time.monotonic() < deadline, ended.err + command("docker", "logs", container).err
            time.sleep(0.1)
        # zstd came with 23.0.
        assert int(ended.out.partition(".")[0]) >= 23
        yield engine
    finally:
        command("docker", "rm", "--force", "--volumes", container)
