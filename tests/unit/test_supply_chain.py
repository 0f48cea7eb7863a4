"""What must be true of the files that are handed out: Tasks without shells, packages with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
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


def pinned(group: str) -> list[str]:
    """The entries of a group's file, each in one line."""
    text = (ROOT / f"requirements-{group}.txt").read_text()
    entries = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [entry.strip() for entry in entries if entry.strip()]


def names(requirements: list[Any]) -> set[str]:
    """The packages, as the index writes them; groups that are included are left out."""
    found = (re.match(r"[\w.-]+", entry) for entry in requirements if isinstance(entry, str))
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in found if name}


@pytest.mark.parametrize("group", [file.stem.partition("-")[2] for file in ROOT.glob("requirements-*")])
def test_every_package_from_the_index_is_pinned_with_its_hashes(group: str) -> None:
    assert pinned(group)
    for entry in pinned(group):
        assert re.match(r"[A-Za-z0-9._-]+(\[\w+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_what_a_group_asks_for_is_pinned() -> None:
    package = PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]
    assert names(package + GROUPS["test"] + GROUPS["lint"]) <= names(pinned("dev"))
    assert names(GROUPS["sbom"]) <= names(pinned("sbom"))
    assert names(GROUPS["fuzz"]) <= names(pinned("fuzz"))
    assert names(GROUPS["release"]) <= names(pinned("release"))


def test_the_tests_container_has_what_the_tests_ask_for_and_nothing_else() -> None:
    containerfile = (ROOT / "tests/Containerfile").read_text()
    debian = set(re.findall(r"^ +python3-(\S+) \\$", containerfile, flags=re.MULTILINE))
    # Debian has no testcontainers, only what that needs.
    asked = names(GROUPS["test"]) - {"testcontainers"} | {"docker", "python-dotenv", "wrapt"}
    other = {"pyyaml": "yaml", "python-dotenv": "dotenv", "cyclonedx-python-lib": "cyclonedx-lib"}
    assert debian == {other.get(name, name) for name in asked}
