"""All tests, and how much of the package they reach: too little fails.

    python3 -m tests.measured

It runs in the tests' container. What counts is what runs in the tests' own process, in each `recompress` that
they start, in the processes that it forks, and in the steps of Tasks, which are containers. What does not
count is a task image that is run by hand, and the wheel: these run as they are handed out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import coverage

FLOORS = {"recompress/layer/": 95, "recompress/": 90}
"""The least percentage of the statements, and of the branches, of all files below."""

CONFIG = "COVERAGE_PROCESS_CONFIG"
"""Set while the tests are measured. A Python that finds it is measured, too."""

_PACKAGES = Path("/usr/lib/python3/dist-packages")
_STARTER = "a1_coverage.pth"
"""Python reads it when it starts."""


def main() -> int:
    """The exit status of pytest, or 1 where too little is reached."""
    directory = _directory()
    directory.mkdir()
    # Containers write here, as any user.
    directory.chmod(0o777)
    shutil.copytree(Path(coverage.__file__).parent, directory / "packages" / "coverage")
    shutil.copy(_PACKAGES / _STARTER, directory / "packages")

    os.environ["COVERAGE_FILE"] = str(directory / "data")
    status = _tests(directory)
    _coverage("combine", "--quiet")
    _coverage("report", "--show-missing", "--skip-covered")
    _coverage("json", "--quiet", "-o", str(directory / "report.json"))
    files = json.loads((directory / "report.json").read_text())["files"]
    summaries = {name: file["summary"] for name, file in files.items()}
    enough = [is_enough(summaries, below, floor) for below, floor in FLOORS.items()]
    return status or (0 if all(enough) else 1)


def _tests(directory: Path) -> int:
    """Run all tests, the unit tests beside the others, which wait for registries most of the time."""
    with (directory / "unit.log").open("w+b") as log:
        command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "tests/unit"]
        unit = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        status = _coverage("run", "-m", "pytest", "tests/integration")
        unit_status = unit.wait()
        log.seek(0)
        shutil.copyfileobj(log, sys.stdout.buffer)
        sys.stdout.flush()
    return status or unit_status


def docker_options() -> list[str]:
    """What has a container of the task image measured, where the tests are: coverage, and where to write."""
    if CONFIG not in os.environ:
        return []
    directory = _directory()
    packages = [
        f"--volume={directory}/packages/{name}:{_PACKAGES}/{name}:ro" for name in ("coverage", _STARTER)
    ]
    return [f"--env={CONFIG}", f"--volume={directory}:{directory}", *packages]


def _directory() -> Path:
    return Path(tempfile.gettempdir()) / "coverage"


def _coverage(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], check=False).returncode


def is_enough(summaries: Mapping[str, Mapping[str, int]], below: str, floor: int) -> bool:
    """Print what is reached in the files below; False where that is less than `floor` per cent.

    `summaries` has coverage's numbers by file.
    """

    def total(what: str) -> int:
        return sum(summary[what] for name, summary in summaries.items() if name.startswith(below))

    statements = 100 * total("covered_lines") / total("num_statements")
    branches = 100 * total("covered_branches") / total("num_branches")
    print(f"{below}: {statements:.1f} % of the statements, {branches:.1f} % of the branches, floor {floor} %")
    return min(statements, branches) >= floor


if __name__ == "__main__":
    sys.exit(main())
