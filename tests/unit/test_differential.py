"""The parts of `make differential` that need no client: what it makes, compares, makes smaller and keeps."""

from __future__ import annotations

import io
import itertools
import json
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recompress.layer.tarstream import TarStream
from tests import images, tampering
from tests.differential import mutants, tools
from tests.differential.entries import FORMATS, Entry, Layer, stream
from tests.differential.experiment import Result
from tests.differential.forgeries import CHANGES, Change, Honest, forged
from tests.differential.forging import Forgery, Outcome, random_forgeries
from tests.differential.layers import random_images
from tests.differential.mutants import by_rules, missed
from tests.differential.progress import Progress
from tests.differential.report import Count
from tests.differential.shrinking import shrink, shrink_forgery
from tests.differential.trees import Node, Tree, differences
from tests.tampering import Packed

DIRECTORY = Node(stat.S_IFDIR | 0o755, (0, 0), 0, "", None, {}, frozenset({b"a"}))
FILE = Node(stat.S_IFREG | 0o644, (0, 0), 1, "digest", 5, {"user.a": b"1"}, frozenset({b"a", b"b"}))
LINK = Node(stat.S_IFLNK | 0o777, (0, 0), 0, "target", None, {}, frozenset({b"a/l"}))
DEVICE = Node(stat.S_IFCHR | 0o600, (0, 0), 0, "1:3", None, {}, frozenset({b"a"}))


@pytest.mark.parametrize("format", FORMATS)
def test_entries_are_read_as_they_were_written(format: str) -> None:
    entries = [
        Entry("dir", b"d/", mode=0o1777, uid=5, gid=6, format=format),
        Entry("reg", b"d/f", mode=0o600, content=b"content", format=format),
        Entry("hardlink", b"d/h", b"d/f", format=format),
        Entry("symlink", b"s", b"d/f", format=format),
        Entry("fifo", b"p", format=format),
        Entry("reg", b"n" * 150, xattrs=((b"user.a", b"\0\n"),), uid=2**32, mtime=-1, format=format),
    ]
    source = io.BytesIO(stream(entries))
    tar = TarStream(type("Source", (), {"read_exactly": staticmethod(source.read)})())
    for entry in entries:
        header = tar.next_header()
        assert header is not None
        seconds = entry.mtime if format != "gnu" else entry.mtime // 10**9 * 10**9
        assert (header.type, header.name, header.link_name) == (entry.kind, entry.name, entry.link)
        assert (header.mode, header.uid, header.gid) == (entry.mode, entry.uid, entry.gid)
        assert (header.size, header.mtime) == (len(entry.content), seconds)
        assert header.xattrs == dict(entry.xattrs)
        source.read(header.size)
    assert tar.next_header() is None


def test_python_reads_what_is_written() -> None:
    content = stream([Entry("reg", b"a", content=b"abc"), Entry("reg", b"b", content=bytes(512))])
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert [(member.name, member.size) for member in archive] == [("a", 3), ("b", 512)]


def test_the_same_seed_gives_the_same_images_and_another_one_others() -> None:
    images = random_images("1", 30)
    assert images == random_images("1", 30)
    assert images != random_images("2", 30)
    layers = [layer.stream for image in images for layer in image]
    assert len(layers) == len(set(layers)) == 30


def test_a_difference_in_any_field_is_found() -> None:
    others: dict[str, Any] = {
        "mode": stat.S_IFREG | 0o600,
        "owner": (1, 0),
        "size": 2,
        "content": "another",
        "mtime": 6,
        "xattrs": {},
        "names": frozenset({b"a"}),
    }
    assert set(others) == set(Node.__slots__)
    for field, value in others.items():
        (line,) = differences({b"a": FILE}, {b"a": replace(FILE, **{field: value})})
        assert line.startswith(f"/a ({field}): ")
    assert len(differences({b"a": FILE}, {})) == len(differences({}, {b"a": FILE})) == 1
    assert differences({b"a": FILE}, {b"a": FILE}) == []


STICKY = replace(DIRECTORY, mode=stat.S_IFDIR | 0o1777)
SOMEBODYS = replace(LINK, owner=(1, 1))
DELETED = replace(DEVICE, content="0:0")


@pytest.mark.parametrize(
    ("full", "partial", "are_equal"),
    [
        ({b"": DIRECTORY}, {b"": replace(DIRECTORY, mode=stat.S_IFDIR | 0o555)}, True),
        ({b"": DIRECTORY}, {b"": replace(DIRECTORY, mode=stat.S_IFDIR | 0o700)}, False),
        ({b"a": DIRECTORY, b"a/l": SOMEBODYS}, {b"a": DIRECTORY, b"a/l": LINK}, True),
        ({b"a": STICKY, b"a/l": SOMEBODYS}, {b"a": STICKY, b"a/l": LINK}, False),
        ({b"dev/null": DEVICE}, {}, True),
        ({b"etc/null": DEVICE}, {}, False),
        ({b"dev/null": DELETED}, {}, False),
        ({b"dev/null": replace(DELETED, mode=stat.S_IFBLK)}, {}, True),
    ],
)
def test_the_documented_exceptions_are_no_differences_and_nothing_else_is(
    full: Tree, partial: Tree, are_equal: bool
) -> None:
    assert (differences(full, partial) == []) is are_equal


