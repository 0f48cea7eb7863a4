"""tar-split data from untrusted JSON."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.tarsplit import TarSplit

CRC = 0x0102030405060708


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def tar_split(raw: bytes, size: int = 1000) -> TarSplit:
    return TarSplit(raw[at : at + size] for at in range(0, len(raw), size))


def lines(*entries: Any) -> bytes:
    return b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)


def segment(data: bytes, position: int = 0) -> dict[str, Any]:
    return {"type": 2, "payload": encoded(data), "position": position}


def file(name: str, size: int = 5, position: int = 0) -> dict[str, Any]:
    payload = encoded(CRC.to_bytes(8, "big")) if size else None
    return (
        {"type": 1, "name": name}
        | ({"size": size} if size else {})
        | {"payload": payload, "position": position}
    )


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_what_tar_split_writes_is_what_is_expected(size: int) -> None:
    reader = tar_split(
        lines(
            segment(b"header"),
            file("a", position=1),
            segment(b"\0" * 99, 2),
            file("b", 0, 3),
            segment(b"end", 4),
        ),
        size,
    )
    reader.expect_segment(b"header")
    reader.expect_file(b"a", 5, CRC)
    reader.expect_segment(b"\0" * 99)
    reader.expect_file(b"b", 0, 0)
    reader.expect_segment(b"end")
    reader.expect_end()


@given(st.binary(min_size=1, max_size=60), st.integers(0, 2**63 - 1), st.booleans())
def test_any_name_is_found_whichever_way_it_is_written(name: bytes, size: int, ascii_only: bool) -> None:
    entry = file("", size)
    try:
        entry["name"] = name.decode()
    except UnicodeDecodeError:
        del entry["name"]
        entry["name_raw"] = encoded(name)
    raw = json.dumps(entry, separators=(",", ":"), ensure_ascii=ascii_only).encode() + b"\n"
    tar_split(raw).expect_file(name, size, CRC)


def test_a_name_cannot_bring_fields_along() -> None:
    name = b'x","name":"y'
    raw = b'{"type":1,"name":"%b","payload":null,"position":0}\n' % name
    with pytest.raises(VerificationFailed, match="the same key twice"):
        tar_split(raw).expect_file(name, 0, 0)


def test_white_space_and_order_do_not_matter() -> None:
    reader = tar_split(b' { "position":0, "payload":"aGVhZGVy" , "type": 2 } \n')
    reader.expect_segment(b"header")
    reader.expect_end()


@pytest.mark.parametrize("cuts", [[512] * 4 + [2000], [4048], [1024, 3024], [1500, 512, 2036]])
@pytest.mark.parametrize("step", [1, 512, 3000])
def test_what_trails_may_be_cut_in_any_way_that_clients_take(cuts: list[int], step: int) -> None:
    data = bytes(4000) + b"garbage at the end, and not of zeros at all, eh!"
    at, entries = 0, []
    for cut in cuts:
        entries.append(segment(data[at : at + cut]))
        at += cut
    reader = tar_split(lines(*entries))
    for start in range(0, len(data), step):
        assert reader.expect_trailing(data[start : start + step])
    reader.expect_end()


@pytest.mark.parametrize(
    "data", [b"x", bytes(511), bytes(513), bytes(1023), bytes(512) + b"x" * 512, b"x" * 2000]
)
def test_what_clients_do_not_take_for_an_end_is_told(data: bytes) -> None:
    assert not tar_split(lines(segment(data))).expect_trailing(data)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"1",
        b"null",
        b'{"type":2.0,"payload":"aGVhZGVy"}',
        b'{"type":true,"payload":"aGVhZGVy"}',
        b'{"type":"2","payload":"aGVhZGVy"}',
        b'{"type":2,"payload":5}',
        b'{"type":2,"payload":"aGVhZGVy","payload":"aGVhZGVy"}',
        b'{"type":2,"Payload":"aGVhZGVy"}',
        b'{"type":2,"payload":"aGVhZGVy","more":1}',
        b'{"type":2,"payload":"aGVhZGVy","position":null}',
        b'{"type":2,"payload":"aGVh\\nZGVy"}',
        b'{"type":2,"payload":"aGVhZGVy="}',
        b'{"type":2,"payload":"aGVhZGV"}',
        b'{"type":2,"payload":"a-_hZGVy"}',
        b'{"type":2,"payload":"\xff"}',
        b'{"type":2,"payload":"aGVhZGVy"}{}',
        b'{"type":2,"payload":"aGVhZGVy","position":' + b"[" * 100_000,
        b'{"type":2,"payload":"aGVhZGVy","position":' + b"1" * 10_000 + b"}",
        b'{"type":1,"name":"header","payload":null}',
    ],
)
def test_what_is_no_such_segment_is_refused(line: bytes) -> None:
    with pytest.raises(VerificationFailed):
        tar_split(line + b"\n").expect_segment(b"header")


def test_base64_with_bits_that_stand_for_nothing_is_refused() -> None:
    tar_split(b'{"type":2,"payload":"YWI="}\n').expect_segment(b"ab")
    with pytest.raises(VerificationFailed, match="a line that is not an entry"):
        tar_split(b'{"type":2,"payload":"YWJ="}\n').expect_segment(b"ab")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64 + 12])
@pytest.mark.parametrize("field", ["size", "position"])
def test_a_segment_has_no_number_that_go_cannot_read(field: str, number: int) -> None:
    segment = {"type": 2, "payload": encoded(b"header")}
    tar_split(lines({**segment, field: 2**63 - 1})).expect_segment(b"header")
    with pytest.raises(VerificationFailed, match="a line that is not an entry"):
        tar_split(lines({**segment, field: number})).expect_segment(b"header")


@pytest.mark.parametrize(
    "entry",
    [
        {"type": 1, "name": "a", "name_raw": "*", "payload": None},
        {"type": 1, "name": "a", "name_raw": None, "payload": None},
        {"type": 1, "name": None, "payload": None},
        {"type": 1, "name": "a", "size": False, "payload": None},
        {"type": 1, "name": "a", "size": -1, "payload": None},
        {"type": 1, "name": "a\ud800", "payload": None},
        {"name": "a", "payload": None},
        {"type": 1, "name": "a", "payload": None, "position": 2**63},
        {"type": 1, "name": "a", "payload": None, "position": -(2**63) - 1},
    ],
)
def test_what_is_no_such_file_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        tar_split(lines(entry)).expect_file(b"a", 0, 0)


def test_a_last_line_without_an_end_is_refused() -> None:
    reader = tar_split(lines(segment(b"header"))[:-1])
    with pytest.raises(VerificationFailed, match="ends in the middle of a line"):
        reader.expect_segment(b"header")


def test_an_endless_line_is_given_up() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"A" * 256 * 1024

    with pytest.raises(VerificationFailed, match="has a line that is too long"):
        TarSplit(pieces()).expect_segment(b"header")
    assert taken < 40


@given(st.binary(max_size=100) | st.text(alphabet='{}":,\\n[]0123typename_rawsizepayload').map(str.encode))
def test_garbage_makes_no_other_error(raw: bytes) -> None:
    for line in (raw, raw + b"\n", b'{"type":2,"payload":"aGVhZGVy",' + raw + b"\n"):
        with contextlib.suppress(VerificationFailed):
            tar_split(line).expect_segment(b"header")
        with contextlib.suppress(VerificationFailed):
            tar_split(line).expect_file(b"header", 0, 0)
        with contextlib.suppress(VerificationFailed):
            tar_split(line).expect_trailing(b"header")
        with contextlib.suppress(VerificationFailed):
            tar_split(line).expect_end()
