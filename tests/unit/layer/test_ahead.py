"""What another thread makes ahead of its reader: the same, in bounded memory, for as long as it is wanted."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.ahead import ahead

SIZES = st.lists(st.integers(0, 400_000), max_size=30)


def made_of(sizes: list[int], failure: Exception | None = None) -> Generator[bytes]:
    for size in sizes:
        yield bytes(size)
    if failure:
        raise failure


@given(SIZES)
def test_the_items_are_the_same_and_in_their_order(sizes: list[int]) -> None:
    assert [len(item) for item in ahead(made_of(sizes), len)] == sizes


@given(SIZES)
def test_what_is_raised_comes_behind_all_items_before_it(sizes: list[int]) -> None:
    failure = VerificationFailed("it is damaged")
    items = ahead(made_of(sizes, failure), len)
    assert [len(next(items)) for _ in sizes] == sizes
    with pytest.raises(VerificationFailed) as caught:
        next(items)
    assert caught.value is failure


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_no_more_is_made_than_fits_into_little_memory(size: int) -> None:
    made = 0

    def endless() -> Generator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(size)

    items = ahead(endless(), len)
    for read in range(2000):
        next(items)
        assert (made - read) * (size + 100) < 8_000_000
    items.close()


def test_closing_ends_the_thread_and_what_it_reads_from() -> None:
    ended = threading.Event()

    def endless() -> Generator[bytes]:
        try:
            while True:
                yield bytes(1000)
        finally:
            ended.set()

    before = threading.active_count()
    items = ahead(endless(), len)
    for _ in range(1000):
        next(items)
    items.close()
    assert ended.is_set()
    assert threading.active_count() == before


def test_what_is_closed_before_it_was_read_starts_nothing() -> None:
    before = threading.active_count()
    ahead(made_of([1]), len).close()
    assert threading.active_count() == before
