"""Contents, and the frames that they are in: each single lie is found and named."""

from __future__ import annotations

import re

import pytest

from recompress.reference import Digest
from tests.tampering import Layer
from tests.unit.layer.refusal import refused, tampered


def test_a_changed_byte_of_content_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.content("./dir/file")
        layer.frames[number] = layer.frames[number].replace(b"content", b"Content")

    message = tampered("kinds", tamper)
    assert re.fullmatch(
        r"\./dir/file: its content has the digest sha256:[0-9a-f]{64} and not sha256:[0-9a-f]{64}", message
    )


def test_changed_content_with_the_digest_of_the_old_stream_is_found() -> None:
    layer = Layer.load("kinds")
    diff_id = Digest.of(layer.stream)
    layer.replace_content("./dir/file", b"CONTENT of a file\n")
    layer.pack().prove()
    assert refused(layer.pack(diff_id)) == (
        f"the decompressed stream has the digest {Digest.of(layer.stream)} and not {diff_id}"
    )


def test_swapped_contents_are_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.replace_content("./dir/file", b"0123456789")
        layer.replace_content("./dir/second", b"abcdefghij")
        for name in ("./dir/file", "./dir/second"):
            layer.entry(name)["size"] = layer.line(name)["size"] = 10
            size = b"00000000022" if name.endswith("file") else b"00000000030"
            layer.replace_header(name, size, b"00000000012")
        one, other = layer.content("./dir/file"), layer.content("./dir/second")
        layer.frames[one], layer.frames[other] = layer.frames[other], layer.frames[one]

    assert tampered("kinds", tamper).startswith("./dir/file: its content has the digest ")


def test_swapped_offsets_are_found() -> None:
    def tamper(layer: Layer) -> None:
        one, other = layer.entry("./dir/file"), layer.entry("./dir/second")
        for field in ("offset", "endOffset"):
            one[field], other[field] = other[field], one[field]

    assert re.match(
        r"\./dir/file: the zstd frame that begins at its byte 0 does so at offset \d+, but the table ",
        tampered("kinds", tamper),
    )


@pytest.mark.parametrize("field", ["offset", "endOffset"])
def test_an_offset_inside_a_frame_is_found(field: str) -> None:
    def tamper(layer: Layer) -> None:
        number = layer.entry("./dir/second")[field]
        layer.entry("./dir/second")[field] = lambda offsets: offsets[number] + 1

    assert tampered("kinds", tamper).startswith("./dir/second: the zstd frame that ")


def test_an_offset_outside_the_blob_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.entry("./dir/file")["offset"] = 2**62

    assert "but the table of contents says 4611686018427387904" in tampered("kinds", tamper)


def test_content_that_shares_its_frame_with_the_header_before_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.content("./dir/file")
        layer.frames[number - 1] += layer.frames[number]
        layer.frames[number] = b""

    assert tampered("kinds", tamper) == "./dir/file: no zstd frame begins at its byte 0"


def test_content_that_shares_its_frame_with_the_padding_behind_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.content("./dir/file")
        layer.frames[number] += layer.frames[number + 1]
        layer.frames[number + 1] = b""

    assert tampered("kinds", tamper) == "./dir/file: no zstd frame ends at its byte 18"


def test_content_without_end_is_found() -> None:
    def tamper(layer: Layer) -> None:
        del layer.frames[layer.content("file") + 1 :]
        layer.frames[-1] = layer.frames[-1][:500]
        layer.entry("file")["endOffset"] = len(layer.frames)

    assert tampered("half-end", tamper) == "file: the tar stream ends 200 bytes before its content does"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("./dir/hard", {"offset": 1, "endOffset": 2}),
        ("./dir/soft", {"digest": str(Digest.of(b"x"))}),
        ("./dir/", {"offset": 1}),
        ("./dir/empty", {"endOffset": 1}),
        ("./dir/empty", {"digest": str(Digest.of(b"x"))}),
        ("./dir/empty", {"chunkSize": 1}),
        ("./dir/empty", {"chunkOffset": 1}),
        ("./dir/empty", {"chunkType": "zeros"}),
        ("./dir/empty", {"chunkDigest": "x"}),
    ],
)
def test_a_place_of_content_where_there_is_none_is_found(name: str, changes: dict[str, object]) -> None:
    def tamper(layer: Layer) -> None:
        layer.entry(name).update(changes)

    assert tampered("kinds", tamper) == (
        f"{name}: it has no content, but the table of contents says where there is some"
    )


def test_the_digest_of_nothing_is_right_for_an_empty_file() -> None:
    layer = Layer.load("kinds")
    layer.entry("./dir/empty")["digest"] = str(Digest.of(b""))
    layer.pack().prove()


def empty_frame_behind(layer: Layer, name: str, content: bytes = b"") -> None:
    """As buildah puts one there, inside the range that the table names for the file."""
    end = layer.entry(name)["endOffset"]
    layer.frames.insert(end, content)
    for entry in layer.toc["entries"]:
        if entry.get("offset", 0) >= end:
            entry["offset"] += 1
        if entry.get("endOffset", 0) >= end:
            entry["endOffset"] += 1


def test_an_empty_frame_behind_a_content_is_as_good_as_none() -> None:
    layer = Layer.load("chunks")
    name = next(entry["name"] for entry in layer.toc["entries"] if entry.get("endOffset"))
    empty_frame_behind(layer, name)
    layer.pack().prove()


def test_an_archive_without_an_end_marker_may_end_in_two_empty_frames_and_no_more() -> None:
    """Where a file ends with a hole and the archive with that file, skopeo writes two."""
    layer = Layer.load("no-end")
    layer.frames += [b"", b""]
    layer.pack().prove()
    layer.frames.append(b"")
    assert "is empty, like the 2 before it" in refused(layer.pack())


def test_a_frame_behind_a_content_with_anything_in_it_is_found() -> None:
    layer = Layer.load("chunks")
    name = next(entry["name"] for entry in layer.toc["entries"] if entry.get("endOffset"))
    empty_frame_behind(layer, name, b"more")
    assert f"{name}: the zstd frame that ends at its byte" in refused(layer.pack())
