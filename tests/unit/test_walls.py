"""The walls of the wings: what they may import, and by which door the rest comes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import recompress

PACKAGE = Path(recompress.__file__).parent
WINGS = {
    "layer": {"errors", "printable", "strictjson", "reference", "manifest"},
    "registry": {"errors", "printable", "strictjson", "reference", "manifest", "__version__"},
    "sbom_document": {"errors", "printable", "reference", "manifest", "report", "__version__"},
}


def imported(file: Path) -> Iterator[str]:
    """The names below `recompress` that a file imports, as `registry.client.Served`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition("recompress.")[2] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "recompress":
            module = (node.module or "").partition(".")[2]
            yield from (f"{module}.{alias.name}".removeprefix(".") for alias in node.names)


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_nothing_of_the_rest(wing: str) -> None:
    for file in (PACKAGE / wing).rglob("*.py"):
        rooms = {name.partition(".")[0] for name in imported(file) if name}
        assert rooms <= WINGS[wing] | {wing}, file


@pytest.mark.parametrize("wing", WINGS)
def test_the_rest_enters_a_wing_by_its_door(wing: str) -> None:
    door = set(__import__(f"recompress.{wing}", fromlist=["*"]).__all__)
    outside = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE / wing]
    entered = {name for file in outside for name in imported(file) if name.partition(".")[0] == wing}
    assert entered
    assert entered <= {f"{wing}.{name}" for name in door}
