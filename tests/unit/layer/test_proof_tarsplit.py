"""tar-split data that are not those of the tar stream."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest

from recompress.layer.proof import crc64
from recompress.reference import Digest
from tests.tampering import Layer, encoded
from tests.unit.layer.refusal import Tamper, refused, tampered


def line_change(path: str, /, **changes: object) -> Tamper:
    def tamper(layer: Layer) -> None:
        layer.line(path).update(changes)

    return tamper


def segment_change(name: str, change: Callable[[bytes], bytes]) -> Tamper:
    def tamper(layer: Layer) -> None:
        segment = layer.segment(name)
        segment["payload"] = encoded(change(base64.b64decode(segment["payload"])))

    return tamper


def drop_segment(layer: Layer) -> None:
    layer.tar_split.remove(layer.segment("./dir/file"))


def split_segment(layer: Layer) -> None:
    segment = layer.segment("./dir/file")
    raw = base64.b64decode(segment["payload"])
    at = layer.tar_split.index(segment)
    layer.tar_split[at : at + 1] = [{**segment, "payload": encoded(part)} for part in (raw[:99], raw[99:])]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (line_change("./dir/file", name="./dir/second"), "has the file ./dir/second instead"),
        (line_change("./dir/file", name_raw=encoded(b"x")), "has the file x instead"),
        (line_change("./dir/file", size=17), "says its size is 17, not 18 as the tar stream"),
        (line_change("./dir/file", payload=encoded(bytes(8))), "says its CRC-64 is 0000000000000000, not "),
        (line_change("./dir/file", payload=None), "says its CRC-64 is , not "),
        (line_change("./dir/file", type=2), "has no file there"),
        (line_change("./dir/file", type=3), "has no file there"),
        (
            segment_change("./dir/file", lambda raw: raw[:-1] + b"x"),
            "has other bytes here than the tar stream",
        ),
        (segment_change("./dir/file", lambda raw: raw + b"\0"), "has other bytes here than the tar stream"),
        (drop_segment, "has other bytes here than the tar stream"),
        (split_segment, "has other bytes here than the tar stream"),
    ],
)
def test_changed_tar_split_data_is_found(tamper: Tamper, message: str) -> None:
    assert tampered("kinds", tamper).startswith(f"./dir/file: the tar-split data {message}")


def test_tar_split_data_that_is_cut_short_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.tar_split.pop()

    assert "the tar-split data ends before the tar stream does" in tampered("trailing", tamper)


def test_tar_split_data_that_goes_on_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.tar_split.append(layer.tar_split[-1])

    assert "the tar-split data goes on after the end of the tar stream" in tampered("trailing", tamper)


def test_a_longer_last_segment_is_found() -> None:
    def tamper(layer: Layer) -> None:
        last = layer.tar_split[-1]
        last["payload"] = encoded(base64.b64decode(last["payload"]) + b"!")

    assert "the tar-split data goes on after the end of the tar stream" in tampered("trailing", tamper)


def test_other_trailing_bytes_are_found() -> None:
    def tamper(layer: Layer) -> None:
        last = layer.tar_split[-1]
        last["payload"] = encoded(base64.b64decode(last["payload"])[:-1] + b"E")

    assert "the tar-split data has other bytes at the end than the tar stream" in tampered("trailing", tamper)


def test_a_file_behind_the_last_one_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.tar_split.insert(3, {"type": 1, "name": "added", "payload": None, "position": 3})

    assert "the tar-split data has added behind the last file" in tampered("trailing", tamper)


def test_an_empty_segment_at_the_end_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.tar_split.insert(3, {"type": 2, "payload": None, "position": 3})

    assert "the tar-split data has an empty segment behind the last file" in tampered("trailing", tamper)


def test_the_digest_of_other_tar_split_data_in_the_table_is_found() -> None:
    packed = Layer.load("kinds").pack(tar_split_digest=str(Digest.of(b"x")))
    assert re.fullmatch(
        f"the tar-split data has the digest sha256:.* and not {Digest.of(b'x')}", refused(packed)
    )


def test_a_checksum_that_is_only_in_content_is_not_missed() -> None:
    layer = Layer.load("kinds")
    number = layer.content("./dir/file")
    layer.frames[number] = b"CONTENT of a file\n"
    layer.entry("./dir/file")["digest"] = str(Digest.of(layer.frames[number]))
    assert re.match(r"\./dir/file: the tar-split data says its CRC-64 is", refused(layer.pack()))
    layer.line("./dir/file")["payload"] = encoded(crc64(layer.frames[number], 0).to_bytes(8, "big"))
    layer.pack().prove()
