"""The results: one JSON file, from which all tables and the picture are drawn.

{"runs": {"made": {"date", "cpus", "jobs", "rounds", "recompress", "skopeo", …}, …}, "versions": …}: what each
benchmark found, by its name, with the circumstances in `made`. Times are seconds, sizes are bytes, and a list
of times has one for each round. A run of some benchmarks replaces theirs and leaves the others.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, Any]]


def load(file: Path) -> Results:
    """What is there already; nothing where there is no file."""
    if not file.exists():
        return {}
    results = json.loads(file.read_text())
    assert isinstance(results, dict)  # noqa: S101 # written below
    return results


def add(file: Path, name: str, figures: dict[str, Any], made: dict[str, Any]) -> None:
    """Put the figures of one benchmark into the file."""
    results = load(file) | {name: {"made": made, **figures}}
    file.write_text(json.dumps(results, indent=1) + "\n")


def circumstances(jobs: int, rounds: int, versions: dict[str, str]) -> dict[str, Any]:
    """When, where, and with what: `versions` is what each tool says of its version."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpus": len(os.sched_getaffinity(0)),
        "jobs": jobs,
        "rounds": rounds,
        **{tool: _number(text) for tool, text in versions.items()},
    }


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"
