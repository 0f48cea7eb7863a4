"""Tar headers: the same as Python's tarfile reads, the rules of Go's reader, and garbage."""

from __future__ import annotations

import contextlib
import io
import tarfile
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.tarstream import TarHeader, TarStream
from tests.data.make_layers import END, header
from tests.tampering import Layer

V7 = bytes(8)
GNU = b"ustar  \0"


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read_exactly(self, count: int) -> bytes:
        return self.file.read(count)


def read(data: bytes) -> tuple[list[TarHeader], bytes]:
    """All headers, and everything that is not content."""
    source = Bytes(data)
    stream = TarStream(source)
    headers = []
    while (found := stream.next_header()) is not None:
        headers.append(found)
        if found.type == "reg":
            source.read_exactly(found.size)
    return headers, b"".join(h.raw for h in headers) + stream.end + source.file.read()


def one(data: bytes) -> TarHeader:
    headers, _ = read(data)
    assert len(headers) == 1
    return headers[0]


def refused(data: bytes) -> str:
    with pytest.raises(VerificationFailed) as caught:
        read(data)
    return str(caught.value)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    content = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        size = length + len(str(length))
        size = length + len(str(size))
        content += b"%d %b=%b\n" % (size, key, value)
    return meta(b"x", content)


def meta(kind: bytes, content: bytes) -> bytes:
    return header(b"meta", kind=kind, size=len(content)) + content + bytes(-len(content) % 512)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=200)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(draw(names))
    member.type = draw(st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"]))
    member.mode = draw(st.integers(0, 0o7777))
    member.uid = draw(st.integers(0, 2**40))
    member.gid = draw(st.integers(0, 2**21))
    member.mtime = draw(st.integers(-(2**40), 2**40))
    content = draw(st.binary(max_size=1100)) if member.type == b"0" else b""
    member.size = len(content)
    if member.type in b"12":
        member.linkname = draw(names)
    if member.type in b"34":
        member.devmajor, member.devminor = draw(st.integers(0, 4000)), draw(st.integers(0, 4000))
    return member, content


@given(st.lists(members(), max_size=5), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_headers_are_what_tarfile_wrote(
    entries: list[tuple[tarfile.TarInfo, bytes]], form: Literal[1, 2]
) -> None:
    data = b""
    for member, content in entries:
        data += member.tobuf(form, "utf-8", "strict") + content + bytes(-len(content) % 512)
    headers, other = read(data + END)
    assert len(other) == len(data) + 1024 - sum(len(content) for _, content in entries)
    for (member, content), found in zip(entries, headers, strict=True):
        slash = "/" if member.isdir() and not member.name.endswith("/") else ""
        assert found.name.decode() == member.name + slash
        assert found.link_name.decode() == member.linkname
        assert (found.mode, found.uid, found.gid) == (member.mode, member.uid, member.gid)
        assert (found.size, found.mtime) == (len(content), int(member.mtime) * 10**9)
        assert (found.dev_major, found.dev_minor) == (member.devmajor, member.devminor)


@pytest.mark.parametrize(
    "name", ["kinds", "pax", "gnu", "old", "deep", "trailing", "empty", "no-end", "half-end"]
)
def test_every_byte_of_a_real_stream_is_accounted_for(name: str) -> None:
    stream = Layer.load(name).stream
    headers, other = read(stream)
    assert len(other) + sum(h.size for h in headers) == len(stream)


def test_ustar_prefix_and_name_make_the_name() -> None:
    assert one(header(b"name", o345=b"some/prefix") + END).name == b"some/prefix/name"
    assert one(header(b"n" * 100, o345=b"p" * 155) + END).name == b"p" * 155 + b"/" + b"n" * 100


def test_star_has_a_short_prefix_and_times() -> None:
    found = one(header(b"name", o345=b"p" * 131, o476=b"%011o " % 5, o488=b"%011o " % 6, o508=b"tar\0") + END)
    assert (found.name, found.atime, found.ctime) == (b"p" * 131 + b"/name", 5 * 10**9, 6 * 10**9)


def test_gnu_has_times_in_place_of_the_prefix() -> None:
    found = one(header(b"name", magic=GNU, o345=b"%011o\0" % 5) + END)
    assert (found.name, found.atime, found.ctime) == (b"name", 5 * 10**9, None)
    found = one(header(b"name", magic=GNU, o357=b"%011o\0" % 6) + END)
    assert (found.name, found.atime, found.ctime) == (b"name", None, 6 * 10**9)


def test_gnu_with_a_prefix_is_what_old_go_wrote() -> None:
    found = one(header(b"name", magic=GNU, o345=b"prefix") + END)
    assert (found.name, found.atime, found.ctime) == (b"prefix/name", None, None)
    assert one(header(b"name", magic=GNU, o345="präfix".encode()) + END).name == b"name"


def test_v7_has_no_prefix_and_no_devices() -> None:
    found = one(header(b"name", magic=V7, o345=b"x", o329=b"0000001\0") + END)
    assert (found.name, found.dev_major) == (b"name", 0)


@pytest.mark.parametrize(("name", "kind"), [(b"file", "reg"), (b"dir/", "dir")])
def test_type_nul_is_a_file_or_with_a_slash_a_directory(name: bytes, kind: str) -> None:
    assert one(header(name, kind=b"\0", magic=V7) + END).type == kind


def test_a_file_with_a_slash_is_a_file() -> None:
    assert one(header(b"file/") + END).type == "reg"


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644     ", 0o644),
        (b"644\0junk", 0o644),
        (b"\0\0\0 644 ", 0o644),
        (b"        ", 0),
        (b"\0" * 8, 0),
        (b"\x80" + b"\0" * 6 + b"\1", 1),
        (b"\x80" + b"\xff" * 7, 2**56 - 1),
        (b"\xff" * 8, -1),
        (b"\xff" + b"\0" * 7, -(2**56)),
        (b"\xc0" + b"\0" * 7, -(2**62)),
        (b"\xbf" + b"\xff" * 7, 2**62 - 1),
    ],
)
def test_numbers_are_octal_or_base_256(field: bytes, number: int) -> None:
    assert one(header(b"name", o100=field) + END).mode == number


