"""What all benchmarks share: the registry, how often, and the commands that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recompress.skopeo import FORMAT_OPTIONS
from tests.integration.registries import Registry

SKOPEO = ("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false")

Figures = dict[str, Any]
"""What a benchmark found, as it stands in the results: seconds and bytes, never rounded."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A registry, a directory that the container engine sees too, layers at a time, and rounds."""

    registry: Registry
    work: Path
    jobs: int
    rounds: int

    def repository(self, name: str) -> str:
        """The name of a repository of the registry, as clients take it."""
        return f"{self.registry.host}/bench/{name}"

    def skopeo(self, source: str, to: str, level: int | None = None) -> list[str]:
        """Bare skopeo with the level and the jobs that recompress gives it, and the flag that it needs."""
        levels = [f"--dest-compress-level={level}"] if level else []
        jobs = f"--image-parallel-copies={self.jobs}"
        return [*SKOPEO, jobs, *FORMAT_OPTIONS, *levels, f"docker://{source}", f"docker://{to}:twin"]

    def recompress(self, source: str, to: str, *options: str, level: int | None = None) -> list[str]:
        """`recompress run`, as a user calls it."""
        levels = [f"--level={level}"] if level else []
        command = ["recompress", "run", source, "--to", to, "--no-tls-verify", "--output=json"]
        return [*command, f"--jobs={self.jobs}", *levels, *options]


Benchmark = Callable[[Setting], Figures]
