"""All benchmarks, or those that are named: measure, and put what was found into the results.

    python3 -m bench.bench [--rounds N] [NAME…]

It runs in a container of its own (bench.sh).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench import results
from bench.large import large, maxprocs
from bench.peers import peers
from bench.processes import run, say
from bench.proof import proof
from bench.runs import runs
from bench.setting import Benchmark, Setting
from bench.versions import versions
from recompress.jobs import default_jobs
from tests.integration.registries import running

RESULTS = Path("build/bench/results.json")

_USUAL: Mapping[str, Benchmark] = {"proof": proof, "versions": versions, "peers": peers, "runs": runs}
_LONG: Mapping[str, Benchmark] = {"large": large, "maxprocs": maxprocs}
"""Only where they are named."""

_TOOLS = ("recompress", "skopeo", "podman", "buildah")


def main() -> None:
    """Run them one after the other; each one's results are in the file when it has ended."""
    every = {**_USUAL, **_LONG}
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*every, []], metavar="NAME", help=", ".join(every))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    jobs = default_jobs()
    tools = {tool: run([tool, "--version"]) for tool in _TOOLS}
    for name in arguments.names or _USUAL:
        say(f"{name}:")
        made = results.circumstances(jobs, arguments.rounds, tools)
        with running() as registry, tempfile.TemporaryDirectory() as work:
            figures = every[name](Setting(registry, Path(work), jobs, arguments.rounds))
        results.add(RESULTS, name, figures, made)


if __name__ == "__main__":
    main()