@pytest.mark.parametrize(
    "field",
    [
        b"0000648\0",
        b"0x1ff\0\0\0",
        b"0o644\0\0\0",
        b"-000644\0",
        b"+000644\0",
        b"64_4\0\0\0\0",
        b"6 4\0\0\0\0\0",
        b"abc\0\0\0\0\0",
    ],
)
def test_what_is_no_number_is_refused(field: bytes) -> None:
    assert "where a number must be" in refused(header(b"name", o100=field) + END)


def test_a_number_beyond_64_bits_is_refused() -> None:
    assert one(header(b"n", o136=b"\x80" + b"\0" * 4 + b"\0" * 6 + b"\1") + END).mtime == 10**9
    for field in (
        b"\x80" + b"\1" + b"\0" * 10,
        b"\x80\0\0\0\x80" + b"\0" * 7,
        b"\xff\xff\xff\xff\x7f" + b"\xff" * 7,
    ):
        assert "where a number must be" in refused(header(b"n", o136=field) + END)


def test_a_negative_size_is_refused() -> None:
    assert refused(header(b"name", o124=b"\xff" * 12) + END) == "name: its size in the tar stream is -1"
    assert "there is a tar header of -1 bytes" in refused(header(b"name", kind=b"x", o124=b"\xff" * 12) + END)


def test_a_signed_checksum_is_right_too() -> None:
    block = bytearray(header(b"caf\xe9\xff"))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    block[148:156] = b"%06o\0 " % signed
    assert one(bytes(block) + END).name == b"caf\xe9\xff"


@given(st.binary(min_size=1, max_size=100), st.binary(min_size=1, max_size=155))
@example(b"\xff" * 100, b"\xff" * 155)
def test_the_checksum_is_the_sum_of_all_bytes_but_its_own(name: bytes, prefix: bytes) -> None:
    block = bytearray(header(name, o345=prefix))
    assert one(bytes(block) + END).type == "reg"
    block[148:156] = b"%06o\0 " % (int(block[148:154], 8) + 1)
    assert "the checksum of the tar header is wrong" in refused(bytes(block) + END)


