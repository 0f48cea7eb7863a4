"""The sha256 that another thread computes: the same, in bounded memory."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.layer.hashing import BATCH_BYTES, Sha256
from recompress.layer.proof import LayerProof
from tests.tampering import Packed

PIECES = st.lists(st.binary(max_size=100).map(lambda data: data * 20_000), max_size=8)


@given(PIECES, PIECES)
def test_a_helper_finds_the_same_digest(first: list[bytes], second: list[bytes]) -> None:
    with ThreadPoolExecutor(1) as pool:
        helpers: tuple[Executor | None, ...] = (None, pool)
        for helper in helpers:
            found, expected = Sha256(helper), hashlib.sha256()
            for pieces in (first, second):
                for piece in pieces:
                    found.update(piece)
                    expected.update(piece)
                assert found.hexdigest() == expected.hexdigest()


def test_the_helper_does_the_hashing() -> None:
    started = threading.Event()
    with ThreadPoolExecutor(1, initializer=started.set) as helper:
        found = Sha256(helper)
        found.update(bytes(BATCH_BYTES - 1000))
        assert not started.is_set()
        found.update(bytes(1000))
        found.hexdigest()
        assert started.is_set()


@pytest.mark.parametrize("size", [1, 100, BATCH_BYTES])
def test_no_more_than_a_few_batches_wait_for_the_helper(size: int) -> None:
    with ThreadPoolExecutor(1) as helper:
        found = Sha256(helper)
        tracemalloc.start()
        try:
            for _ in range(40 * BATCH_BYTES // (size + 500)):
                found.update(bytes(size) + b"")
            assert tracemalloc.get_traced_memory()[1] < 10 * BATCH_BYTES
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", ["kinds", "chunks", "large", "trailing"])
def test_a_helper_changes_nothing_in_a_proof(name: str) -> None:
    packed = Packed.load(name)
    with ThreadPoolExecutor(1) as helper:
        proof: LayerProof = packed.prove(helper=helper)
    assert proof == packed.prove()
