from __future__ import annotations

import re
from pathlib import Path

import pytest

from recompress.printable import counted

PACKAGE = Path(__file__).parents[2] / "recompress"
COUNTS = re.compile(
    r"\{[^{}]*(?:len\(|count|missing|left|size)[^{}]*\} (?:layers|tags|twins|images|entries|orphans)\b"
)


@pytest.mark.parametrize(
    ("number", "one", "text"),
    [
        (0, "layer", "0 layers"),
        (1, "layer", "1 layer"),
        (2, "layer", "2 layers"),
        (1, "entry", "1 entry"),
        (3, "entry", "3 entries"),
    ],
)
def test_a_count_and_what_is_counted_agree(number: int, one: str, text: str) -> None:
    assert counted(number, one) == text


def test_no_message_counts_without_that() -> None:
    found = {match[0] for file in PACKAGE.rglob("*.py") for match in COUNTS.finditer(file.read_text())}
    # There are more than sixteen of those.
    assert found == {"{len(digests)} images"}
