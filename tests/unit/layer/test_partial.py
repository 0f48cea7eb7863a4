"""Which layers a partial pull unpacks otherwise than a full one: paths, whiteouts, the root, the end.

An entry "counts" if its layer has to be pulled in full.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from recompress.layer.partial import PartialPull
from recompress.layer.tarstream import TarStream
from tests.data.make_layers import END, header
from tests.entries import Source, directory, file, hard_link, judged, root, symlink, verdict

Make = Callable[[str], bytes]

USER = {"user.name": "value"}
MOST = 10_000

PLAIN = [
    directory("etc"),
    file("etc/motd", b"content"),
    file("etc/empty"),
    directory("etc/conf.d", 0o700, uid=7, gid=8),
    file("etc/conf.d/.hidden", b"content", uid=7, mode=0o4755),
    symlink("etc/link", "../usr/bin"),
    directory("usr"),
    directory("usr/bin", 0o1777),
    symlink("usr/bin/x", "/etc"),
    hard_link("usr/bin/motd", "etc/motd"),
    file("at-the-top", b"content"),
]


def test_a_plain_tree_does_not_count() -> None:
    assert verdict(*PLAIN) is None


def test_a_layer_without_entries_does_not_count() -> None:
    assert verdict() is None


# Directories


IN_ETC = {
    "file": file("etc/a", b"content"),
    "empty file": file("etc/a"),
    "directory": directory("etc/a"),
    "symbolic link": symlink("etc/a"),
    "whiteout": file("etc/.wh.a"),
    "opaque": file("etc/.wh..wh..opq"),
}


@pytest.mark.parametrize("one", IN_ETC.values(), ids=IN_ETC.keys())
def test_an_entry_counts_whose_directory_is_not_in_the_layer(one: bytes) -> None:
    reason = verdict(one)
    assert reason is not None
    assert ": its directory etc is not in the layer" in reason
    assert reason.startswith("etc/")


@pytest.mark.parametrize("one", IN_ETC.values(), ids=IN_ETC.keys())
def test_the_directory_of_an_entry_may_come_before_or_after_it_if_it_is_no_file_with_content(
    one: bytes,
) -> None:
    assert verdict(directory("etc"), one) is None
    if one != IN_ETC["file"]:
        assert verdict(one, directory("etc")) is None
        assert verdict(one, directory("usr"), directory("etc", mode=0o1777)) is None


def test_a_file_with_content_counts_if_its_directory_comes_after_it() -> None:
    late = "its directory etc is not in the layer before it, and it has content"
    assert verdict(file("etc/a", b"a"), directory("etc")) == f"etc/a: {late}"
    # What else is in the directory may come before it all the same.
    assert verdict(file("etc/a"), file("etc/b", b"b"), directory("etc")) == f"etc/b: {late}"
    assert verdict(file("etc/a"), directory("etc"), file("etc/b", b"b")) is None
    assert verdict(file("etc/a"), directory("./etc/"), file("./etc/b", b"b"), file("etc/c", b"c")) is None


def test_a_hard_link_counts_whose_directory_is_not_in_the_layer() -> None:
    assert verdict(file("a"), hard_link("var/a", "a")) == "var/a: its directory var is not in the layer"
    assert verdict(file("a"), hard_link("var/a", "a"), directory("var")) is None


def test_a_directory_above_counts_too_if_it_is_not_in_the_layer() -> None:
    layer = [directory("opt/app"), file("opt/app/run")]
    assert verdict(*layer) == "opt/app/: its directory opt is not in the layer"
    assert verdict(*layer, directory("opt")) is None
    assert verdict(*layer[::-1], directory("opt")) is None


def test_the_first_entry_whose_directory_never_comes_is_named() -> None:
    layer = [file("a/1"), file("b/1"), file("a/2"), file("b/2"), file("c/1"), file("b/3"), directory("a")]
    assert verdict(*layer) == "b/1: its directory b is not in the layer"
    assert verdict(*layer, directory("c")) == "b/1: its directory b is not in the layer"
    assert verdict(*layer, directory("b")) == "c/1: its directory c is not in the layer"


def test_an_entry_at_the_top_needs_no_directory() -> None:
    assert verdict(file("a"), file("/b"), file("./c"), file(".wh.d"), symlink("e")) is None


@pytest.mark.parametrize(
    "spelled", ["etc/a", "/etc/a", "./etc/a", "etc//a", "etc/./a", "//etc/a", "././etc/a"]
)
@pytest.mark.parametrize("listed", ["etc", "/etc", "./etc", "etc/."])
def test_it_does_not_matter_how_a_directory_is_spelled(spelled: str, listed: str) -> None:
    etc = [file(spelled), file("etc/b"), file("./etc/c"), directory("etc/d"), file("etc/e")]
    layer = [directory(listed), *etc]
    assert verdict(*layer) is None
    assert verdict(*layer[::-1]) is None
    assert verdict(*layer[1:]) is not None


@pytest.mark.parametrize(
    "make", [symlink, file, lambda name: file(name, b"x"), lambda name: file(".wh." + name)]
)
def test_an_entry_counts_that_is_below_what_is_no_directory(make: Make) -> None:
    layer = [directory("b"), make("a"), file("b/f"), file("a/f")]
    assert verdict(*layer) == "a/f: its directory a is not in the layer"
    assert verdict(*layer[::-1]) == "a/f: its directory a is not in the layer"


def test_an_entry_counts_that_is_below_a_whiteout() -> None:
    layer = [directory("etc"), directory("etc/.wh.a"), file("etc/.wh.a/b")]
    assert verdict(*layer) == "etc/.wh.a/b: its directory etc/.wh.a is not in the layer"


def late(number: int) -> bytes:
    """A symbolic link that is not root's, in a directory of its own, which is not there yet."""
    return header(b"%d/a" % number, kind=b"2", o108=b"0000007\0")


