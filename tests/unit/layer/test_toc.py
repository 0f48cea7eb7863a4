"""The table of contents from untrusted JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.toc import Toc, TocEntry
from recompress.reference import Digest
from recompress.strictjson import MAX_VALUE

DIGEST = str(Digest.of(b""))
FILE = {"type": "reg", "name": "file", "mode": 420, "size": 3, "offset": 100, "endOffset": 200}


def pieces(document: bytes, size: int) -> Iterator[bytes]:
    return (document[at : at + size] for at in range(0, len(document), size))


def read(document: bytes, size: int = 1000) -> list[TocEntry]:
    toc = Toc(pieces(document, size))
    entries = []
    while (entry := toc.next_entry()) is not None:
        entries.append(entry)
    assert str(toc.tar_split_digest) == DIGEST
    return entries


def document(*entries: Any, **top: Any) -> bytes:
    return json.dumps({"version": 1, "entries": list(entries), "tarSplitDigest": DIGEST} | top).encode()


def refused(raw: bytes) -> str:
    with pytest.raises(VerificationFailed) as caught:
        read(raw)
    return str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
def test_entries_come_in_their_order_however_the_pieces_are_cut(size: int) -> None:
    names = ["a", "ä☃😀", '"quoted"\\', "\u2028", "x" * 5000]
    raw = document(*({**FILE, "name": name} for name in names))
    assert [entry.name for entry in read(raw, size)] == names


def test_every_field_is_read() -> None:
    entry = {
        "type": "hardlink",
        "name": "n",
        "linkName": "l",
        "mode": 1,
        "size": 2,
        "uid": 3,
        "gid": 4,
        "modtime": "1970-01-01T00:00:05Z",
        "accesstime": "1970-01-01T00:00:06.5Z",
        "changetime": "1969-12-31T23:59:59.000000001Z",
        "devMajor": 5,
        "devMinor": 6,
        "xattrs": {"user.a": "YQ=="},
        "digest": "d",
        "offset": 7,
        "endOffset": 8,
        "chunkSize": 9,
        "chunkOffset": 10,
        "chunkDigest": "c",
        "chunkType": "zeros",
    }
    times = (5 * 10**9, 6_500_000_000, -999_999_999)
    expected = (
        "hardlink",
        "n",
        "l",
        1,
        3,
        4,
        2,
        *times,
        5,
        6,
        {"user.a": "YQ=="},
        "d",
        7,
        8,
        9,
        10,
        "c",
        "zeros",
    )
    assert read(document(entry)) == [expected]


def test_fields_that_are_not_there_are_empty() -> None:
    assert read(document({})) == [
        ("", "", "", 0, 0, 0, 0, None, None, None, 0, 0, {}, "", 0, 0, 0, 0, "", "")
    ]


def test_chunks_are_told_from_files() -> None:
    chunk = {
        "type": "chunk",
        "name": "file",
        "offset": 150,
        "chunkSize": 1,
        "chunkOffset": 2,
        "chunkDigest": "d",
    }
    toc = Toc(pieces(document(FILE, chunk, {**FILE, "name": "other"}), 10))
    assert toc.next_entry() is not None
    found = toc.next_chunk()
    assert found is not None
    assert found.chunk_offset == 2
    assert toc.next_chunk() is None
    other = toc.next_entry()
    assert other is not None
    assert other.name == "other"
    assert toc.next_chunk() is None
    assert toc.next_entry() is None


@pytest.mark.parametrize(
    "raw",
    [
        document().replace(b"[]", b"null"),
        b' { "tarSplitDigest" : "%b",\n"entries"\t: [ ] ,\r"version": 1 } ' % DIGEST.encode(),
    ],
)
def test_order_and_white_space_of_the_top_do_not_matter(raw: bytes) -> None:
    assert read(raw, 1) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "a '{' is missing in it"),
        (b"[]", "a '{' is missing in it"),
        (b"null", "a '{' is missing in it"),
        (b"{}", "is of version None, not 1"),
        (document(version=2), "is of version 2, not 1"),
        (document(version=True), "is of version True, not 1"),
        (document(version="1"), "is of version '1', not 1"),
        (document(version=None), "is of version None, not 1"),
        (document().replace(b"1", b"1.0", 1), "JSON has 1.0 where only a whole number is allowed"),
        (document(tarSplitDigest=None), "tarSplitDigest: None is not a digest"),
        (document(tarSplitDigest="md5:abc"), "tarSplitDigest: 'md5:abc' is not a digest"),
        (document(tarSplitDigest=5), "tarSplitDigest: 5 is not a digest"),
        (document(tarSplitDigest={}), "tarSplitDigest: {} is not a digest"),
        (document(entries={}), "are not a list"),
        (document(entries=1), "are not a list"),
        (document(Entries=[]), "has the unknown key 'Entries'"),
        (document(extra=1), "has the unknown key 'extra'"),
        (document() + b"{}", "something follows its end"),
        (document() + document(), "something follows its end"),
        (document()[:-1], "a ',' is missing in it"),
        (document().replace(b",", b"", 1), "a ',' is missing in it"),
        (document().replace(b":", b"", 1), "a ':' is missing in it"),
        (document(FILE, FILE).replace(b"}, {", b"} {"), "a ']' is missing in it"),
        (document(FILE).replace(b"}]", b"},]"), "it is not JSON"),
        (document(FILE).replace(b"}]", b"}"), "an entry of the table of contents is not an object"),
        (b'{"entries":[],"entries":[]}', "has the key 'entries' twice"),
        (b'{"version":1,"version":1}', "has the key 'version' twice"),
        (b'{1:1}', "has the key 1 twice"),
        (b'{"version":1,}', "it is not JSON"),
        (document(1), "an entry of the table of contents is not an object"),
        (document([]), "an entry of the table of contents is not an object"),
        (document(None), "an entry of the table of contents is not an object"),
        (document(FILE).replace(b'"size": 3', b'"size": 3, "size": 4'), "the same key twice"),
        (document(FILE).replace(b'"size": 3', b'"size": 3.0'), "JSON has 3.0"),
        (document(FILE).replace(b'"size": 3', b'"size": 3e0'), "JSON has 3e0"),
        (document(FILE).replace(b'"size": 3', b'"size": NaN'), "JSON has NaN"),
        (document(FILE).replace(b'"size": 3', b'"size": -Infinity'), "JSON has -Infinity"),
        (document(FILE).replace(b'"size": 3', b'"size": 03'), "it is not JSON"),
        (document(FILE).replace(b'"size": 3', b'"size": +3'), "it is not JSON"),
        (document(FILE).replace(b'"size": 3', b'"size": 0x3'), "it is not JSON"),
        (document(FILE).replace(b'"size": 3', b'"size": ' + b"9" * 5000), "it is not JSON"),
        (document({**FILE, "size": True}), "file: 'size' is True"),
        (document({**FILE, "size": "3"}), "file: 'size' is '3'"),
        (document({**FILE, "size": None}), "file: 'size' is None"),
        (document({**FILE, "size": -1}), "file: an offset or size is negative or"),
        (document({**FILE, "size": 2**63}), "file: an offset or size is negative or"),
        (document({**FILE, "offset": -1}), "file: an offset or size is negative or"),
        (document({**FILE, "endOffset": -1}), "file: an offset or size is negative or"),
        (document({**FILE, "chunkSize": -1}), "file: an offset or size is negative or"),
        (document({**FILE, "chunkOffset": -1}), "file: an offset or size is negative or"),
        (document({**FILE, "name": 5}), "5: 'name' is 5"),
        (document({**FILE, "Mode": 5}), "file: the key 'Mode' is unknown"),
        (document({**FILE, "uname": "root"}), "file: the key 'uname' is unknown"),
        (document({**FILE, "xattrs": []}), "file: 'xattrs' is []"),
        (document({**FILE, "xattrs": {"a": 1}}), "file: 'xattrs' is {'a': 1}"),
        (document({**FILE, "xattrs": {"": "a"}}), "file: 'xattrs' is {'': 'a'}"),
        (document({**FILE, "xattrs": {"a": {"b": "c"}}}), "file: 'xattrs' is {'a': {'b': 'c'}}"),
        (document({"type": "chunk", "name": "file", "size": 1}), "file: a chunk has fields that only a file"),
        (document({**FILE, "name": "line\nbreak", "size": -1}), "line\\nbreak: an offset or size"),
        (document({**FILE, "name": "n" * 10_000, "size": -1}), "n" * 300 + "…: an offset or"),
        (document(FILE).replace(b"file", b"caf\xe9"), "it is not UTF-8"),
        (document(FILE)[:-1] + b"\xc3", "it is not UTF-8"),
        (document(FILE).replace(b"file", b"fi\nle"), "it is not JSON"),
        (b'{"entries":' + b"[" * 100_000, "it is nested too deeply"),
        (b'{"entries":[' + b'{"a":' * 100_000, "it is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(raw: bytes, message: str) -> None:
    text = refused(raw)
    assert message in text
    assert len(text) < 500


@pytest.mark.parametrize(
    "time",
    [
        "",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-11-14 22:13:20Z",
        "2023-11-14t22:13:20Z",
        "2023-11-14T22:13:20z",
        "2023-11-14T22:13Z",
        "2023-11-14T22:13:20,5Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20.1234567890Z",
        "2023-13-14T22:13:20Z",
        "2023-02-29T22:13:20Z",
        "2023-11-14T24:13:20Z",
        "2023-11-14T22:13:60Z",
        "2023-11-14T22:60:20Z",
        "2023-11-14T22:13:20+24:00",
        "2023-11-14T22:13:20+05:60",
        "2023-11-14T22:13:20-05:99",
        "2023-11-14T22:13:20Z\n",
        "٢٠٢٣-11-14T22:13:20Z",
        "0000-01-01T00:00:00Z",
        "12023-11-14T22:13:20Z",
    ],
)
@pytest.mark.parametrize("field", ["modtime", "accesstime", "changetime"])
def test_what_is_no_time_is_refused(field: str, time: str) -> None:
    assert f"file: {time!r:.100} is not a time" in refused(document({**FILE, field: time}))


@pytest.mark.parametrize(
    "time", ["2023-11-14T24:00:00Z", "2023-11-14T22:13:60Z", "2023-11-14T22:13:20+05:60"]
)
def test_what_go_does_not_read_is_no_time_whatever_this_version_of_python_reads(
    time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lenient(datetime):
        @classmethod
        def fromisoformat(cls, text: str) -> Self:
            return cls(2023, 11, 15, tzinfo=UTC)

    monkeypatch.setattr("recompress.layer.toc.datetime", Lenient)
    assert "is not a time" in refused(document({**FILE, "modtime": time}))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_are_read(time: str) -> None:
    read(document({**FILE, "modtime": time}))


@pytest.mark.parametrize(
    "endless", [b"[", b'{"a', b" " * 10, b"1", b'"aaaaaaaaaa', b"[1,2,3,4,5,6,7,8,9,", b"x"]
)
def test_an_endless_value_is_given_up(endless: bytes) -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        yield b'{"version":'
        while taken < 20 * MAX_VALUE:
            taken += 100_000
            yield (endless * 100_000)[:100_000]

    with pytest.raises(VerificationFailed):
        Toc(pieces()).next_entry()
    assert taken <= 3 * MAX_VALUE or not endless.strip()


@pytest.mark.parametrize("size", [1000, MAX_VALUE // 2])
def test_a_large_entry_is_read(size: int) -> None:
    raw = document({**FILE, "xattrs": {"user.large": "A" * size}})
    (entry,) = read(raw, 65536)
    assert len(entry.xattrs["user.large"]) == size


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars | st.just("1970-01-01T00:00:00Z"),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=9), values, max_size=4),
    max_leaves=10,
)
field_names = st.sampled_from(["type", "name", "modtime", "xattrs", "size", "offset", "mode"])


@given(st.lists(st.dictionaries(field_names, json_values) | json_values), st.integers(1, 50))
def test_no_document_makes_another_error(entries: list[Any], size: int) -> None:
    with contextlib.suppress(VerificationFailed):
        read(document(*entries), size)


@given(st.data())
def test_no_damage_makes_another_error(data: st.DataObject) -> None:
    raw = bytearray(document(FILE, {**FILE, "xattrs": {"user.a": "YQ=="}, "modtime": "1970-01-01T00:00:05Z"}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    toc = Toc(pieces(bytes(raw), 1000))
    with contextlib.suppress(VerificationFailed):
        while toc.next_entry() is not None:
            pass
        # Damage can make another digest of it.
        assert toc.tar_split_digest
