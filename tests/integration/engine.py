"""Docker Engines, old and new, in containers of their own."""

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
    """A Docker Engine of the tests' own release, which knows zstd."""
    with _engine() as (engine, version):
        # zstd came with 23.0.
        assert int(version.partition(".")[0]) >= 23
        yield engine


@contextmanager
def old_engine() -> Iterator[Engine]:
    """Docker Engine 20.10, which can also run what it has pulled."""
    # The old runc has no place of its own in a cgroup namespace.
    cgroups = ("--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw")
    path = "--env=PATH=/opt/docker-20.10:/usr/sbin:/usr/bin:/sbin:/bin"
    with _engine(*cgroups, path) as (engine, version):
        assert version.startswith("20.10.")
        yield engine


@contextmanager
def _engine(*options: str) -> Iterator[tuple[Engine, str]]:
    """An engine with a network of its own, in which it is no danger to the host's engine; and its version."""
    (label,) = (f"{name}={value}" for name, value in labels().items())
    container = command(
        "docker", "run", "--detach", "--rm", "--init", "--label", label,
        "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN",
        "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
        # Without the variable "container" it would load AppArmor profiles where the host has AppArmor.
        "--env=container=docker", "--env=DOCKER_HOST=", *options, "recompress-test",
        "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--insecure-registry=0.0.0.0/0",
    ).succeeded()  # fmt: skip
    engine = Engine(container)
    try:
        deadline = time.monotonic() + 60
        while (ended := engine.docker("version", "--format={{.Server.Version}}")).code:
            assert time.monotonic() < deadline, ended.err + command("docker", "logs", container).err
            time.sleep(0.1)
        yield engine, ended.out
    finally:
        command("docker", "rm", "--force", "--volumes", container)
