"""Many instances at the same time against one registry, half of them in one repository.

    python3 -m tests.load [--instances N] [--megabytes N]

It runs in the tests' container (`make load`) and prints throughput, retries and memory.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import images
from tests.images import HandmadeImage
from tests.integration.command import environment
from tests.integration.registries import Registry, running

_RESULT_FILES = {"IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "SOURCE_ARTIFACT_INPUTS"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How an instance ended: `peak` is the most memory of it or of one of its processes, in MB."""

    repository: str
    code: int
    digest: str
    retries: int
    peak: float
    err: str


def image(number: int, megabytes: float) -> HandmadeImage:
    """Two layers, the first one the same for all numbers."""
    half = int(megabytes * 500_000)
    contents = [{str(n): random.Random(n).randbytes(half // 2) + bytes(half // 2)} for n in (-1, number)]
    return images.gzip_image(*contents)


def at_once(registry: Registry, directory: Path, sources: Sequence[tuple[str, HandmadeImage]]) -> list[Ended]:
    """Run an instance for each repository and image, all at the same time."""
    started = []
    for number, (repository, source) in enumerate(sources):
        results = directory / str(number)
        results.mkdir()
        command = [
            "recompress",
            "run",
            f"{registry.host}/{repository}@{registry.push(repository, source)}",
            "--no-tls-verify",
            "--jobs=1",
            f"--results-dir={results}",
        ]
        started.append((repository, results, command))
    processes = []
    for repository, results, command in started:
        log = (results.parent / f"{results.name}.log").open("wb")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment())
        log.close()
        processes.append((repository, results, process))
    return [_ended(*each) for each in processes]


def _ended(repository: str, results: Path, process: subprocess.Popen[bytes]) -> Ended:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    err = (results.parent / f"{results.name}.log").read_text()
    written = {file.name: file.read_text() for file in results.iterdir()}
    assert set(written) == (_RESULT_FILES if process.returncode == 0 else set()), err
    retries = len(re.findall(r"; try \d+ of \d+ in ", err))
    digest = written.get("IMAGE_DIGEST", "")
    return Ended(repository, process.returncode, digest, retries, usage.ru_maxrss / 1000, err)


def main() -> int:
    """Print what came of it; 1 unless all is right."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("--instances", type=int, default=32)
    parser.add_argument("--megabytes", type=float, default=4)
    options = parser.parse_args()
    half = options.instances // 2
    sources = [
        ("load/one" if number < half else f"load/{number}", image(number % 4, options.megabytes))
        for number in range(options.instances)
    ]
    with running() as registry, tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        all_ended = at_once(registry, Path(directory), sources)
        seconds = time.monotonic() - began
    speed = options.instances * options.megabytes / seconds
    by_image = {
        number: {ended.digest for n, ended in enumerate(all_ended) if n % 4 == number} for number in range(4)
    }
    wrong = [ended for ended in all_ended if ended.code] + [d for d in by_image.values() if len(d) != 1]
    for ended in all_ended:
        if ended.code:
            print(f"{ended.repository}: exit code {ended.code}\n{ended.err}")
    print(
        f"{options.instances} instances at once on {os.cpu_count()} CPUs in {seconds:.1f} s: "
        f"{options.instances / seconds:.2f} images/s, {speed:.1f} MB/s, "
        f"{sum(ended.retries for ended in all_ended)} retries, "
        f"largest process {max(ended.peak for ended in all_ended):.0f} MB, {len(wrong)} wrong outcomes"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
