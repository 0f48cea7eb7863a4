"""What must be true of the files that are handed out: Tasks without shells, packages with hashes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TASKS = [
    file for file in sorted(ROOT.glob("*task*.yaml")) if yaml.safe_load(file.read_text())["kind"] == "Task"
]


def steps(file: Path) -> list[dict[str, Any]]:
    spec = yaml.safe_load(file.read_text())["spec"]
    assert not spec.get("sidecars")
    return [*spec["steps"], spec.get("stepTemplate", {})]


@pytest.mark.parametrize("file", TASKS, ids=lambda file: file.name)
def test_a_task_has_no_shell_and_no_script(file: Path) -> None:
    assert len(TASKS) >= 2
    for step in steps(file):
        assert "script" not in step
        assert step.get("command") in (["recompress"], None)


@pytest.mark.parametrize("file", TASKS, ids=lambda file: file.name)
def test_a_tasks_parameters_cannot_become_options(file: Path) -> None:
    for step in steps(file):
        arguments = step.get("args", [])
        separator = arguments.index("--") if "--" in arguments else len(arguments)
        for argument in arguments[:separator]:
            # In one argument with the name of its option a value stays a value.
            assert "$(" not in argument or re.match(r"--[a-z-]+=", argument)


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-sbom.txt"])
def test_every_package_from_the_index_is_pinned_with_its_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    assert entries
    for entry in filter(None, map(str.strip, entries)):
        assert re.match(r"[A-Za-z0-9._-]+(\[\w+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
