"""Paths as containers/storage cleans them, and the set that keeps many of them in little memory."""

from __future__ import annotations

import posixpath
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.layer.paths import Paths, canonical

NAMES = st.text("a./", max_size=12).map(str.encode) | st.binary(max_size=12).map(
    lambda n: n.replace(b"\0", b"")
)


@pytest.mark.parametrize(
    "name", [b"a/b", b"/a/b", b"./a/b", b"//a//b", b"a/b/", b"a/./b/.", b"../a/b", b"a/c/../b"]
)
def test_all_spellings_of_a_path_are_one(name: bytes) -> None:
    assert canonical(name) == b"a/b"


@pytest.mark.parametrize(
    "name", [b"", b"/", b"//", b".", b"./", b"./.", b"/.", b"..", b"../", b"/..", b"a/.."]
)
def test_nothing_is_left_of_the_names_of_the_root(name: bytes) -> None:
    assert canonical(name) == b""


@pytest.mark.parametrize("name", [b".a", b"..a", b"...", b"a./b", b"a../b.", b".a/.b", b"a/...", b"caf\xe9"])
def test_other_dots_and_bytes_are_part_of_the_name(name: bytes) -> None:
    assert canonical(name) == name


@given(NAMES)
def test_a_path_is_cleaned_as_an_absolute_one(name: bytes) -> None:
    assert b"/" + canonical(name) == posixpath.normpath(b"/" + name.lstrip(b"/"))


@given(st.lists(NAMES))
def test_paths_are_a_set(names: list[bytes]) -> None:
    paths = Paths()
    known: set[bytes] = set()
    for name in names:
        assert (name in paths) == (name in known)
        assert paths.add(name) == (name not in known)
        known.add(name)
    assert all(name in paths for name in known)


def test_a_set_of_paths_grows() -> None:
    paths = Paths()
    assert all(paths.add(b"%d" % number) for number in range(20_000))
    assert not any(paths.add(b"%d" % number) for number in range(20_000))
    assert not any(b"%d" % number in paths for number in range(20_000, 40_000))


def test_a_path_of_any_length_takes_at_most_32_bytes() -> None:
    names = [b"%0200d" % number for number in range(20_000)]
    paths = Paths()
    tracemalloc.start()
    try:
        for name in names:
            paths.add(name)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 32 * len(names)
