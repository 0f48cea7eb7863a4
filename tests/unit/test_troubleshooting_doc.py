"""docs/troubleshooting.md quotes messages as the program writes them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product

import pytest

from tests.tekton.resources import ROOT

OTHERS = (
    # OpenSSL
    "certificate has expired",
    "IP address mismatch",
    "Hostname mismatch",
    "self-signed certificate",
    "unable to get local issuer certificate",
    # Kubernetes and Tekton
    "OOMKilled",
    "Invalid task result reference: Could not find result with name …",
)
"""What others say, within our messages or in their place."""


def quotes() -> list[str]:
    """What stands as code in the first column of a table: messages, where `…` stands for anything."""
    ours, _, _ = (ROOT / "docs/troubleshooting.md").read_text().partition("## A client, not recompress")
    cells = (re.split(r"(?<!\\)\|", line)[1] for line in ours.splitlines() if line.startswith("| "))
    return [quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell)]


def variants(node: ast.expr) -> list[str]:
    """What a text in the source can come to, with `…` for what is known to the program alone."""
    match node:
        case ast.Constant(value=str(text)):
            return [re.sub(r"%(\.\d)?[a-z]", "…", text)]
        case ast.JoinedStr(values=parts):
            return ["".join(pieces) for pieces in product(*map(variants, parts))]
        case ast.FormattedValue(value=ast.IfExp(body=one, orelse=other)):
            return [*variants(one), *variants(other)]
        case _:
            return ["…"]


def texts() -> Iterator[str]:
    """Every text in the source of the program that is not a docstring."""
    for path in sorted((ROOT / "recompress").rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in docstrings:
                yield from variants(node)


def fragments(quote: str) -> list[str]:
    """The words of a message between what differs from case to case."""
    return [part for part in (piece.strip(" :;,.()'") for piece in quote.split("…")) if part]


TEXT = "\n".join(texts())
QUOTES = [quote for quote in quotes() if not quote.startswith("-") and quote not in OTHERS]


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_of_the_program(quote: str) -> None:
    parts = fragments(quote.removeprefix("WARNING: "))
    # A quote of a word or two is in any program.
    assert max(map(len, parts)) >= len("is full")
    for part in parts:
        assert part in TEXT