@pytest.mark.parametrize("at", [0, 147, 148, 156, 511])
def test_a_wrong_checksum_is_refused(at: int) -> None:
    block = bytearray(header(b"name"))
    block[at] ^= 1
    assert "the checksum of the tar header is wrong" in refused(bytes(block) + END)
    block = bytearray(header(b"name", kind=b"x"))
    block[at] ^= 1
    assert refused(bytes(block) + END)


def test_pax_records_replace_what_the_header_says() -> None:
    found = one(
        pax(
            (b"path", b"path"),
            (b"linkpath", b"link"),
            (b"uid", b"5000000000"),
            (b"gid", b"-1"),
            (b"mtime", b"1.25"),
            (b"atime", b"-1.25"),
            (b"ctime", b"3.1234567899"),
            (b"SCHILY.xattr.user.a=b", b"value"),
            (b"SCHILY.xattr.user.c", b"\0=\n\xff"),
            (b"SCHILY.xattr.user.empty", b""),
            (b"LIBARCHIVE.xattr.user.d", b"x"),
            (b"uname", b"somebody"),
            (b"comment", b"none"),
        )
        + header(b"name", kind=b"2")
        + END
    )
    assert found[:8] == ("symlink", b"path", b"link", 0o644, 5_000_000_000, -1, 0, 1_250_000_000)
    assert (found.atime, found.ctime) == (-1_250_000_000, 3_123_456_789)
    assert found.xattrs == {b"user.a": b"b=value", b"user.c": b"\0=\n\xff", b"user.empty": b""}


def test_pax_size_is_the_size_of_the_content() -> None:
    headers, _ = read(pax((b"size", b"600")) + header(b"a") + b"x" * 1024 + header(b"b") + END)
    assert [h.name for h in headers] == [b"a", b"b"]


def test_empty_pax_values_change_nothing() -> None:
    found = one(pax((b"path", b""), (b"mtime", b""), (b"uid", b"")) + header(b"name") + END)
    assert (found.name, found.mtime, found.uid) == (b"name", 1_700_000_000 * 10**9, 0)


def test_of_two_pax_records_or_headers_the_last_counts() -> None:
    assert one(pax((b"path", b"one"), (b"path", b"two")) + header(b"name") + END).name == b"two"
    found = one(pax((b"path", b"one"), (b"uid", b"1")) + pax((b"path", b"two")) + header(b"name") + END)
    assert (found.name, found.uid) == (b"two", 0)


def test_gnu_long_names_replace_all_others() -> None:
    data = meta(b"K", b"long link\0junk") + meta(b"L", b"long name\0") + pax((b"path", b"pax"))
    found = one(data + header(b"name", kind=b"2") + END)
    assert (found.name, found.link_name) == (b"long name", b"long link")
    assert found.raw == data + header(b"name", kind=b"2")


def test_long_names_are_of_one_entry_only() -> None:
    headers, _ = read(meta(b"L", b"long\0") + header(b"a") + header(b"b") + END)
    assert [h.name for h in headers] == [b"long", b"b"]


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"5 a=\n",
        b"6 a=b\n\n",
        b"7 a=b\n",
        b"5 a=b\n",
        b"6 a=bc",
        b"6 =ab\n",
        b"6 abc\n",
        b"-6 a=b\n",
        b"+7 a=b\n",
        b" 6 a=b\n",
        b"0 a=b\n",
        b"99999999999999999999 a=b\n",
        b"1000000 a=b\n",
        b"12 path=a\0b\n",
        b"7 a\0=b\n",
        b"8 uid=x\n",
        b"10 uid=1_0\n",
        b"10 uid=0x1\n",
        b"28 uid=9223372036854775808\n",
        b"10 mtime=\xb2\n",
        b"11 mtime=1e\n",
        b"13 mtime=1.-5\n",
        b"11 mtime=.5\n",
    ],
)
def test_a_malformed_pax_header_is_refused(content: bytes) -> None:
    if content == b"5 a=\n":
        assert one(meta(b"x", content) + header(b"name") + END)
        return
    assert "PAX header" in refused(meta(b"x", content) + header(b"name") + END)