def test_ten_thousand_directories_may_be_late_and_no_more() -> None:
    links = [late(number) for number in range(MOST + 1)]
    directories = [header(b"%d" % number, kind=b"5") for number in range(MOST + 1)]
    assert verdict(*links[:MOST], *directories) is None
    assert verdict(*links, *directories) == (
        f"{MOST}/a: it and {MOST} entries before it would have to be remembered to judge it"
    )


def test_any_number_of_directories_may_be_late_one_after_another() -> None:
    assert verdict(*(late(number) + header(b"%d" % number, kind=b"5") for number in range(MOST + 9))) is None


def test_any_number_of_entries_may_wait_for_one_directory() -> None:
    assert verdict(*(header(b"etc/%d" % number) for number in range(MOST + 9)), directory("etc")) is None


def test_what_waits_for_a_late_directory_takes_little_memory() -> None:
    name = "d" * 1_000_000
    layer = b"".join([*(symlink(f"{number}{name}/a") for number in range(20)), END])
    source = Source(layer)
    stream, judge = TarStream(source), PartialPull()
    tracemalloc.start()
    try:
        while (found := stream.next_header()) is not None:
            judge.see(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000
    reason = judge.end()
    assert reason is not None
    assert len(reason) < 500
    assert reason.endswith(": its path or its capabilities are too long to be unpacked")


# Names


@pytest.mark.parametrize("second", ["a", "/a", "./a", "//a", "././a"])
@pytest.mark.parametrize("make", [file, directory, symlink])
def test_a_path_counts_that_is_there_twice_however_it_is_spelled(second: str, make: Make) -> None:
    assert verdict(make("a"), make(second)) == (
        f"{second}{'/' * (make is directory)}: the layer has more than one entry for this path"
    )
    assert verdict(make("a"), file("b")) is None


def test_two_entries_for_the_root_count() -> None:
    assert verdict(root(b"./"), root(b"/")) == "/: the layer has more than one entry for this path"


@pytest.mark.parametrize("name", ["../b", "/../b", "./../../b"])
def test_a_name_may_go_up_from_the_root(name: str) -> None:
    assert verdict(directory("a"), file(name, b"content")) is None


@pytest.mark.parametrize("name", ["a/../b", "/a/../b", "../a/../b", ".../../b"])
def test_a_name_that_goes_up_counts_where_there_is_content_to_be_found_by_it(name: str) -> None:
    reason = f"{name}: its name goes up with '..', and it has content"
    assert verdict(directory("a"), file(name, b"content")) == reason
    for one in (file(name), directory(name), symlink(name)):
        assert verdict(directory("a"), one) is None


@pytest.mark.parametrize("name", ["..a", "a..", "a..b", "...", "a.../b"])
def test_two_dots_in_a_name_do_not_count(name: str) -> None:
    assert verdict(file(name), directory("a...")) is None


@pytest.mark.parametrize("name", ["b/", "b/.", "b//"])
def test_a_slash_at_the_end_counts_where_there_is_content_to_be_found_by_the_name(name: str) -> None:
    reason = f"{name}: only the name of a directory may end in a slash"
    assert verdict(file("a"), file(name, b"content")) == reason
    for one in (file(name), symlink(name), hard_link(name, "a")):
        assert verdict(file("a"), one) is None


def test_the_name_of_a_directory_may_end_in_a_slash_or_not() -> None:
    assert verdict(header(b"a", kind=b"5"), header(b"b/", kind=b"5"), header(b"b/c/.", kind=b"5")) is None


def pax_record(key: bytes, value: bytes) -> bytes:
    """A PAX header of one record, for what tarfile does not write."""
    record = next(r for size in range(999) if len(r := b"%d %b=%b\n" % (size, key, value)) == size)
    return header(b"pax", kind=b"x", size=len(record)) + record + bytes(-len(record) % 512)


NOT_UTF_8 = {
    "file": header(b"caf\xe9"),
    "directory": header(b"caf\xe9/", kind=b"5"),
    "whiteout": header(b".wh.caf\xe9"),
    "surrogate": header(b"\xed\xa0\x80"),
    "target of a symbolic link": header(b"link", kind=b"2", o157=b"caf\xe9"),
    "target of a file": header(b"file", o157=b"caf\xe9"),
    "extended attribute": pax_record(b"SCHILY.xattr.user.caf\xe9", b"") + header(b"file"),
}


@pytest.mark.parametrize("one", NOT_UTF_8.values(), ids=NOT_UTF_8.keys())
def test_a_name_counts_that_is_not_utf_8(one: bytes) -> None:
    reason = verdict(one)
    assert reason is not None
    assert reason.endswith(": a name in it is not UTF-8, and a table of contents can hold only that")


def test_names_in_utf_8_do_not_count() -> None:
    attribute = pax_record(b"SCHILY.xattr.user.\xc3\xa9", b"\xe9") + header(b"file")
    assert verdict(file("café"), symlink("lïnk", "☃"), directory("😀"), file("😀/.wh.ß"), attribute) is None


@pytest.mark.parametrize(
    ("kind", "name"), [(b"1", "hardlink"), (b"2", "symlink"), (b"5", "dir"), (b"3", "char"), (b"6", "fifo")]
)
def test_a_size_counts_where_there_is_no_content(kind: bytes, name: str) -> None:
    assert verdict(header(b"a", kind=kind, size=5)) == (
        f"a: it is a {name} with a size, and a partial pull cannot put the tar file together"
    )


def test_the_root_counts_with_a_size() -> None:
    assert verdict(header(b"./", kind=b"5", size=5, o100=b"0000755\0")) == (
        "./: it is a dir with a size, and a partial pull cannot put the tar file together"
    )


# Whiteouts


def test_a_whiteout_of_what_is_not_in_the_layer_does_not_count() -> None:
    etc = [directory("etc"), file("etc/.wh.a"), file("etc/ab"), file("etc/usr.wh.a")]
    layer = [*etc, file("a"), file(".wh.etc.d")]
    assert verdict(*layer) is None
    assert verdict(*layer[::-1]) is None
    assert verdict(directory("etc"), file("etc/.wh.a", uid=7, mode=0, xattrs=USER)) is None


@pytest.mark.parametrize("make", [file, directory, symlink])
def test_a_whiteout_counts_if_its_target_is_in_the_layer(make: Make) -> None:
    layer = [directory("etc"), make("etc/a"), file("./etc/.wh.a")]
    assert verdict(*layer) == "./etc/.wh.a: it is a whiteout of etc/a, which the layer has as well"
    reason = verdict(*layer[::-1])
    assert reason is not None
    assert reason.replace("/:", ":") == "etc/a: the layer also has a whiteout for it"


def test_a_whiteout_at_the_top_counts_as_any_other() -> None:
    assert verdict(file("a"), file(".wh.a")) == ".wh.a: it is a whiteout of a, which the layer has as well"


def test_a_whiteout_of_a_whiteout_counts() -> None:
    layer = [file(".wh.a"), file(".wh..wh.a")]
    assert verdict(*layer) == ".wh..wh.a: it is a whiteout of .wh.a, which the layer has as well"
    assert verdict(*layer[::-1]) == ".wh.a: the layer also has a whiteout for it"
    assert verdict(layer[1]) is None


def test_a_whiteout_with_content_counts() -> None:
    assert verdict(file(".wh.a", b"content")) == ".wh.a: it is a whiteout with content"
    assert verdict(file(".wh..wh..opq", b"content")) == ".wh..wh..opq: it is a whiteout with content"


def test_an_opaque_directory_with_content_does_not_count() -> None:
    layer = [directory("a"), file("a/b", b"x"), file("a/.wh..wh..opq"), file("a/.wh.c"), directory("a/d")]
    assert verdict(*layer) is None
    assert verdict(layer[0], *layer[:0:-1]) is None
    assert verdict(file(".wh..wh..opq"), file(".wh..opq"), file("a")) is None


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh."])
def test_a_whiteout_of_nothing_counts(name: str) -> None:
    assert verdict(directory("a"), file(name)) == f"{name}: it is a whiteout of nothing"


# The root


@pytest.mark.parametrize("name", [b"./", b".", b"/", b"/.", b"//", b"./."])
@pytest.mark.parametrize("mode", [0o755, 0o555])
def test_the_usual_root_does_not_count(name: bytes, mode: int) -> None:
    judge = judged(file("etc/a"), root(name, mode=mode), directory("etc"))
    assert judge.end() is None
    assert not judge.changes_root


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"mode": 0o700}, "mode 0700 and owner 0:0"),
        ({"mode": 0o1755}, "mode 1755 and owner 0:0"),
        ({"mode": 0o777}, "mode 0777 and owner 0:0"),
        ({"mode": 0o555, "uid": 7}, "mode 0555 and owner 7:0"),
        ({"gid": 7}, "mode 0755 and owner 0:7"),
        ({"xattrs": USER}, "mode 0755 and owner 0:0, with extended attributes"),
        ({"xattrs": {"security.selinux": "x"}}, "mode 0755 and owner 0:0, with extended attributes"),
    ],
)
@pytest.mark.parametrize("name", ["./", "etc/../"])
def test_another_root_counts_that_a_full_pull_skips(name: str, fields: dict[str, Any], what: str) -> None:
    layer = [directory("etc"), directory(name, **fields), file("etc/a")]
    assert verdict(*layer) == f"{name}: it sets the root directory to {what}"


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"3", b"6"])
@pytest.mark.parametrize("name", [b"", b".", b"./", b"/"])
def test_a_root_that_is_no_directory_counts(name: bytes, kind: bytes) -> None:
    assert verdict(root(name, kind=kind)) == f"{name.decode()}: it is at the path of the root directory"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (b"/", True),
        (b"//", True),
        (b"/.", True),
        (b"/..", True),
        (b"..", True),
        (b"./", False),
        (b".", False),
        (b"./.", False),
        (b".//", False),
        (b"etc/..", False),
    ],
)
def test_another_root_is_handed_on_where_a_full_pull_does_not_skip_its_name(
    name: bytes, changes: bool
) -> None:
    judge = judged(root(name, mode=0o700))
    assert judge.changes_root == changes
    # A full pull sets it in the layer itself just as a partial one does.
    assert (judge.end() is None) == changes


