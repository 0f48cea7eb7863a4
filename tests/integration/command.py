"""The command `recompress`, run as a user runs it, and what came out of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import measured, schema
from tests.integration.registries import SECRETS


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `results` are the files that it wrote."""

    code: int
    out: str
    err: str
    results: Mapping[str, str]

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report on stdout, which is as the schema says."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        schema.check(document)
        return document

    @property
    def error(self) -> str:
        """The line that says what is wrong, which is the last one."""
        return self.err.splitlines()[-1]

    def failed(self, code: int, *parts: str) -> None:
        """Assert that it failed as every failure must: one line, nothing on stdout, no results."""
        assert self.code == code, self.err
        assert self.error.startswith("error: "), self.err
        assert sum(line.startswith("error: ") for line in self.err.splitlines()) == 1
        for part in parts:
            assert part in self.error
        assert self.out == ""
        assert self.results == {}

    def succeeded(self) -> Outcome:
        """Assert that it did what it should; returns itself."""
        assert self.code == 0, self.err
        return self


def environment(**more: str) -> dict[str, str]:
    """The environment of a run, with nothing of this machine that could change its outcome."""
    kept = ("PATH", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", measured.CONFIG)
    return {name: os.environ[name] for name in kept if name in os.environ} | more


def recompress(*arguments: str, results: Path | None = None, env: Mapping[str, str] | None = None) -> Outcome:
    """Run the command to its end. What must never be in any output is looked for every time."""
    if results is not None:
        arguments = (*arguments, f"--results-dir={results}")
    ended = subprocess.run(
        ["recompress", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(**(env or {})),
        check=False,
        timeout=300,
    )
    return outcome_of(ended.returncode, ended.stdout, ended.stderr, results, is_debug="--debug" in arguments)


def outcome_of(code: int, out: str, err: str, results: Path | None, is_debug: bool = False) -> Outcome:
    """What came out of a run; what must never be in any output is looked for."""
    written = {p.name: p.read_text() for p in results.iterdir()} if results and results.is_dir() else {}
    for text in (out, err, *written.values()):
        assert "Traceback" not in text or is_debug, text
        assert "this is a bug" not in text, text
        assert not any(secret in text for secret in SECRETS)
    return Outcome(code, out, err, written)
