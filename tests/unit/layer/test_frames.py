"""Frames from untrusted bytes: boundaries, limits, bombs."""

from __future__ import annotations

import contextlib
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.compat import zstd
from recompress.layer.frames import PIECE, Blob, Frames, decompressed
from recompress.reference import Digest
from tests.tampering import skippable


def frames(data: bytes, end: int | None = None, limit: int = 1 << 40, chunk: int = 1000) -> Frames:
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    return Frames(Blob(chunks, len(data)), len(data) if end is None else end, limit)


def read_all(reader: Frames) -> bytes:
    parts = []
    while data := reader.read(PIECE):
        parts.append(data)
    return b"".join(parts)


def few_are_empty(contents: list[bytes]) -> bool:
    return not any(contents[at : at + 3] == [b""] * 3 for at in range(len(contents)))


@given(st.lists(st.binary(max_size=3000)).filter(few_are_empty), st.integers(1, 5000))
def test_the_stream_is_what_all_frames_hold(contents: list[bytes], chunk: int) -> None:
    data = b"".join(zstd.compress(content) for content in contents)
    reader = frames(data, chunk=chunk)
    assert read_all(reader) == b"".join(contents)
    assert reader.digest == Digest.of(b"".join(contents))
    assert reader.decompressed == sum(map(len, contents))
    assert reader.frame_offset() == len(data)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1), st.integers(1, 70))
def test_no_read_goes_beyond_a_frame_and_its_end_is_known(contents: list[bytes], limit: int) -> None:
    compressed = [zstd.compress(content) for content in contents]
    reader = frames(b"".join(compressed), chunk=7)
    offset = 0
    for content, frame in zip(contents, compressed, strict=True):
        assert reader.frame_offset() == offset
        got = b""
        while len(got) < len(content):
            assert not got or reader.frame_offset() is None
            data = reader.read(limit)
            assert 0 < len(data) <= limit
            got += data
        assert got == content
        offset += len(frame)
    assert reader.frame_offset() == offset


@given(st.lists(st.binary(max_size=40)).filter(few_are_empty), st.lists(st.integers(1, 60)))
def test_reading_exactly_crosses_frames(contents: list[bytes], counts: list[int]) -> None:
    stream = io.BytesIO(b"".join(contents))
    reader = frames(b"".join(zstd.compress(content) for content in contents))
    for count in counts:
        assert reader.read_exactly(count) == stream.read(count)


def test_a_frame_of_many_pieces_is_read_in_bounded_memory() -> None:
    content = bytes(64 * PIECE)
    data = zstd.compress(content)
    reader = frames(data)
    tracemalloc.start()
    try:
        size = 0
        while piece := reader.read(PIECE):
            size += len(piece)
        assert size == len(content)
        assert tracemalloc.get_traced_memory()[1] < 8 * PIECE
    finally:
        tracemalloc.stop()


def test_a_bomb_is_stopped_at_the_limit() -> None:
    reader = frames(zstd.compress(bytes(100 * PIECE)), limit=2 * PIECE)
    with pytest.raises(VerificationFailed, match=f"more than the allowed {2 * PIECE} bytes"):
        read_all(reader)
    assert reader.decompressed <= 3 * PIECE


def test_exactly_the_limit_is_allowed() -> None:
    assert len(read_all(frames(zstd.compress(bytes(1000)), limit=1000))) == 1000


