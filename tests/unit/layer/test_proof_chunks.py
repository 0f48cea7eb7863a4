"""Chunks of contents: each single lie is found and named."""

from __future__ import annotations

import re

import pytest

from recompress.reference import Digest
from tests.tampering import Layer
from tests.unit.layer.refusal import Tamper, tampered


def chunk_change(number: int, **changes: object) -> Tamper:
    def tamper(layer: Layer) -> None:
        layer.chunks("holes")[number].update(changes)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (chunk_change(1, chunkDigest=str(Digest.of(b"x"))), "its chunk at byte 100 has the digest sha256:"),
        (chunk_change(2, chunkType="zeros"), "its bytes from 5100 on are not all zeros"),
        (chunk_change(2, chunkType="ones"), "its chunk at byte 5100 has the unknown type 'ones'"),
        (chunk_change(1, chunkOffset=99), "its chunk at byte 100 is at 99 in the table"),
        (chunk_change(0, chunkOffset=1), "its chunk at byte 0 is at 1 in the table"),
        (
            chunk_change(1, chunkSize=4999, chunkDigest=str(Digest.of(bytes(4999)))),
            "no zstd frame ends at its byte 5099",
        ),
        (chunk_change(1, chunkSize=5001), "its bytes from 100 on are not all zeros"),
        (chunk_change(2, chunkSize=0), "its chunk at byte 5100 has 0 bytes in the table"),
        (chunk_change(0, chunkSize=10**9), "its chunk at byte 0 has 1000000000 bytes in the table"),
        (chunk_change(1, name="again"), "its table entry is followed by a chunk of again"),
        (chunk_change(1, offset=1), "the zstd frame that ends at its byte 100 does so at offset"),
        (chunk_change(0, digest=str(Digest.of(b"x"))), "its content has the digest sha256:"),
    ],
)
def test_a_wrong_chunk_is_found(tamper: Tamper, message: str) -> None:
    assert tampered("chunks", tamper).startswith(f"holes: {message}")


@pytest.mark.parametrize("field", ["size", "endOffset", "digest", "mode"])
def test_a_chunk_with_a_field_of_a_file_is_found(field: str) -> None:
    value = "x" if field == "digest" else 1
    message = tampered("chunks", chunk_change(1, **{field: value}))
    assert message.endswith("the table of contents: holes: a chunk has fields that only a file can have")


def test_a_changed_byte_of_a_chunk_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.chunks("holes")[2]["offset"]
        layer.frames[number] = b"B" + layer.frames[number][1:]

    assert re.match(
        r"holes: its chunk at byte 5100 has the digest sha256:\w+ and not ", tampered("chunks", tamper)
    )


def test_a_missing_chunk_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].remove(layer.chunks("holes")[1])

    assert tampered("chunks", tamper).startswith(
        "holes: the zstd frame that ends at its byte 100 does so at offset"
    )


def test_a_missing_last_chunk_is_found() -> None:
    def tamper(layer: Layer) -> None:
        last = layer.chunks("holes")[-1]
        layer.entry("holes")["endOffset"] = last["offset"]
        layer.toc["entries"].remove(last)

    assert re.match(r"holes: its chunks are \d+ bytes together, but it has 19149", tampered("chunks", tamper))


def test_a_chunk_of_something_without_content_is_found() -> None:
    def tamper(layer: Layer) -> None:
        entries = layer.toc["entries"]
        at = entries.index(layer.entry("./dir/empty"))
        entries.insert(at + 1, {"type": "chunk", "name": "./dir/empty", "chunkSize": 1})

    assert "its type is hardlink in the tar stream but chunk in the table of contents" in tampered(
        "kinds", tamper
    )


def test_a_whole_file_may_say_that_it_is_one_chunk() -> None:
    layer = Layer.load("chunks")
    entry = layer.entry("hole")
    entry.update(chunkSize=70_000, chunkDigest=entry["digest"], chunkType="zeros")
    layer.pack().prove()


@pytest.mark.parametrize("changes", [{"chunkSize": 1}, {"chunkDigest": "x"}, {"chunkType": "zeros"}])
def test_a_whole_file_that_says_it_is_another_chunk_is_found(changes: dict[str, object]) -> None:
    def tamper(layer: Layer) -> None:
        layer.entry("compressible").update(changes)

    assert tampered("chunks", tamper).startswith("compressible: its ")
