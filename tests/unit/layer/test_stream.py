"""The proof of a layer by its tar stream alone, as clients read it that pull it in full.

The layers are those of skopeo, whole or without their tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from recompress.errors import VerificationFailed
from recompress.layer import FOOTER_BYTES, LayerProof, Layout, in_footer, prove_stream
from recompress.layer.layout import MAX_TOC_BYTES
from recompress.reference import Digest
from tests.data.make_layers import END, header
from tests.entries import directory, file, root
from tests.tampering import DESCRIBED, Layer, Packed, assemble, compress, skippable

PROVEN = sorted(DESCRIBED.keys() - {"no-bytes", "no-padding", "sparse-pax"})
BY_ITS_TABLES = "zeros-at-end"
"""Which layer has to be pulled in full for how its tar-split data are cut, which its stream cannot tell."""


def layout_of(packed: Packed) -> Layout:
    return Layout.of(packed.layer)


def plain(packed: Packed) -> Packed:
    """The layer without its tables and annotations."""
    cut = packed.signed(packed.blob[: layout_of(packed).content_end])
    return replace(cut, layer=replace(cut.layer, annotations={}))


def zstd_layer(*frames: bytes, diff_id: Digest | None = None) -> Packed:
    """A plain zstd layer of frames with these contents."""
    blob = b"".join(map(compress, frames))
    cut = replace(Packed.load("kinds"), diff_id=diff_id or Digest.of(b"".join(frames))).signed(blob)
    return replace(cut, layer=replace(cut.layer, annotations={}))


def proven(
    packed: Packed, layout: Layout | None = None, chunk: int = 1 << 20, limit: int = 1 << 30
) -> LayerProof:
    chunks = (packed.blob[at : at + chunk] for at in range(0, len(packed.blob), chunk))
    return prove_stream(packed.layer, packed.diff_id, chunks, layout, limit)


def refused(packed: Packed, layout: Layout | None = None, limit: int = 1 << 30) -> str:
    """The message, which has to name the layer."""
    with pytest.raises(VerificationFailed) as caught:
        proven(packed, layout, limit=limit)
    start, message = f"layer {packed.layer.digest}: ", str(caught.value)
    assert message.startswith(start)
    assert "\n" not in message
    return message.removeprefix(start)


# What is proven


@pytest.mark.parametrize("name", PROVEN)
def test_a_layer_without_tables_is_proven_by_its_stream_alone(name: str) -> None:
    packed = plain(Packed.load(name))
    whole = Packed.load(name).prove()
    proof = proven(packed)
    assert proof.entries == whole.entries
    assert proof.uncompressed_bytes == whole.uncompressed_bytes
    assert (proof.compressed_bytes, proof.chunks, proof.layout) == (len(packed.blob), 0, None)


@pytest.mark.parametrize("name", PROVEN)
def test_a_stream_has_the_same_verdict_with_its_tables_and_without_them(name: str) -> None:
    packed = Packed.load(name)
    whole, stream = packed.prove(), proven(plain(packed))
    assert whole.changes_root == stream.changes_root
    assert proven(packed, layout_of(packed)).why_full == stream.why_full
    if name == BY_ITS_TABLES:
        assert whole.why_full == "there are bytes behind the end of its archive that clients fail on"
        assert stream.why_full is None
    else:
        assert whole.why_full == stream.why_full


@pytest.mark.parametrize("name", PROVEN)
@pytest.mark.parametrize("chunk", [1, 13, 4096])
def test_the_size_of_the_chunks_of_the_blob_does_not_matter(name: str, chunk: int) -> None:
    packed = Packed.load(name)
    if chunk > 1 or len(packed.blob) < 10_000:
        assert proven(packed, layout_of(packed), chunk) == proven(packed, layout_of(packed))


def test_the_size_of_the_frames_does_not_matter() -> None:
    stream = Layer.load("kinds").stream
    whole = proven(zstd_layer(stream))
    cut = proven(zstd_layer(*(stream[at : at + 100] for at in range(0, len(stream), 100))))
    assert replace(cut, compressed_bytes=0) == replace(whole, compressed_bytes=0)


def test_what_a_layer_sets_the_root_to_is_told() -> None:
    assert proven(zstd_layer(root(b"/", mode=0o700) + END)).changes_root
    assert not proven(zstd_layer(root(b"./", mode=0o700) + END)).changes_root


def test_a_layer_without_entries_is_proven() -> None:
    proof = proven(zstd_layer(END))
    assert (proof.entries, proof.uncompressed_bytes, proof.why_full) == (0, 1024, None)


def test_bytes_behind_the_end_of_the_archive_are_part_of_the_stream() -> None:
    stream = directory("a") + file("a/b", b"content") + END
    assert proven(zstd_layer(stream, bytes(9000))).why_full is None
    assert (
        proven(zstd_layer(stream, bytes(9000), b"x")).why_full
        == "there are bytes behind the end of its archive"
    )


# Tables that clients do not read


def with_tables(toc_size: int | None = None, tar_split_size: int | None = None) -> Packed:
    """A good layer with tables that nobody can read, and their sizes as its annotations say."""
    stream = directory("a") + file("a/b", b"content") + END
    sizes = {"toc_size": toc_size, "tar_split_size": tar_split_size}
    return assemble(compress(stream), b"no table", b"nothing", Digest.of(stream), **sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sizes", [{"toc_size": MAX_TOC_BYTES + 1}, {"tar_split_size": 2**40 + 1}], ids=["table", "tar-split data"]
)
def test_a_layer_with_tables_too_large_for_clients_is_proven_without_reading_them(
    sizes: dict[str, int],
) -> None:
    packed = with_tables(**sizes)
    proof = proven(packed, layout_of(packed))
    assert proof.layout == layout_of(packed)
    assert re.fullmatch(r"its tables of \d+ and \d+ bytes are larger than clients read", proof.why_full or "")


def test_tables_that_clients_read_are_no_reason() -> None:
    packed = with_tables()
    assert proven(packed, layout_of(packed)).why_full is None


def test_a_reason_in_the_stream_is_told_before_that_of_large_tables() -> None:
    stream = file("a", mtime=-1) + END
    packed = assemble(compress(stream), b"", b"", Digest.of(stream), toc_size=MAX_TOC_BYTES + 1)
    assert proven(packed, layout_of(packed)).why_full == (
        "a: its modification time is before 1970 or after 2262"
    )


def test_tables_without_annotations_are_refused_where_none_are_expected() -> None:
    packed = Packed.load("kinds")
    assert refused(packed) == f"there is no zstd frame at offset {layout_of(packed).content_end}"


@pytest.mark.parametrize("at", ["toc_header", "tar_split_header", "footer"])
def test_tables_that_are_not_where_they_are_said_to_be_are_refused(at: str) -> None:
    packed = with_tables()
    layout = layout_of(packed)
    start = {
        "toc_header": layout.content_end,
        "tar_split_header": layout.toc.end,
        "footer": layout.tar_split.end,
    }[at]
    blob = bytearray(packed.blob)
    blob[start + 4] ^= 1
    message = refused(packed.signed(bytes(blob)), layout)
    assert re.search(r"the (frame header of the .*|footer) in the blob is [0-9a-f]+, but", message)


@pytest.mark.parametrize("name", PROVEN)
def test_annotations_made_from_the_footer_are_those_of_skopeo_and_prove_the_layer(name: str) -> None:
    packed = Packed.load(name)
    bare = replace(packed, layer=replace(packed.layer, annotations={}))
    sections = in_footer(bare.blob[-FOOTER_BYTES:], bare.layer.size)
    assert sections is not None
    toc, tar_split = sections
    layout = Layout(toc, Digest.of(bare.section(toc)), tar_split)
    made = replace(bare, layer=replace(bare.layer, annotations=layout.annotations))
    assert made.layer.annotations == packed.layer.annotations
    assert made.prove() == packed.prove()
    assert proven(bare, layout).layout == made.prove().layout


@pytest.mark.parametrize("name", PROVEN)
def test_a_layer_without_tables_has_no_footer(name: str) -> None:
    packed = plain(Packed.load(name))
    assert in_footer(packed.blob[-FOOTER_BYTES:], packed.layer.size) is None


# What is refused


def test_another_diff_id_is_refused() -> None:
    packed = replace(plain(Packed.load("kinds")), diff_id=Digest.of(b"another"))
    stream = Digest.of(Layer.load("kinds").stream)
    assert refused(packed) == f"the decompressed stream has the digest {stream} and not {packed.diff_id}"


@pytest.mark.parametrize("name", ["no-padding", "sparse-pax"])
def test_a_stream_that_skopeo_has_rewritten_is_refused(name: str) -> None:
    assert re.search(
        "has the digest|no zstd:chunked layer can hold a sparse file", refused(plain(Packed.load(name)))
    )


def test_another_blob_is_refused() -> None:
    good, other = plain(Packed.load("kinds")), Packed.load("kinds")
    packed = replace(good, layer=replace(good.layer, digest=other.layer.digest))
    assert refused(packed) == f"the blob has the digest {Digest.of(good.blob)} and not {other.layer.digest}"


@pytest.mark.parametrize("name", ["kinds", "deep"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_blob_that_is_cut_anywhere_is_refused(name: str, whole: bool) -> None:
    packed = Packed.load(name) if whole else plain(Packed.load(name))
    layout = layout_of(packed) if whole else None
    for size in range(0, len(packed.blob), 97 if name == "kinds" else 9973):
        cut = replace(packed, blob=packed.blob[:size])
        assert refused(cut, layout) == f"the blob ends after {size} of {len(packed.blob)} bytes"


def test_a_blob_that_is_cut_and_signed_is_refused() -> None:
    packed = plain(Packed.load("kinds"))
    for size in range(1, len(packed.blob), 7):
        refused(packed.signed(packed.blob[:size]))


@pytest.mark.parametrize("whole", [True, False])
def test_a_blob_that_goes_on_is_refused(whole: bool) -> None:
    packed = Packed.load("kinds") if whole else plain(Packed.load("kinds"))
    layout = layout_of(packed) if whole else None
    longer = replace(packed, blob=packed.blob + b"x")
    assert (
        refused(longer, layout) == f"the blob is larger than the {len(packed.blob)} bytes its descriptor says"
    )


@pytest.mark.parametrize("where", ["in front", "in the middle", "at the end"])
@pytest.mark.parametrize("magic", [b"\x50\x2a\x4d\x18", b"\x5f\x2a\x4d\x18"])
def test_a_skippable_frame_is_refused(where: str, magic: bytes) -> None:
    frames = [compress(part) for part in (directory("a"), file("a/b", b"content"), END)]
    at = {"in front": 0, "in the middle": 2, "at the end": 3}[where]
    frames.insert(at, magic + skippable(b"another table")[4:])
    offset = sum(map(len, frames[:at]))
    packed = zstd_layer(directory("a"), file("a/b", b"content"), END).signed(b"".join(frames))
    assert refused(packed) == f"there is no zstd frame at offset {offset}"


@pytest.mark.parametrize("junk", [b"x", b"\x1f\x8b\x08\0", bytes(100)])
def test_what_is_no_zstd_frame_is_refused(junk: bytes) -> None:
    packed = plain(Packed.load("kinds"))
    assert (
        refused(packed.signed(packed.blob + junk)) == f"there is no zstd frame at offset {len(packed.blob)}"
    )


def test_content_that_ends_before_its_size_is_refused() -> None:
    stream = header(b"file", size=1000) + b"x" * 400
    assert refused(zstd_layer(stream)) == "the tar stream ends 600 bytes before its content does"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([file("a"), b"x" * 512, END], id="a header that is none"),
        pytest.param([file("a"), bytes(512), file("b")], id="half an end"),
        pytest.param([file("a")[:-1]], id="half a header"),
    ],
)
def test_what_is_no_tar_stream_is_refused(frames: list[bytes]) -> None:
    assert re.search("tar header|tar stream", refused(zstd_layer(*frames)))


def large(size: int) -> Packed:
    return zstd_layer(header(b"bomb", size=size), *(bytes(1 << 20) for _ in range(size >> 20)), END)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: large(8 << 20), id="in a file"),
        pytest.param(lambda: zstd_layer(END, bytes(8 << 20)), id="behind the end"),
        pytest.param(lambda: zstd_layer(directory("a") * 9000), id="in headers"),
        pytest.param(lambda: zstd_layer(bytes(8 << 20)), id="in one frame"),
    ],
)
def test_a_layer_that_decompresses_to_more_than_is_allowed_is_refused(make: Callable[[], Packed]) -> None:
    message = f"it decompresses to more than the allowed {4 << 20} bytes"
    assert refused(make(), limit=4 << 20) == message


def test_a_layer_may_decompress_to_all_that_is_allowed() -> None:
    packed = large(2 << 20)
    assert proven(packed, limit=512 + (2 << 20) + 1024).uncompressed_bytes == 512 + (2 << 20) + 1024
    assert "more than the allowed" in refused(packed, limit=512 + (2 << 20) + 1023)