def test_a_large_window_is_refused() -> None:
    options: dict[int, int] = {int(zstd.CompressionParameter.window_log): 27}
    compressor = zstd.ZstdCompressor(options=options)
    data = (
        compressor.compress(b"abc") + compressor.flush(zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()
    )
    with pytest.raises(VerificationFailed, match="the zstd frame at offset 0 cannot be read"):
        read_all(frames(data))


def test_a_dictionary_is_refused() -> None:
    dictionary = zstd.train_dict([b"some words here %d" % n for n in range(2000)], 1000)
    data = zstd.compress(b"some words here 5", zstd_dict=dictionary)
    with pytest.raises(VerificationFailed, match="the zstd frame at offset 0 cannot be read"):
        read_all(frames(data))


@pytest.mark.parametrize(
    "between", [skippable(b""), skippable(b"x" * 100), b"\0", b"\x28\xb5", zstd.compress(b"x")[1:]]
)
def test_anything_but_a_frame_is_refused(between: bytes) -> None:
    first = zstd.compress(b"first")
    with pytest.raises(VerificationFailed, match=f"there is no zstd frame at offset {len(first)}"):
        read_all(frames(first + between + zstd.compress(b"second")))


def test_a_frame_that_goes_beyond_the_end_is_refused() -> None:
    data = zstd.compress(bytes(range(256)) * 9)
    for end in range(4, len(data)):
        with pytest.raises(VerificationFailed, match="the zstd frame at offset 0 has no end"):
            read_all(frames(data, end=end))


def test_a_damaged_frame_is_refused() -> None:
    damaged = zstd.compress(b"x")[:4] + b"\xff" * 50
    with pytest.raises(VerificationFailed, match="the zstd frame at offset 0 cannot be read"):
        read_all(frames(damaged))


def test_a_wrong_checksum_of_a_frame_is_refused() -> None:
    options: dict[int, int] = {int(zstd.CompressionParameter.checksum_flag): 1}
    data = bytearray(zstd.compress(b"abc", options=options))
    data[-1] ^= 1
    reader = frames(bytes(data))
    with pytest.raises(VerificationFailed, match="cannot be read"):
        read_all(reader)


@pytest.mark.parametrize("behind", [b"", b"more"])
def test_two_empty_frames_in_a_row_are_read_and_no_third_one(behind: bytes) -> None:
    empty, more = zstd.compress(b""), zstd.compress(behind)
    two = zstd.compress(b"x") + 2 * empty
    assert read_all(frames(two)) == b"x"
    assert read_all(frames(2 * two + zstd.compress(b"y"))) == b"xxy"
    data = two + empty + more
    message = f"the zstd frame at offset {len(two)} is empty, like the 2 before it"
    with pytest.raises(VerificationFailed, match=message):
        read_all(frames(data))
    reader = frames(data)
    reader.read_exactly(1)
    with pytest.raises(VerificationFailed, match=message):
        reader.frame_offset(len(data))


def test_what_is_wrong_with_a_small_frame_is_said_in_the_words_of_the_standard_library() -> None:
    damaged = bytearray(zstd.compress(b"abcd" * 1000))
    damaged[-1] ^= 0xFF
    with pytest.raises(zstd.ZstdError) as expected:
        zstd.decompress(bytes(damaged))
    with pytest.raises(VerificationFailed) as caught:
        read_all(frames(bytes(damaged)))
    assert str(caught.value) == f"the zstd frame at offset 0 cannot be read: {expected.value}"


def test_a_blob_gives_no_byte_beyond_the_end_it_was_asked_for() -> None:
    blob = Blob([b"0123456789"], 10)
    assert bytes(blob.peek(1, 4)) == b"0123"
    blob.skip(3)
    assert bytes(blob.peek(8, 4)) == b"3"
    assert blob.offset == 3
    blob.skip(1)
    assert not blob.peek(1, 4)
    assert bytes(blob.peek(6, 10)) == b"456789"
    blob.skip(6)
    assert blob.finish() == Digest.of(b"0123456789")


def test_a_blob_takes_empty_chunks_as_nothing() -> None:
    blob = Blob([b"", b"ab", b"", b"c", b""], 3)
    assert bytes(blob.peek(3, 3)) == b"abc"
    blob.skip(3)
    assert blob.finish() == Digest.of(b"abc")


def test_a_blob_that_goes_on_behind_its_size_is_refused_in_the_end() -> None:
    # More than a blob reads ahead.
    chunk = bytes(1_000_000)
    blob = Blob([chunk, b"d"], len(chunk))
    blob.skip(len(blob.peek(len(chunk), len(chunk))))
    with pytest.raises(VerificationFailed, match="larger than the 1000000 bytes"):
        blob.finish()


def section(data: bytes, length: int) -> bytes:
    return b"".join(decompressed(io.BytesIO(data), length, "the data"))


@given(st.binary(max_size=5000))
def test_a_section_decompresses(content: bytes) -> None:
    assert section(zstd.compress(content), len(content)) == content


@pytest.mark.parametrize(
    ("data", "length", "message"),
    [
        (zstd.compress(b"abc"), 2, "the data is larger than the 2 bytes its annotation says"),
        (zstd.compress(b"abc"), 4, "the data is 3 bytes, but its annotation says 4"),
        (zstd.compress(b"abc") + b"x", 3, "the data is followed by something that does not belong to it"),
        (zstd.compress(b"abc") * 2, 6, "the data is 3 bytes, but its annotation says 6"),
        (zstd.compress(b"abc") + bytes(300_000), 3, "the data is followed by something"),
        (zstd.compress(b"abc")[:-1], 3, "the data is cut short"),
        (zstd.compress(b"abc")[:4], 3, "the data is cut short"),
        (b"", 0, "the data is not a zstd frame"),
        (b"abcdefghijkl", 3, "the data is not a zstd frame"),
        (skippable(b"x"), 0, "the data is not a zstd frame"),
        (zstd.compress(b"abc")[:4] + b"\xff" * 50, 3, "the data cannot be decompressed"),
        (zstd.compress(bytes(500 * PIECE)), 1000, "the data is larger than the 1000 bytes"),
    ],
)
def test_a_section_that_is_not_one_frame_of_that_size_is_refused(
    data: bytes, length: int, message: str
) -> None:
    with pytest.raises(VerificationFailed, match=message):
        section(data, length)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_garbage_makes_no_other_error(data: bytes, length: int) -> None:
    with contextlib.suppress(VerificationFailed):
        section(data, length)
    with contextlib.suppress(VerificationFailed):
        section(zstd.compress(b"x")[:4] + data, length)
    with contextlib.suppress(VerificationFailed):
        read_all(frames(data, limit=100_000))
    with contextlib.suppress(VerificationFailed):
        read_all(frames(zstd.compress(b"x")[:4] + data, limit=100_000))