def test_the_smallest_image_that_is_wrong_in_the_same_way_is_found() -> None:
    def is_wrong(image: tuple[Layer, ...]) -> bool:
        return any(entry.kind == "fifo" for layer in image for entry in layer.entries)

    large = (
        Layer((Entry("dir", b"etc"), Entry("reg", b"a", content=b"content"))),
        Layer(
            (Entry("reg", b"b", uid=5), Entry("fifo", b"p", mode=0, uid=5, format="gnu"), Entry("reg", b"c"))
        ),
    )
    assert shrink(large, is_wrong) == (Layer((Entry("fifo", b"p"),)),)


def test_each_rule_can_be_taken_out_and_only_a_layer_that_shows_it_says_so() -> None:
    pipe = stream([Entry("fifo", b"p")])
    without = [mutant for mutant in mutants.mutants() if by_rules(pipe, mutant.rules).why_full is None]
    assert any("_fifo" in mutant.rule for mutant in without)
    everything = {mutant.rule for mutant in mutants.mutants()}
    assert len(everything) > 30
    shown = Result(1, ("it is a FIFO",), ("it differs",))
    assert everything - set(missed([((pipe,), shown)])) == {mutant.rule for mutant in without}
    assert set(missed([((pipe,), replace(shown, difference=(None,)))])) == everything


def test_the_recorded_layers_of_builders_are_there_and_ordinary() -> None:
    recorded = dict(tools._recorded())
    layers = {name.partition(",")[0]: len(stack) for name, stack in recorded.items()}
    assert layers == {"BuildKit": 12, "jib": 5, "ko": 2}
    assert {by_rules(layer).why_full for stack in recorded.values() for layer in stack} == {None}


def test_layers_are_counted_by_what_came_of_them() -> None:
    results = [
        Result(3, (None, "a reason", "a reason"), (None, "it differs", None)),
        Result(2, (None, None), (None, None), wrong="it differs"),
        Result(1, incomparable="podman cannot pull it"),
        Result(1, refused="no twin"),
    ]
    count = Count(7, partially=1, in_full=1, for_nothing=1, refused=1, incomparable=1, wrong=2)
    assert Count.of(results) == count


def test_a_run_that_was_interrupted_goes_on_and_one_of_other_code_does_not(tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    result = Result(2, (None, "a reason"), (None, "it differs"))
    outcome = Outcome(("the table", "the footer"), 6, "it is forged")
    started = Progress.of(file, None, 7)
    assert (started.tools, started.images, started.forgeries) == ({}, {}, {})
    started.add_tool("a tool", result)
    started.add_images("batch", [result])
    started.add_forgeries("batch", [outcome])
    assert Progress.of(file, None, 8) == started
    assert Progress.of(file, 9, 8).images == {}
    file.write_text(file.read_text().replace(started.sources, "other code"))
    assert Progress.of(file, None, 8).images == {}


HONEST = Honest((Packed.load("kinds"), Packed.load("chunks")), (True, False), images.config())


def changes(names: Sequence[str], seed: int) -> tuple[Change, ...]:
    return tuple(Change(name, seed) for name in names)


def test_a_twin_that_is_put_together_again_without_a_change_is_proven() -> None:
    whole = forged(HONEST, ())
    for layer, packed, keeps in zip(
        json.loads(whole.manifest)["layers"], HONEST.layers, (True, False), strict=True
    ):
        assert ("annotations" in layer) is keeps
        again = tampering.Layer.of(packed).pack(packed.diff_id)
        assert layer["digest"] == str(again.layer.digest)
        again.prove()


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_makes_other_twins_and_the_same_ones_for_the_same_seed(name: str) -> None:
    whole = forged(HONEST, ())
    made = [forged(HONEST, changes([name], seed)) for seed in range(30)]
    assert made == [forged(HONEST, changes([name], seed)) for seed in range(30)]
    assert len({image.manifest for image in made if image.manifest != whole.manifest}) >= 2


def test_several_changes_are_all_made() -> None:
    made = forged(
        HONEST, changes(["a layer's descriptor", "the layers of the manifest", "bytes of the blob"], 1)
    )
    alone = [forged(HONEST, changes([name], 1)) for name in ("a layer's descriptor", "bytes of the blob")]
    assert made.manifest not in [image.manifest for image in alone]
    assert made.layers == alone[1].layers


def test_every_change_comes_first_in_random_forgeries_of_every_image() -> None:
    of = [(Layer((Entry("reg", name),)),) for name in (b"a", b"b")]
    made = list(itertools.islice(random_forgeries("1", of), 100))
    assert made == list(itertools.islice(random_forgeries("1", of), 100))
    assert {forgery.changes[0].name for forgery in made} == set(CHANGES)
    assert {forgery.image for forgery in made} == set(of)


def test_the_smallest_forgery_that_is_wrong_in_the_same_way_is_found() -> None:
    image = (Layer((Entry("reg", b"a"), Entry("reg", b"b", uid=5))), Layer((Entry("fifo", b"p"),)))
    forgery = Forgery(image, changes(["the table", "the footer", "chunks"], 3))

    def is_wrong(other: Forgery) -> bool:
        return Change("the footer", 3) in other.changes and b"b" in [
            e.name for layer in other.image for e in layer.entries
        ]

    smallest = Forgery((Layer((Entry("reg", b"b"),)),), changes(["the footer"], 3))
    assert shrink_forgery(forgery, is_wrong) == smallest
