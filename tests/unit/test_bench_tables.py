"""The documents' tables and the picture say what the benchmarks found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench import picture, tables

_ROOT = Path(__file__).parents[2]
_MADE = {"cpus": 2, "jobs": 2, "rounds": 5, "date": "2026-01-02", "skopeo": "1.22.0", "podman": "5.8.6"}
_CASES = {
    "skopeo, first": 30.0,
    "structure, first": 30.0,
    "content, first": 30.6,
    "structure, first, low level": 8.0,
    "content, first, low level": 8.4,
    "content, from a base": 2.0,
    "content, again": 1.0,
    "structure, again": 0.4,
    "content, changed": 2.0,
}


def _runs(**seconds: float) -> dict[str, Any]:
    times = {case: [2 * each, each, each / 2] for case, each in (_CASES | seconds).items()}
    return {"made": _MADE, "size": 120_800_000, "seconds": times}


def test_a_row_has_the_median_the_spread_the_ratio_and_the_aim() -> None:
    row = next(line for line in tables.runs(_runs()) if line.startswith("| same image again, content"))
    assert row == (
        "| same image again, content proven | 1.00 s (0.50 to 2.00) | bare skopeo, 30.00 s "
        "| 30.0 times faster | at least 20 |"
    )


@pytest.mark.parametrize(("case", "seconds"), [("content, again", 1.6), ("content, first", 31.5)])
def test_an_aim_that_is_missed_is_called_so(case: str, seconds: float) -> None:
    assert not any("missed" in line for line in tables.runs(_runs()))
    assert sum("**missed**" in line for line in tables.runs(_runs(**{case: seconds}))) == 1


def test_what_was_measured_goes_between_its_lines_and_the_rest_stays() -> None:
    document = (
        "before\n<!-- bench: speed -->\nold\n<!-- /bench -->\nbetween\n"
        "<!-- bench: proof -->\nnot measured\n<!-- /bench -->\nafter\n"
    )
    written = tables.written(document, {"runs": _runs()})
    assert "old" not in written
    assert "| the same image again | 1.0 s | 30.0 s |\n" in written
    for kept in (
        "before\n<!-- bench: speed -->\n",
        "\n<!-- /bench -->\nbetween\n",
        "not measured",
        "after\n",
    ):
        assert kept in written
    assert tables.written(written, {"runs": _runs()}) == written


def test_all_places_in_the_documents_are_of_tables_that_there_are() -> None:
    documents = [_ROOT / "README.md", *_ROOT.glob("bench/*.md"), *_ROOT.glob("docs/*.md")]
    marked = {path: path.read_text() for path in documents if "<!-- bench:" in path.read_text()}
    names = re.findall("<!-- bench: (.*) -->\n", "".join(marked.values()))
    assert set(names) <= set(tables.TABLES)
    assert len(names) == sum(text.count("<!-- /bench -->") for text in marked.values())
    assert {str(path.relative_to(_ROOT)) for path in marked} <= set(tables.DOCUMENTS)


def test_a_failure_of_verify_is_shown_without_digests() -> None:
    digest = "sha256:" + "a" * 64
    failures = [f"layer {digest}: there is no zstd frame at offset {offset}" for offset in (1, 22)]
    made = {
        "size": 1,
        "keeps_image_id": False,
        "lost": ["diff_ids"],
        "pulled_partially": None,
        "verify": {"code": 6, "failures": failures},
    }
    tools = {"a tool": {"docker": made}, "another": {"missing": "another"}}
    assert tables.peers_docker({"tools": tools})[-1] == (
        "| a tool | podman cannot pull it | another | diff_ids | exit 6: there is no zstd frame |"
    )


def test_the_bars_are_as_long_as_the_bytes_are_many_in_colours_for_dark_and_light() -> None:
    drawn = picture.drawn(
        {"first": 9_000_000, "rebuilt": 4_000_000, "patched": 4_000_000},
        {"first": 9_000_000, "rebuilt": 1_000_000, "patched": 2_000_000},
    )
    widths = [int(width) for width in re.findall(r'<rect [^>]* width="(\d+)"', drawn)]
    assert [width / widths[0] for width in widths] == [1, 0.25, 1, 0.5]
    assert "zstd:chunked 1.00 MB" in drawn
    assert "prefers-color-scheme: dark" in drawn
