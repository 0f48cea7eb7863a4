"""Layers of which a partial pull makes other files: the rules know them, and podman pulls them as they are.

Each is a layer on a base that has `etc/`, `opt/` and `usr/bin/`. It is pulled as gzip image, as the twin that
the rules make, and partially all the same, which shows that the rules are right to prevent that.
"""

from __future__ import annotations

import pytest

from tests.data.make_layers import CAPABILITY
from tests.differential.entries import Entry, stream
from tests.differential.experiment import Result, experiment
from tests.differential.pulls import Laboratory, Stack
from tests.integration.registries import Registry

ETC = Entry("dir", b"etc/", mode=0o755)
CAPABILITIES = ((b"security.capability", CAPABILITY),)
ODD = {
    "a whiteout without its directory": [Entry("reg", b"etc/.wh.a")],
    "a symbolic link without its directory": [Entry("symlink", b"etc/link", b"b")],
    "an opaque directory that is not there": [Entry("reg", b"etc/.wh..wh..opq")],
    "a file without its directories": [Entry("reg", b"opt/app/run", mode=0o755, content=b"#!/bin/sh\n")],
    "a hard link without its directory": [
        Entry("reg", b"f", content=b"f"),
        Entry("hardlink", b"var/l", b"f"),
    ],
    "a file below what becomes a link": [
        Entry("dir", b"tmp/", mode=0o755),
        Entry("dir", b"usr/", mode=0o755),
        Entry("dir", b"usr/bin/", mode=0o755),
        Entry("reg", b"tmp/a/hidden", mode=0o4755, content=b"#!/bin/sh\n"),
        Entry("symlink", b"tmp/a", b"/usr/bin"),
    ],
    "a file behind a link": [
        Entry("dir", b"b/", mode=0o755),
        Entry("symlink", b"a", b"b"),
        Entry("reg", b"a/f", content=b"a"),
        Entry("reg", b"b/f", content=b"b"),
    ],
    "a whiteout of a file in the layer": [
        ETC,
        Entry("reg", b"etc/.wh.a"),
        Entry("reg", b"etc/a", content=b"n"),
    ],
    "a whiteout of a directory in the layer": [ETC, Entry("reg", b"etc/.wh.a"), Entry("dir", b"etc/a/")],
    "a whiteout with content": [ETC, Entry("reg", b"etc/.wh.a", content=b"content")],
    "a file with a slash at its end": [Entry("dir", b"b/", mode=0o755), Entry("reg", b"b/t/", content=b"t")],
    "a root that others may not enter": [Entry("dir", b"./", mode=0o700)],
    "a hard link without the capabilities of its file": [
        Entry("reg", b"ping", mode=0o755, content=b"ping", xattrs=CAPABILITIES),
        Entry("hardlink", b"ping6", b"ping", mode=0o755),
    ],
    "a device that is a deletion": [ETC, Entry("char", b"etc/a")],
    "a device": [ETC, Entry("char", b"etc/null", device=(1, 3), mode=0o666)],
    "a pipe": [ETC, Entry("fifo", b"etc/pipe")],
    "a link with extended attributes": [Entry("symlink", b"link", b"to", xattrs=((b"trusted.a", b"b"),))],
    "a link in a directory where the owners of links matter": [
        Entry("dir", b"tmp/", mode=0o1777),
        Entry("symlink", b"tmp/link", b"to", uid=1000, gid=1000),
    ],
}
"""Each by what is odd in it. A partial pull of it gives other files, or fails."""

ORDINARY = {
    "directories after what is in them": [Entry("symlink", b"etc/a", b"b"), Entry("reg", b"etc/c"), ETC],
    "an opaque directory": [ETC, Entry("reg", b"etc/.wh..wh..opq"), Entry("reg", b"etc/b", content=b"b")],
    "a whiteout": [ETC, Entry("reg", b"etc/.wh.a")],
    "nodes in dev": [Entry("dir", b"dev/", mode=0o755), Entry("char", b"dev/null", device=(1, 3))],
    "a root as usual": [Entry("dir", b"./", mode=0o755), Entry("dir", b"./etc/", mode=0o755)],
    "a hard link with the capabilities of its file": [
        Entry("reg", b"ping", mode=0o755, content=b"ping", xattrs=CAPABILITIES),
        Entry("hardlink", b"ping6", b"ping", mode=0o755, xattrs=CAPABILITIES),
    ],
    "a link of somebody's": [ETC, Entry("symlink", b"etc/link", b"to", uid=1000, gid=1000)],
}
"""Layers that podman pulls partially, and has the same files."""

ABOVE = "a layer above one that sets the root directory"


@pytest.fixture(scope="module")
def results(registry: Registry) -> dict[str, Result]:
    layers = {**ODD, **ORDINARY}
    stacks: list[Stack] = [(stream(entries),) for entries in layers.values()]
    stacks.append((stream([Entry("dir", b"/", mode=0o755, uid=1000)]), stream([ETC])))
    return dict(zip([*layers, ABOVE], experiment(Laboratory(registry), stacks), strict=True))


@pytest.mark.parametrize("name", ODD)
def test_a_layer_of_which_a_partial_pull_makes_other_files_is_pulled_in_full(
    name: str, results: dict[str, Result]
) -> None:
    result = results[name]
    assert result.wrong is None, result
    assert result.incomparable is None, result.incomparable
    assert result.why_full[0] is not None
    assert result.difference[0] is not None, f"{result.why_full}: but a partial pull gives the same"


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_layer_is_pulled_partially_and_gives_the_same_files(
    name: str, results: dict[str, Result]
) -> None:
    assert results[name].wrong is None
    assert results[name].why_full == (None,)


def test_a_layer_above_one_that_sets_the_root_directory_is_pulled_in_full(results: dict[str, Result]) -> None:
    result = results[ABOVE]
    assert result.wrong is None, result
    assert result.why_full[1] == "a layer below sets the mode of the root directory"
    assert result.difference[1] is not None


_FILES = range(100)


def _files_before_their_directories(number: int) -> Stack:
    files = (Entry("reg", b"%d/%d" % (n, number), content=b"content %d" % n) for n in _FILES)
    return (stream([*files, *(Entry("dir", b"%d/" % n, mode=0o755) for n in _FILES)]),)


def test_files_with_content_before_their_directories_are_pulled_in_full(registry: Registry) -> None:
    laboratory = Laboratory(registry)
    known = (stream([Entry("reg", b"%d" % n, content=b"content %d" % n) for n in _FILES]),)
    for attempt in range(8):
        early = [_files_before_their_directories(3 * attempt + number) for number in range(3)]
        results = experiment(laboratory, [known, *early])
        assert [result.wrong for result in results] == [None] * 4
        assert [result.why_full == (None,) for result in results] == [True, False, False, False]
        # A client that has the content in another layer fails, by a race, so each time but now and then.
        if any(result.difference[0] for result in results):
            return
    raise AssertionError("podman pulls all of these layers partially, each time")
