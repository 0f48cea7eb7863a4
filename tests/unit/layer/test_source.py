"""Why a layer of a source has no twin: each reason is found and named, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import Unavailable, Unsupported, VerificationFailed
from recompress.layer import check_source, uncompressed_digest
from recompress.layer.compat import zstd
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest
from tests.data.make_layers import END, archive, file, header, info
from tests.odd_layers import ODD_LAYERS, OddLayer

LARGE = 32 * 2**20
LITTLE = LARGE // 4


def descriptor(blob: bytes) -> Descriptor:
    return Descriptor(MediaType.OCI_LAYER_GZIP, Digest.of(blob), len(blob))


def pieces(blob: bytes, size: int) -> Iterator[bytes]:
    return (blob[at : at + size] for at in range(0, len(blob), size))


def reason(layer: OddLayer, size: int = 4096, limit: int = 2**30) -> str | None:
    """The reason that is found, which has to name the layer, or None."""
    message = None
    try:
        check_source(pieces(layer.blob, size), descriptor(layer.blob), Digest.of(layer.tar), limit)
    except Unsupported as error:
        message = str(error)
    if message is None:
        return None
    start = f"layer {Digest.of(layer.blob)}: "
    assert message.startswith(start)
    assert "\n" not in message
    return message.removeprefix(start)


def peak(layer: OddLayer) -> int:
    """The most bytes of memory that were in use at once."""
    arguments = pieces(layer.blob, 2**20), descriptor(layer.blob), Digest.of(layer.tar)
    tracemalloc.start()
    try:
        with contextlib.suppress(Unsupported):
            check_source(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ODD_LAYERS)
def test_the_reason_is_found_or_there_is_none(name: str) -> None:
    assert reason(ODD_LAYERS[name]) == ODD_LAYERS[name].reason


@pytest.mark.parametrize("name", ODD_LAYERS)
@pytest.mark.parametrize("size", [1, 7, 2**20])
def test_the_size_of_the_pieces_does_not_matter(name: str, size: int) -> None:
    layer = ODD_LAYERS[name]
    if size > 1 or len(layer.blob) < 10_000:
        assert reason(layer, size) == layer.reason


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("name", ["file", "a and a", "global PAX header", "the content lacks a byte", "text"])
def test_another_diff_id_is_said_before_any_reason(name: str, size: int) -> None:
    layer = ODD_LAYERS.get(name) or OddLayer(file(), gzip.compress(file()))
    other = Digest.of(b"another layer")
    with pytest.raises(VerificationFailed) as caught:
        check_source(pieces(layer.blob, size), descriptor(layer.blob), other)
    assert str(caught.value) == (
        f"layer {Digest.of(layer.blob)}: it decompresses to {Digest.of(layer.tar)}, "
        f"but the image's config says {other}: the image is damaged or was tampered with"
    )


def test_a_diff_id_cannot_be_wrong_where_the_stream_cannot_be_read() -> None:
    layer = ODD_LAYERS["gzip with a wrong checksum"]
    with pytest.raises(Unsupported, match="incorrect data check"):
        check_source([layer.blob], descriptor(layer.blob), Digest.of(b"another layer"))


@pytest.mark.parametrize("name", ["uncompressed", "junk behind gzip", "gzip with damaged content", "a and a"])
@pytest.mark.parametrize("change", ["damaged", "cut", "longer", "endless"])
def test_another_blob_than_the_descriptor_says_is_found_before_anything_else(name: str, change: str) -> None:
    blob = ODD_LAYERS[name].blob

    def chunks() -> Iterator[bytes]:
        yield bytes([blob[0], blob[1] ^ 1]) if change == "damaged" else blob[:2]
        yield blob[2:-1]
        if change != "cut":
            yield blob[-1:]
        if change == "longer":
            yield b"\0"
        while change == "endless":
            yield bytes(1000)

    with pytest.raises(VerificationFailed) as caught:
        check_source(chunks(), descriptor(blob), Digest.of(ODD_LAYERS[name].tar))
    assert str(caught.value).startswith(
        f"layer {Digest.of(blob)}: its descriptor says {len(blob)} bytes, but what was read of it is "
    )


def test_a_blob_longer_than_its_descriptor_says_is_found_where_its_digest_is_right() -> None:
    blob = gzip.compress(file())
    lying = Descriptor(MediaType.OCI_LAYER_GZIP, Digest.of(blob), len(blob) - 1)
    with pytest.raises(VerificationFailed, match="its descriptor says"):
        check_source([blob], lying, Digest.of(file()))


def test_what_the_registry_fails_with_stays_what_it_is() -> None:
    failure = Unavailable("connection lost", temporary=True, retry_after=5)
    blob = gzip.compress(file())

    def chunks() -> Iterator[bytes]:
        yield blob[:20]
        raise failure

    with pytest.raises(Unavailable) as caught:
        check_source(chunks(), descriptor(blob), Digest.of(file()))
    assert caught.value is failure


def test_the_first_reason_in_the_stream_is_said() -> None:
    late = info("late", mtime=0, pax_headers={"mtime": "253402300800"})
    tar = archive(tarfile.PAX_FORMAT, (info("a"), b""), (info("a"), b""), (late, b""))
    assert reason(OddLayer(tar, gzip.compress(tar))) == "a: the layer has more than one entry for this path"


def test_a_path_is_found_again_after_many_others() -> None:
    others = [(info(f"usr/share/doc/package-{number}"), b"x") for number in range(2000)]
    tar = archive(tarfile.USTAR_FORMAT, *others, (info("./usr/share/doc/package-7"), b"y"))
    assert reason(OddLayer(tar, gzip.compress(tar, 1))) == (
        "./usr/share/doc/package-7: the layer has more than one entry for this path"
    )
    assert reason(OddLayer(tar[:-2048], gzip.compress(tar[:-2048], 1))) is None


def test_a_path_is_shown_on_one_line() -> None:
    tar = archive(tarfile.USTAR_FORMAT, (info("a\nb"), b""), (info("a\nb"), b""))
    assert (
        reason(OddLayer(tar, gzip.compress(tar))) == r"a\nb: the layer has more than one entry for this path"
    )


def test_a_gzip_member_for_each_part_of_a_file_is_read() -> None:
    tar = archive(tarfile.USTAR_FORMAT, (info("file"), b"0123456789abcdef" * 50_000))
    blob = b"".join(gzip.compress(part) for part in pieces(tar, 1000))
    assert reason(OddLayer(tar, blob), 100_000) is None


@pytest.mark.parametrize(
    ("window_log", "expected"),
    [(27, None), (28, "its zstd stream cannot be read: Frame requires too much memory for decoding")],
)
def test_a_zstd_window_of_128_mib_is_read_and_no_larger_one(window_log: int, expected: str | None) -> None:
    # RFC 8878: a frame of one raw block, without its size and a checksum.
    block_header = (1 + (len(file()) << 3)).to_bytes(3, "little")
    blob = b"\x28\xb5\x2f\xfd\0" + bytes([window_log - 10 << 3]) + block_header + file()
    assert reason(OddLayer(file(), blob)) == expected


@pytest.mark.parametrize("limit", [len(file()), len(file()) - 1])
@pytest.mark.parametrize("name", ["uncompressed", "zstd", "two gzip members"])
def test_no_more_than_the_limit_is_decompressed(name: str, limit: int) -> None:
    allowed = limit == len(file())
    assert reason(ODD_LAYERS[name], limit=limit) == (
        None if allowed else f"it decompresses to more than the allowed {limit} bytes"
    )


BOMBS = {
    "content": header(b"zeros", size=LARGE) + bytes(LARGE) + END,
    "what is behind the archive": file() + bytes(LARGE),
    "entries of one name": header(b"name") * (LARGE // 512),
    "an extended header": header(b"meta", kind=b"x", size=LARGE) + bytes(LARGE),
    "extended headers": (header(b"meta", kind=b"L", size=2**20) + bytes(2**20)) * (LARGE // 2**20),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_bomb_takes_little_memory(kind: str, pack: Callable[[bytes, int], bytes]) -> None:
    layer = OddLayer(BOMBS[kind], pack(BOMBS[kind], 6))
    assert len(layer.blob) < LARGE // 100
    assert peak(layer) < LITTLE


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_many_empty_members_take_little_memory(pack: Callable[[bytes], bytes]) -> None:
    layer = OddLayer(file(), pack(file()) + 5000 * pack(b""))
    assert peak(layer) < LITTLE
    assert reason(layer, 100_000) is None


@given(
    st.binary(max_size=300), st.sampled_from([b"", gzip.compress(file()), zstd.compress(file())]), st.data()
)
def test_garbage_makes_no_other_error(garbage: bytes, good: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good)))
    for blob in (garbage, good[:at] + garbage, good[:at] + garbage + good[at:]):
        with contextlib.suppress(Unsupported, VerificationFailed):
            check_source(pieces(blob, 50), descriptor(blob), Digest.of(file()))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_a_blob_is_known_by_what_it_decompresses_to(pack: Callable[[bytes], bytes], size: int) -> None:
    content = b"content" * 30_000
    blob = pack(content[:100_000]) + pack(content[100_000:])
    chunks = [blob[at : at + size] for at in range(0, len(blob), size)]
    assert uncompressed_digest(chunks, len(blob), len(content)) == Digest.of(content)
    with pytest.raises(Unsupported, match="more bytes than any twin"):
        uncompressed_digest(chunks, len(blob) - 1, len(content))
    with pytest.raises(Unsupported, match=f"more than the allowed {len(content) - 1} bytes"):
        uncompressed_digest(chunks, len(blob), len(content) - 1)
