"""SECURITY.md: the tests that it names beside its claims."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_[a-z0-9_]+)`")


def rows() -> list[str]:
    """The rows of all tables, without their heads."""
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [line for line in table if not line.startswith("| ---") and not line.endswith("| shown by |")]


def test_each_claim_names_a_test_that_is_there() -> None:
    sources = (file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    there = {name for text in sources for name in re.findall(r"^def (test_[a-z0-9_]+)", text, re.MULTILINE)}
    claims = rows()
    assert len(claims) > 20
    for claim in claims:
        assert NAMED.search(claim), claim
    named = set(NAMED.findall((ROOT / "SECURITY.md").read_text()))
    assert named - there == set()