def test_another_root_is_handed_on_whatever_counted_before_it() -> None:
    for before in (file("etc/../a"), root(b"./", mode=0o700), root(b"/")):
        assert not judged(before).changes_root
        assert judged(before, root(b"/", mode=0o700), root(b"./", mode=0o700)).changes_root


# The end


def test_zeros_behind_the_end_of_the_archive_do_not_count() -> None:
    judge = judged(*PLAIN)
    judge.see_trailing(bytes(10_000))
    judge.see_trailing(b"")
    assert judge.end() is None


@pytest.mark.parametrize("data", [b"x", bytes(1000) + b"x", b"x" + bytes(1000)])
def test_other_bytes_behind_the_end_of_the_archive_count(data: bytes) -> None:
    judge = judged(*PLAIN)
    judge.see_trailing(bytes(512))
    judge.see_trailing(data)
    assert judge.end() == "there are bytes behind the end of its archive"


def test_of_many_reasons_the_first_is_told() -> None:
    layer = [file("etc/a"), file("b", mtime=-1), file(".wh."), root(b"./", mode=0o700)]
    judge = judged(*layer)
    judge.see_trailing(b"x")
    judge.full_pull("of another reason")
    assert judge.end() == judge.end() == "b: its modification time is before 1970 or after 2262"


def test_the_reason_of_a_caller_is_told_where_there_is_no_other_before() -> None:
    judge = judged(file("etc/a"))
    judge.full_pull("of this reason")
    judge.full_pull("of another reason")
    assert judge.end() == "of this reason"


def test_a_reason_is_one_line_whatever_is_in_the_name() -> None:
    assert verdict(file("e\nc/a\x1b")) == r"e\nc/a\x1b: its directory e\nc is not in the layer"
