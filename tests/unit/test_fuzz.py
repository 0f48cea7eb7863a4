"""Seeds and findings of the fuzzer stay what they are: answers, not errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, run, seeds

FINDINGS = sorted((Path(__file__).parent.parent / "fuzz" / "findings").glob("*-*"))


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_answered(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


def test_what_the_fuzzer_found_is_answered() -> None:
    for finding in FINDINGS:
        run(finding.name.partition("-")[0], finding.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_no_damage_to_a_seed_makes_another_error(name: str, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(list(seeds(name)))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    run(name, bytes(raw))
