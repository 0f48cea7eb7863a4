"""What comes of every command against every personality of a registry is what docs/registries.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.personalities import PERSONALITIES, Personality
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.registries import HEAD, HEADINGS, TAIL, line, row

DOCUMENT = Path(__file__).parents[2] / "docs" / "registries.md"


@pytest.mark.parametrize("kind", PERSONALITIES, ids=lambda kind: kind.__name__)
def test_every_command_ends_as_the_table_says(
    proxy: Proxy, registry: Registry, repository: str, kind: type[Personality]
) -> None:
    found = row(kind, proxy, registry, repository)
    errors = "\n".join(outcome.err for outcome in found.outcomes if outcome)
    assert str(found) in DOCUMENT.read_text().splitlines(), errors


def test_the_table_has_all_registries_and_no_others() -> None:
    text = DOCUMENT.read_text()
    assert text.startswith(HEAD + line(*HEADINGS))
    assert text.endswith(TAIL)
    rows = text.removeprefix(HEAD).removesuffix(TAIL).splitlines()[2:]
    assert [tuple(cells.split(" | ")[:2]) for cells in rows] == [
        (f"| {kind.name}", kind.known) for kind in PERSONALITIES
    ]
