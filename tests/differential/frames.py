"""Ways to compress a frame of a layer: right ones that skopeo does not take, odd ones, and wrong ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from recompress.layer.compat import zstd
from tests.tampering import compress, skippable, small_window


def compressors(dice: random.Random) -> list[Callable[[bytes], bytes]]:
    """All ways; where a bit is wrong, it is one by chance."""
    at, bit = dice.random(), dice.randrange(8)
    return [
        lambda frame: _with(frame, checksum_flag=1),
        lambda frame: _with(frame, content_size_flag=0),
        lambda frame: _with(frame, compression_level=19),
        lambda frame: _with(frame, compression_level=-5),
        lambda frame: _with(frame, window_log=27, content_size_flag=0),
        lambda frame: _with(frame, window_log=24, content_size_flag=0),
        lambda frame: _with(frame, enable_long_distance_matching=1, window_log=27, content_size_flag=0),
        small_window,
        lambda frame: compress(frame) + compress(b""),
        lambda frame: compress(b"") + compress(frame),
        lambda frame: compress(b"") * 3 + compress(frame),
        lambda frame: compress(frame[: int(at * len(frame))]) + compress(frame[int(at * len(frame)) :]),
        lambda frame: skippable(b"x") + compress(frame),
        lambda frame: compress(frame) + skippable(b""),
        lambda frame: compress(frame) + b"\0",
        lambda frame: compress(frame)[:-1],
        lambda frame: _blocks(frame, 100),
        lambda frame: _blocks(frame, 128 * 1024),
        lambda frame: _blocks(frame, 128 * 1024 + 1),
        lambda frame: _blocks(frame, 100, last_is_empty=True),
        lambda frame: _blocks(frame, 100, size=len(frame) + 1),
        lambda frame: _blocks(frame, 100, window=0),
        lambda frame: _blocks(frame, 100, descriptor=0x18),
        *[lambda frame: flipped(compress(frame), at, bit)] * 4,
        *[lambda frame: flipped(_with(frame, compression_level=19), at, bit)] * 2,
        *[lambda frame: flipped(_blocks(frame, 1000), at, bit)] * 2,
    ]


def _with(content: bytes, **parameters: int) -> bytes:
    options = {int(getattr(zstd.CompressionParameter, name)): value for name, value in parameters.items()}
    return zstd.compress(content, options=options)


def flipped(data: bytes, at: float, bit: int) -> bytes:
    """With one bit changed, at that part of it."""
    changed = bytearray(data)
    changed[int(at * len(changed))] ^= 1 << bit
    return bytes(changed)


def _blocks(
    content: bytes,
    length: int,
    *,
    last_is_empty: bool = False,
    size: int | None = None,
    window: int = 0x98,
    descriptor: int = 0,
) -> bytes:
    """A frame of blocks that are not compressed, or of one byte many times (RFC 8878, 3.1.1.2)."""
    pieces = [content[at : at + length] for at in range(0, len(content), length)] or [b""]
    if last_is_empty:
        pieces.append(b"")
    blocks = []
    for number, piece in enumerate(pieces):
        is_one_byte = len(piece) > 1 and piece == piece[:1] * len(piece)
        header = len(piece) << 3 | int(is_one_byte) << 1 | int(number == len(pieces) - 1)
        blocks.append(header.to_bytes(3, "little") + (piece[:1] if is_one_byte else piece))
    if size is not None:
        # With the size of the content in 4 bytes, and a window.
        return b"\x28\xb5\x2f\xfd\x80" + bytes([window]) + struct.pack("<I", size) + b"".join(blocks)
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor, window]) + b"".join(blocks)
