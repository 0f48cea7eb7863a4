"""Layers on which the rules and podman once disagreed (`make differential`): the rules know them now.

NAME.0.tar in tests/data/differential is the lowest layer of an image, above which are NAME.1.tar and so on.
"""

from __future__ import annotations

import pytest

from recompress.twin import why_full
from tests.differential.entries import Entry, stream
from tests.differential.found import FOUND
from tests.differential.mutants import by_rules


@pytest.mark.parametrize("name", FOUND)
def test_a_layer_that_was_pulled_partially_and_should_not_have_been_is_pulled_in_full(name: str) -> None:
    assert any(why_full(map(by_rules, FOUND[name])))


def test_a_name_with_what_stands_for_bytes_that_are_not_utf_8_counts_as_one_with_such_bytes() -> None:
    # The table of contents has the same for both, and a layer gets the same verdict by it.
    for name in (b"\xff", "\ufffd".encode()):
        reason = by_rules(stream([Entry("reg", name)])).why_full
        assert reason is not None
        assert "a name in it is not UTF-8" in reason
