"""Matches that reach beyond the window of a zstd frame, which libzstd follows and clients do not."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.compat import zstd
from recompress.layer.frames import PIECE, Blob, Frames, decompressed
from recompress.layer.layout import Layout
from recompress.layer.sequences import LARGEST_HEADER, Walk, frame_header
from tests.tampering import Packed
from tests.unit.layer.test_proof import GOOD

Parameter = zstd.CompressionParameter
KIB = 1024


def content(seed: int, size: int) -> bytes:
    """What has literals, runs, words and copies from near and far."""
    random = Random(seed)
    words = [random.randbytes(random.randint(2, 9)) for _ in range(random.choice([3, 30, 300]))]
    made = bytearray(random.randbytes(4))
    while len(made) < size:
        at = random.randrange(len(made))
        choices = (
            random.randbytes(random.randint(1, 500)),
            bytes([random.randrange(256)]) * random.randint(1, 2000),
            b"".join(random.choices(words, k=random.randint(1, 200))),
            bytes(made[at : at + random.randint(3, 2000)]),
        )
        made += random.choice(choices)
    return bytes(made[:size])


def compress(*parts: bytes, **parameters: int) -> bytes:
    """One frame, a block for each part, with its window in the header and not the length of its content."""
    # Without these it would clear many megabytes of tables first.
    parameters = {"hash_log": 14, "chain_log": 14} | parameters
    options = {int(getattr(Parameter, name)): value for name, value in parameters.items()}
    compressor = zstd.ZstdCompressor(options=options)
    blocks = [compressor.compress(part) + compressor.flush(compressor.FLUSH_BLOCK) for part in parts[:-1]]
    return b"".join(blocks) + compressor.compress(parts[-1]) + compressor.flush()


def descriptor(window: int) -> bytes:
    """The byte that stands for a window of that many bytes: a power of two and up to seven eighths of it."""
    exponent = window.bit_length() - 11
    return bytes([exponent << 3 | (window >> exponent + 7) - 8])


def promise(frame: bytes, window: int) -> bytes:
    """The same frame with another window."""
    assert not frame[4] & 0x20
    return frame[:5] + descriptor(window) + frame[6:]


def followed(frame: bytes, window: int | None = None, piece: int = PIECE) -> int:
    header_length, promised, _ = frame_header(frame[:LARGEST_HEADER])
    walk = Walk(header_length, window or promised)
    for at in range(0, len(frame), piece):
        walk.feed(frame[at : at + piece])
    return walk.followed


def read(frame: bytes, chunk: int = PIECE) -> bytes:
    chunks = (frame[at : at + chunk] for at in range(0, len(frame), chunk))
    reader = Frames(Blob(chunks, len(frame)), len(frame), 1 << 30)
    return b"".join(iter(lambda: reader.read(PIECE), b""))


def section(frame: bytes, length: int) -> bytes:
    return b"".join(decompressed(io.BytesIO(frame), length, "the data"))


def real_frames(name: str) -> Iterator[bytes]:
    """The frames of a layer that skopeo made, and those of its table and its tar-split data."""
    packed = Packed.load(name)
    layout = Layout.of(packed.layer)
    at = 0
    while at < layout.content_end:
        size = zstd.get_frame_size(packed.blob[at : layout.content_end])
        yield packed.blob[at : at + size]
        at += size
    yield packed.section(layout.toc)
    yield packed.section(layout.tar_split)


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(KIB, 50 * KIB),
    window_log=st.integers(10, 15),
    level=st.sampled_from([-20, -1, 1, 3, 5, 7, 9, 12, 16, 19, 22]),
    piece=st.sampled_from([100, 5000, PIECE]),
)
def test_all_content_of_a_frame_longer_than_its_window_is_followed(
    seed: int, size: int, window_log: int, level: int, piece: int
) -> None:
    data = content(seed, size)
    frame = compress(data, window_log=window_log, compression_level=level)
    assert followed(frame, piece=piece) == size
    assert read(frame, 1 + piece) == data
    assert section(frame, size) == data


@pytest.mark.parametrize("strategy", range(1, 10))
@pytest.mark.parametrize("window", [KIB, 64 * KIB, 128 * KIB, 1024 * KIB])
def test_a_long_frame_of_libzstd_is_read_whatever_its_strategy(strategy: int, window: int) -> None:
    data = content(strategy, window + 300 * KIB)
    frame = compress(data, strategy=strategy, window_log=window.bit_length() - 1, checksum_flag=1)
    assert frame_header(frame)[1] == window
    assert read(frame, 50_000) == data
    assert section(frame, len(data)) == data


@pytest.mark.parametrize("name", GOOD)
def test_the_frames_of_skopeo_are_followed_to_their_end(name: str) -> None:
    for frame in real_frames(name):
        size = len(zstd.decompress(frame))
        if size < 128 * KIB:
            assert followed(frame, max(size, KIB)) == size
        followed(frame)


@pytest.mark.parametrize("window", [KIB, 64 * KIB, 128 * KIB, 1024 * KIB])
@pytest.mark.parametrize("chunk", [100, PIECE])
def test_a_match_may_reach_to_the_edge_of_the_window_and_no_further(window: int, chunk: int) -> None:
    start = Random(1).randbytes(window)
    inside = promise(compress(start, start[:999], window_log=23), window)
    beyond = promise(compress(start, b"." + start[:999], window_log=23), window)
    assert read(inside, chunk) == section(inside, window + 999) == start + start[:999]
    assert zstd.decompress(beyond) == start + b"." + start[:999]
    message = f"it goes {window + 1} bytes back, but its window has {window} bytes"
    with pytest.raises(VerificationFailed, match=f"the zstd frame at offset 0 cannot be read: {message}"):
        read(beyond, chunk)
    with pytest.raises(VerificationFailed, match=f"the data cannot be decompressed: {message}"):
        section(beyond, window + 1000)


def handmade(window: int, *blocks: tuple[int, int, bytes], size: int) -> bytes:
    """A frame that says it has `size` bytes. A block is its type, the size in its header, and its bytes."""
    frame = b"\x28\xb5\x2f\xfd\x80" + descriptor(window) + size.to_bytes(4, "little")
    for number, (kind, length, data) in enumerate(blocks, 1):
        frame += (length << 3 | kind << 1 | (number == len(blocks))).to_bytes(3, "little") + data
    return frame


RAW, RLE, COMPRESSED = range(3)
# 16 literals, which are one byte, and a match of 2,048 bytes from 1 byte back. Each table is a single code:
# 16 and a bit to add, 2 and two bits, 46 and the ten bits that make 2,048 of 1,027.
LITERALS = bytes([16 << 3 | RLE]) + b"x"
SEQUENCE = bytes([1, 0b01_01_01_00, 16, 2, 46]) + (1 << 13 | (2048 - 1027) << 1).to_bytes(2, "little")


@pytest.mark.parametrize(
    "block",
    [(RAW, 2064, b"x" * 2064), (RLE, 2064, b"x"), (COMPRESSED, 9, LITERALS + SEQUENCE)],
)
def test_a_block_larger_than_the_window_is_refused(block: tuple[int, int, bytes]) -> None:
    fits = handmade(4096, block, size=2064)
    assert read(fits) == section(fits, 2064) == b"x" * 2064
    assert followed(fits) == 2064
    frame = handmade(2048, block, size=2064)
    assert zstd.decompress(frame) == b"x" * 2064
    with pytest.raises(VerificationFailed, match="it has a block that is larger than 2048 bytes"):
        read(frame)
    with pytest.raises(VerificationFailed, match="it has a block that is larger than 2048 bytes"):
        section(frame, 2064)


@pytest.mark.parametrize("distance", [131_072, 131_073])
def test_a_block_is_followed_if_its_codes_can_express_more_than_the_window(distance: int) -> None:
    """Its only code for distances is 17, with 17 bits to add: 131,069 to 262,140 bytes back."""
    stream = (1 << 17 | distance - 131_069).to_bytes(3, "little")
    sequences = bytes([0, 1, 0b01_01_01_00, 0, 17, 0]) + stream
    start = Random(2).randbytes(131_073)
    blocks = (RAW, 131_072, start[:-1]), (RAW, 1, start[-1:]), (COMPRESSED, len(sequences), sequences)
    frame = handmade(128 * KIB, *blocks, size=131_076)
    assert zstd.decompress(frame) == start + start[-distance:][:3]
    if distance > 128 * KIB:
        with pytest.raises(VerificationFailed, match=f"it goes {distance} bytes back"):
            read(frame)
    else:
        assert len(read(frame)) == 131_076


def test_a_block_may_have_more_sequences_than_two_bytes_can_count() -> None:
    """Each copies three bytes, by turns from four bytes and from one byte back, and takes no bits at all."""
    count = 0x7F00 + 88
    sequences = bytes([0, 255, 88, 0, 0b01_01_01_00, 0, 0, 0, 1])
    size = 8 + 3 * count
    frame = handmade(96 * KIB, (RAW, 8, b"abcdefgh"), (COMPRESSED, len(sequences), sequences), size=size)
    assert read(frame) == section(frame, size) == zstd.decompress(frame)
    assert followed(frame) == size


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (bytes([0, 1, 0b01_01_01_00, 0, 31, 0, 1]), "a block of it is malformed"),
        (bytes([0, 1, 0b01_01_01_00, 0, 5, 0, 1]), "a block of it is malformed"),
        (bytes([0, 1, 0b10_01_01_00, 15, 0, 0, 0, 1]), "a table of it is malformed"),
        (bytes([0, 1]), "a block of it is malformed"),
        (b"", "a block of it is malformed"),
    ],
)
def test_a_malformed_block_is_refused_before_a_decoder_comes_to_it(sequences: bytes, message: str) -> None:
    frame = handmade(KIB, (COMPRESSED, len(sequences), sequences), size=10)
    with pytest.raises(zstd.ZstdError, match=message):
        followed(frame)


def test_a_content_of_another_length_than_the_header_says_is_refused() -> None:
    frame = handmade(4096, (RAW, 3, b"abc"), (RAW, 0, b""), size=100_000)
    assert zstd.decompress(frame) == b"abc"
    with pytest.raises(VerificationFailed, match="it has 3 bytes, but its header says 100000"):
        read(frame)
    with pytest.raises(
        VerificationFailed, match="the data is 3 bytes, but the header of its frame says 100000"
    ):
        section(frame, 3)


def test_a_short_frame_with_a_large_window_is_refused() -> None:
    frame = handmade(1 << 30, (RAW, 3, b"abc"), size=3)
    assert zstd.decompress(frame) == b"abc"
    with pytest.raises(VerificationFailed, match=f"its window of {1 << 30} bytes is too large"):
        read(frame)
    with pytest.raises(VerificationFailed, match=f"its window of {1 << 30} bytes is too large"):
        section(frame, 3)


@given(
    st.integers(0, 2**32), st.integers(10, 17), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)))
)
def test_a_walk_through_damaged_bytes_makes_no_other_error(
    seed: int, window_log: int, damage: list[tuple[float, bytes]]
) -> None:
    frame = bytearray(compress(content(seed, 20 * KIB), window_log=window_log))
    for place, data in damage:
        at = 5 + int(place * (len(frame) - 6))
        frame[at : at + len(data)] = data
    with contextlib.suppress(zstd.ZstdError):
        followed(bytes(frame))
