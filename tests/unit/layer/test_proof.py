"""The proof of a layer: real layers hold, and each single lie in one is found and named.

The layers were made by the real skopeo (tests/data/make_layers.py).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from recompress.errors import VerificationFailed
from recompress.layer.proof import crc64
from recompress.reference import Digest
from tests.data.make_layers import CAPABILITY
from tests.tampering import Layer, Packed, encoded

Tamper = Callable[[Layer], None]

GOOD = ["kinds", "pax", "gnu", "old", "chunks", "large", "deep", "trailing", "empty", "no-end", "half-end"]


def refused(packed: Packed) -> str:
    """The message, which has to name the layer."""
    with pytest.raises(VerificationFailed) as caught:
        packed.prove()
    message = str(caught.value)
    start = f"layer {packed.layer.digest}: "
    assert message.startswith(start)
    assert "\n" not in message
    return message.removeprefix(start)


def tampered(name: str, tamper: Tamper, diff_id: Digest | None = None) -> str:
    layer = Layer.load(name)
    tamper(layer)
    return refused(layer.pack(diff_id))


@pytest.mark.parametrize("name", GOOD)
def test_a_layer_that_skopeo_made_is_proven(name: str) -> None:
    packed = Packed.load(name)
    proof = packed.prove()
    assert proof.compressed_bytes == len(packed.blob)
    assert proof.uncompressed_bytes == len(Layer.load(name).stream)


def test_a_proof_counts_entries_and_chunks() -> None:
    def counted(name: str) -> tuple[int, int, int, int]:
        proof = Packed.load(name).prove()
        return proof.entries, proof.chunks, proof.compressed_bytes, proof.uncompressed_bytes

    assert counted("kinds") == (15, 5, 2490, 11776)
    assert counted("chunks") == (5, 15, 28256, 145920)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("chunk", [1, 13, 4096])
def test_the_size_of_the_chunks_of_the_blob_does_not_matter(name: str, chunk: int) -> None:
    packed = Packed.load(name)
    if chunk > 1 or len(packed.blob) < 10_000:
        assert packed.prove(chunk) == packed.prove()


@pytest.mark.parametrize("name", GOOD)
def test_a_layer_taken_apart_and_put_together_is_proven(name: str) -> None:
    Layer.load(name).pack().prove()


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


def test_a_frame_behind_a_content_with_anything_in_it_is_found() -> None:
    layer = Layer.load("chunks")
    name = next(entry["name"] for entry in layer.toc["entries"] if entry.get("endOffset"))
    empty_frame_behind(layer, name, b"more")
    assert f"{name}: the zstd frame that ends at its byte" in refused(layer.pack())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("not-utf-8", r"caf\\udce9: a name in it is not UTF-8"),
        ("link-with-size", "link: it is a hardlink with a size"),
        ("same-file-absolute", "/file: the layer has more than one entry for this path"),
        ("garbage-at-end", "there are bytes behind the end of its archive"),
        ("zeros-at-end", "there are bytes behind the end of its archive that clients fail on"),
        ("two-archives", "there are bytes behind the end of its archive"),
    ],
)
def test_a_layer_that_clients_cannot_pull_partially_says_why(name: str, reason: str) -> None:
    why_full = Packed.load(name).prove().why_full
    assert why_full is not None
    assert re.search(reason, why_full)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sparse-pax", "sparse: no zstd:chunked layer can hold a sparse file"),
        ("no-padding", "the decompressed stream has the digest"),
    ],
)
def test_a_layer_of_which_skopeo_makes_another_stream_is_refused(name: str, message: str) -> None:
    assert re.search(message, refused(Packed.load(name)))


# Content


def test_a_changed_byte_of_content_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.content("./dir/file")
        layer.frames[number] = layer.frames[number].replace(b"content", b"Content")

    message = tampered("kinds", tamper)
    assert re.fullmatch(
        r"\./dir/file: its content has the digest sha256:[0-9a-f]{64} and not sha256:[0-9a-f]{64}", message
    )


def test_a_changed_byte_of_a_chunk_is_found() -> None:
    def tamper(layer: Layer) -> None:
        number = layer.chunks("holes")[2]["offset"]
        layer.frames[number] = b"B" + layer.frames[number][1:]

    assert re.match(
        r"holes: its chunk at byte 5100 has the digest sha256:\w+ and not ", tampered("chunks", tamper)
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


# Chunks


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


# Attributes


ATTRIBUTES: list[tuple[str, str, dict[str, object], str]] = [
    ("kinds", "./dir/file", {"mode": 0o4755}, "its mode is 0o640 in the tar stream but 0o4755 in the table"),
    ("kinds", "./dir/setuid", {"mode": 0o755}, "its mode is 0o4755 in the tar stream but 0o755 in the table"),
    ("kinds", "./dir/", {"uid": 0}, "its uid is 1000 in the tar stream but 0 in the table"),
    ("kinds", "./dir/", {"gid": 1}, "its gid is 100 in the tar stream but 1 in the table"),
    ("kinds", "./dir/file", {"size": 19}, "its size is 18 in the tar stream but 19 in the table"),
    ("kinds", "./dir/empty", {"type": "dir"}, "its type is reg in the tar stream but dir in the table"),
    (
        "kinds",
        "./dir/soft",
        {"linkName": "x"},
        "its link target is ../../etc/passwd in the tar stream but x in",
    ),
    (
        "kinds",
        "./dir/hard",
        {"linkName": "/etc/shadow"},
        "its link target is ./dir/file in the tar stream but /etc/",
    ),
    (
        "kinds",
        "./dev/null",
        {"devMajor": 8},
        "its major device number is 1 in the tar stream but 8 in the table",
    ),
    (
        "kinds",
        "./dev/sda",
        {"devMinor": 1},
        "its minor device number is 0 in the tar stream but 1 in the table",
    ),
    (
        "kinds",
        "./dir/file",
        {"modtime": "2023-11-14T22:13:21Z"},
        "its modification time is 2023-11-14T22:13:20+00:00 in the tar stream but 2023-11-14T22:13:21",
    ),
    (
        "pax",
        "times",
        {"modtime": "2023-11-14T22:13:20.123456788Z"},
        "its modification time is 2023-11-14T22:13:20+00:00 and 123456789 ns in the tar stream but",
    ),
    (
        "pax",
        "times",
        {"accesstime": "1970-01-01T00:00:00Z"},
        "its access time is 1970-01-01T00:00:01+00:00 and 5",
    ),
    (
        "pax",
        "times",
        {"changetime": "2000-01-01T00:00:00Z"},
        "its change time is 1969-12-31T23:59:58+00:00 and 5",
    ),
    (
        "pax",
        "at-1970",
        {"modtime": "1970-01-01T00:00:01Z"},
        "its modification time is not set in the tar stream but 1970-01-01T00:00:01+00:00 in the table",
    ),
    (
        "pax",
        "ping",
        {"xattrs": {}},
        "its xattrs are {'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAA=', 'user.empty': ''}",
    ),
]


@pytest.mark.parametrize(("layer", "name", "changes", "message"), ATTRIBUTES)
def test_an_attribute_changed_in_the_table_only_is_found(
    layer: str, name: str, changes: dict[str, object], message: str
) -> None:
    def tamper(parts: Layer) -> None:
        parts.entry(name).update(changes)

    assert tampered(layer, tamper).startswith(f"{name}: {message}")


def test_an_xattr_changed_in_the_stream_only_is_found() -> None:
    layer = Layer.load("pax")
    layer.replace_header("ping", CAPABILITY, CAPABILITY[:-1] + b"\1")
    assert refused(layer.pack()) == (
        "ping: its xattrs are {'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAE='} in the tar stream but "
        "{'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAA='} in the table of contents"
    )


def test_a_mode_changed_in_the_stream_only_is_found() -> None:
    layer = Layer.load("kinds")
    layer.replace_header("./dir/file", b"0000640", b"0006755")
    assert refused(layer.pack()) == (
        "./dir/file: its mode is 0o6755 in the tar stream but 0o640 in the table of contents"
    )


@pytest.mark.parametrize(
    "no_time", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T02:00:00+02:00"]
)
def test_no_time_and_the_zero_times_are_the_same(no_time: str) -> None:
    layer = Layer.load("pax")
    layer.entry("at-1970")["modtime"] = no_time
    layer.entry("big-ids")["accesstime"] = no_time
    layer.pack().prove()
    del layer.entry("at-1970")["modtime"]
    layer.pack().prove()


def test_a_time_in_another_zone_is_the_same_time() -> None:
    layer = Layer.load("kinds")
    layer.entry("./dir/file")["modtime"] = "2023-11-15T03:43:20+05:30"
    layer.pack().prove()


# Entries


def test_an_entry_dropped_from_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].remove(layer.entry("./dir/setuid"))

    assert tampered("kinds", tamper) == (
        "./dir/setuid: its name is ./dir/setuid in the tar stream but ./dir/empty in the table of contents"
    )


def test_the_last_entry_dropped_from_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].pop()

    assert tampered("kinds", tamper) == (
        "../outside: the tar stream has this entry, but the table of contents has not"
    )


def test_an_entry_added_to_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].append({"type": "reg", "name": "added"})

    assert tampered("kinds", tamper).endswith(
        "the table of contents has the entry added, which the tar stream has not"
    )


def test_entries_in_another_order_are_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].reverse()

    assert tampered("kinds", tamper).startswith("./: its ")


def test_a_layer_with_two_entries_for_one_path_has_to_be_pulled_in_full() -> None:
    layer = Layer.load("half-end")
    twice = layer.frames[0] + layer.frames[1] + bytes(324)
    layer.frames = [layer.frames[0], layer.frames[1], bytes(324) + layer.frames[0], *layer.frames[1:]]
    assert layer.stream.startswith(twice)
    header, file, end = layer.tar_split
    second = {**header, "payload": encoded(bytes(324) + base64.b64decode(header["payload"]))}
    layer.tar_split = [header, file, second, file, end]
    entry = layer.toc["entries"][0]
    layer.toc["entries"] = [entry, {**entry, "offset": 3, "endOffset": 4}]
    assert layer.pack().prove().why_full == "file: the layer has more than one entry for this path"


# tar-split


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

    assert "the tar-split data goes on when the tar stream has ended" in tampered("trailing", tamper)


def test_a_longer_last_segment_is_found() -> None:
    def tamper(layer: Layer) -> None:
        last = layer.tar_split[-1]
        last["payload"] = encoded(base64.b64decode(last["payload"]) + b"!")

    assert "the tar-split data goes on when the tar stream has ended" in tampered("trailing", tamper)


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


# The blob


def test_a_truncated_blob_is_found() -> None:
    packed = Packed.load("kinds")
    for size in range(0, len(packed.blob), 7):
        cut = replace(packed, blob=packed.blob[:size], sections=_sections(packed))
        assert "the blob ends after " in refused(cut)


def test_trailing_data_is_found() -> None:
    packed = Packed.load("kinds")
    longer = replace(packed, blob=packed.blob + b"\0", sections=_sections(packed))
    assert refused(longer) == f"the blob is larger than the {len(packed.blob)} bytes its descriptor says"


def test_trailing_data_that_the_descriptor_knows_of_is_found() -> None:
    packed = Packed.load("kinds")
    longer = packed.signed(packed.blob + packed.blob[-72:])
    with pytest.raises(VerificationFailed, match="do not describe the end of a blob of 2562 bytes"):
        longer.prove()


def test_another_digest_of_the_blob_is_found() -> None:
    packed = Packed.load("kinds")
    other = replace(packed, layer=replace(packed.layer, digest=Digest.of(b"x")))
    assert refused(other) == f"the blob has the digest {packed.layer.digest} and not {Digest.of(b'x')}"


def test_every_single_changed_byte_is_found() -> None:
    packed = Packed.load("half-end")
    for at in range(len(packed.blob)):
        blob = bytearray(packed.blob)
        blob[at] ^= 0x55
        refused(replace(packed, blob=bytes(blob), sections=_sections(packed)))
        refused(replace(packed, blob=bytes(blob)))


def test_every_single_changed_byte_is_found_in_a_blob_that_is_signed_again() -> None:
    packed = Packed.load("half-end")
    proven = 0
    for at in range(len(packed.blob)):
        blob = bytearray(packed.blob)
        blob[at] ^= 0x55
        changed = packed.signed(bytes(blob))
        try:
            changed.prove()
        except VerificationFailed:
            continue
        # The stream is what it was: frames can be written in more than one way.
        proven += 1
    assert proven < 10


def test_another_table_in_the_blob_than_was_fetched_is_found() -> None:
    packed, other = Layer.load("kinds").pack(), Layer.load("pax").pack()
    toc, tar_split = _sections(packed)
    foreign = _sections(other)
    assert "the table of contents has the digest" in refused(replace(packed, sections=(toc[::-1], tar_split)))
    assert "bytes were fetched at offset" in refused(replace(packed, sections=(foreign[0], tar_split)))
    assert "bytes were fetched at offset" in refused(replace(packed, sections=(toc, foreign[1])))
    assert "the tar-split data " in refused(replace(packed, sections=(toc, tar_split[::-1])))


def _sections(packed: Packed) -> tuple[bytes, bytes]:
    from recompress.layer.layout import Layout

    layout = Layout.of(packed.layer)
    return packed.section(layout.toc), packed.section(layout.tar_split)


def test_another_section_of_the_blob_than_was_fetched_is_found() -> None:
    packed = Layer.load("kinds").pack()
    sections = _sections(packed)
    for section, name in zip(sections, ("table of contents", "tar-split data"), strict=True):
        at = packed.blob.index(section)
        changed = packed.blob[: at + 9] + b"\xff" + packed.blob[at + 10 :]
        assert f"the {name} in the blob has the digest" in refused(
            replace(packed.signed(changed), sections=sections)
        )


@pytest.mark.parametrize("position", range(8))
def test_a_footer_that_says_something_else_is_found(position: int) -> None:
    def footer(right: bytes) -> bytes:
        return right[: 8 * position] + bytes([right[8 * position] ^ 1]) + right[8 * position + 1 :]

    assert "the footer in the blob is " in refused(Layer.load("kinds").pack(footer=footer))


def test_another_kind_of_frame_around_a_section_is_found() -> None:
    packed = Layer.load("kinds").pack()
    sections = _sections(packed)
    for section, message in zip(sections, ("table of contents", "tar-split data"), strict=True):
        at = packed.blob.index(section) - 8
        changed = packed.blob[:at] + b"\x51" + packed.blob[at + 1 :]
        assert f"the frame header of the {message} in the blob is " in refused(packed.signed(changed))
