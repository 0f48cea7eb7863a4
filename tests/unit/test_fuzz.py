"""Seeds of the fuzzer, damage to them, and what it found stay what they are: answers, not errors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, run, seeds

FINDINGS = [
    (file.name.partition("-")[0], file)
    for file in (Path(__file__).parent.parent / "fuzz" / "findings").glob("*")
]
"""Each with its target, once there are any: tests/fuzz/fuzz.py says how they come there."""

DAMAGED = 200


def damaged(name: str) -> Iterator[bytes]:
    """Seeds in which a few places are changed, the same ones every time."""
    chance = random.Random(name)
    sound = list(seeds(name))
    for number in range(DAMAGED):
        raw = bytearray(sound[number % len(sound)])
        for _ in range(chance.randint(1, 3)):
            at, other = chance.randint(0, len(raw)), chance.randint(0, len(raw))
            length = chance.choice((0, 1, 1, 4, 16))
            raw[at : at + length] = chance.choice(
                (
                    b"",
                    chance.randbytes(length),
                    chance.choice((b"-", b"9", b'"', b"{", b"\\", b"\0")) * length,
                    raw[other : other + length],
                )
            )
        yield bytes(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_answered(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_every_damaged_seed_and_all_that_the_fuzzer_found_is_answered(name: str) -> None:
    found = [file.read_bytes() for target, file in FINDINGS if target == name]
    inputs = {*damaged(name), *found} - set(seeds(name))
    for data in inputs:
        run(name, data)
    # Some damage takes itself back, or puts zeros where there were zeros.
    assert len(inputs) > DAMAGED / 2
    assert all(target in TARGETS for target, _ in FINDINGS)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_no_damage_to_a_seed_makes_another_error(name: str, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(list(seeds(name)))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    run(name, bytes(raw))