@pytest.mark.parametrize(
    "key", [b"GNU.sparse.map", b"GNU.sparse.major", b"GNU.sparse.size", b"GNU.sparse.offset"]
)
def test_a_sparse_file_is_refused_by_name(key: bytes) -> None:
    data = pax((key, b"1")) + header(b"name") + END
    assert refused(data) == "name: no zstd:chunked layer can hold a sparse file"


def test_a_sparse_file_is_named_as_its_pax_header_names_it() -> None:
    sparse = (b"GNU.sparse.major", b"1")
    data = pax((b"path", b"path"), sparse) + header(b"name") + END
    assert refused(data) == "path: no zstd:chunked layer can hold a sparse file"
    data = pax((b"path", b"path"), sparse, (b"GNU.sparse.name", b"file")) + header(b"name") + END
    assert refused(data) == "file: no zstd:chunked layer can hold a sparse file"


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"7", "'7'"),
        (b"S", "'S' (a sparse file)"),
        (b"g", "'g' (a global PAX header)"),
        (b"D", "'D'"),
        (b"V", "'V'"),
        (b"\xad", r"'\xad'"),
        (b" ", "' '"),
    ],
)
def test_types_that_no_layer_can_hold_are_refused(kind: bytes, what: str) -> None:
    assert refused(header(b"name", kind=kind) + END) == (
        f"name: no zstd:chunked layer can hold tar entries of type {what}"
    )


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(1024) + b"anything", bytes(5000)])
def test_the_end_may_be_marked_or_not(end: bytes) -> None:
    headers, other = read(header(b"name", size=3) + b"abc" + bytes(509) + end)
    assert len(headers) == 1
    assert other == header(b"name", size=3) + bytes(509) + end


def test_a_stream_may_end_without_the_last_padding() -> None:
    assert read(header(b"name", size=3) + b"abc" + bytes(9))[1] == header(b"name", size=3) + bytes(9)
    assert read(header(b"name", size=3) + b"abc")[1] == header(b"name", size=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(b"name")[:511], "the tar stream ends in the middle of a header"),
        (b"x", "the tar stream ends in the middle of a header"),
        (bytes(511), "the tar stream ends in the middle of a header"),
        (bytes(512) + header(b"name"), "there is one block of zeros in the tar stream, then something else"),
        (bytes(1023), "there is one block of zeros in the tar stream, then something else"),
        (header(b"n", kind=b"x", size=600) + bytes(600), "the tar stream ends in the middle of a header"),
        (header(b"n", kind=b"L", size=600) + bytes(1023), "the tar stream ends in the middle of a header"),
        (
            header(b"n", kind=b"L", size=2**20 + 1),
            "there is a tar header of 1048577 bytes, and readers accept",
        ),
        (
            header(b"n", kind=b"x", size=2**33 - 1),
            "there is a tar header of 8589934591 bytes, and readers accept",
        ),
    ],
)
def test_a_stream_that_is_cut_or_too_large_is_refused(data: bytes, message: str) -> None:
    assert message in refused(data)


def test_endless_headers_are_given_up() -> None:
    long_name = meta(b"L", b"x" * 1_000_000)
    assert "the tar headers of one entry are more than" in refused(long_name * 5 + header(b"name") + END)


@given(st.binary(max_size=1500), st.integers(0, 1500))
def test_garbage_makes_no_other_error(garbage: bytes, at: int) -> None:
    good = pax((b"path", b"path"), (b"mtime", b"1.5")) + header(b"name") + END
    for data in (garbage, good[:at] + garbage, good[:at] + garbage + good[at + len(garbage) :]):
        with contextlib.suppress(VerificationFailed):
            read(data)


@given(st.binary(max_size=200))
def test_no_pax_header_makes_another_error(content: bytes) -> None:
    with contextlib.suppress(VerificationFailed):
        read(meta(b"x", content) + header(b"name") + END)
    for key in (b"path", b"uid", b"mtime", b"size", b"SCHILY.xattr.a"):
        with contextlib.suppress(VerificationFailed):
            read(pax((key, content)) + header(b"name") + END)
