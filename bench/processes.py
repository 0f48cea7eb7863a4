"""Run whole processes: to their end, with their seconds, or with the memory of all that they start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.1
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory at any one moment in bytes (PSS: what processes share counts once), and the seconds.

    `recompress` has its provers with it.
    """

    recompress: int
    skopeo: int
    together: int
    seconds: float


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; returns its stdout. Ends the benchmark where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def timed(command: Sequence[str]) -> float:
    """Run a command to its end; returns the seconds that it took."""
    began = time.monotonic()
    run(command)
    return time.monotonic() - began


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def peak(*commands: Sequence[str]) -> Peak:
    """Run commands, all at once, and watch their memory until the last one has ended."""
    began = time.monotonic()
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    stop = threading.Event()
    samples: list[dict[str, int]] = []

    def sample() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            samples.append(_used([process.pid for process in processes]))

    sampler = threading.Thread(target=sample)
    sampler.start()
    statuses = [process.wait() for process in processes]
    seconds = time.monotonic() - began
    stop.set()
    sampler.join()
    if any(statuses):
        sys.exit(f"exit statuses {statuses} of {commands}")
    own, skopeo, both = (
        max((used[key] for used in samples), default=0) for key in ("recompress", "skopeo", "together")
    )
    return Peak(own, skopeo, both, seconds)


def _used(roots: Sequence[int]) -> dict[str, int]:
    used = {"recompress": 0, "skopeo": 0}
    for pid in _tree(roots):
        name, size = _usage(pid)
        used["skopeo" if name == "skopeo" else "recompress"] += size
    return used | {"together": sum(used.values())}


def _tree(roots: Sequence[int]) -> list[int]:
    found = list(roots)
    for pid in found:
        # A child stands with the thread that started it.
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found.extend(map(int, children.read_text().split()))
    return found


def _usage(pid: int) -> tuple[str, int]:
    """The name and the proportional set size; nothing of a process that has ended meanwhile."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return "", 0
    return name, sum(int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:"))
