"""CHANGELOG.md: in the form of Keep a Changelog, whose sections hack/release.sh and readers look for."""

from __future__ import annotations

import re
from pathlib import Path

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
VERSION = re.compile(r"## (\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d)")

LINES = (Path(__file__).parents[2] / "CHANGELOG.md").read_text().splitlines()


def test_every_version_has_its_date_and_the_unreleased_one_is_on_top() -> None:
    versions = [line for line in LINES if line.startswith("## ")]
    assert versions[0] == "## [Unreleased]"
    assert all(map(VERSION.fullmatch, versions))
    assert versions.count("## [Unreleased]") == 1


def test_every_change_is_under_one_of_the_kinds_and_each_kind_is_there_once_in_a_version() -> None:
    kinds: list[str] = []
    changes = 0
    for line in LINES:
        if line.startswith("## "):
            kinds = []
        elif line.startswith("#") and not line.startswith("# "):
            kind = line.removeprefix("### ")
            assert kind in KINDS
            assert kind not in kinds
            kinds.append(kind)
        elif line.startswith("- "):
            assert kinds
            changes += 1
    assert changes
