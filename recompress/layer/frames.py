"""zstd frames, read one after the other from bytes that are not trusted.

The frame format is RFC 8878. A zstd:chunked layer is a sequence of frames, and a client that pulls a part of
it decompresses a range of them by themselves: where a frame begins and ends is part of what has to be proven.
Everything here works in bounded memory, whatever the frames claim.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor
from typing import BinaryIO, NamedTuple

import zstandard

from recompress.errors import VerificationFailed
from recompress.layer.compat import zstd
from recompress.layer.hashing import Sha256
from recompress.layer.sequences import LARGEST_HEADER, SMALLEST_FRAME, Walk, frame_header
from recompress.printable import counted
from recompress.reference import Digest

PIECE = 1024 * 1024
"""The most bytes that are decompressed at once."""

_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_READ_AHEAD = 256 * 1024

# Compressors put an empty frame behind a file that ends where a chunk does, and another one if the archive
# ends there too, without an end marker. A blob full of them would take hours to read.
_MOST_EMPTY_IN_A_ROW = 2


class Blob:
    """The compressed bytes of a layer in the order they arrive, counted and hashed.

    `chunks` may be of any size. `size` is what the descriptor says; any other number of bytes raises
    VerificationFailed. `offset` is where in the blob the next unread byte is. A `helper` does the hashing.
    """

    def __init__(self, chunks: Iterable[bytes], size: int, helper: Executor | None = None) -> None:
        self._chunks = iter(chunks)
        self._size = size
        self._received = 0
        self._sha256 = Sha256(helper)
        self._buffer = memoryview(b"")
        self._start = 0
        self.offset = 0

    def peek(self, want: int, end: int) -> memoryview:
        """At least `want` unread bytes, fewer only where `end` comes first, and none beyond `end`."""
        left = end - self.offset
        if self._received - self.offset < min(want, left):
            self._receive(min(want, left))
        return self._buffer[self._start : self._start + left]

    def skip(self, count: int) -> None:
        """Count bytes that `peek` returned as read; a negative number gives the last ones back."""
        self._start += count
        self.offset += count

    def finish(self) -> Digest:
        """The digest of all bytes, after the last one was read. There must be no more."""
        for chunk in self._chunks:
            self._count(chunk)
        return Digest(self._sha256.hexdigest())

    def _receive(self, want: int) -> None:
        # Small chunks are gathered, so that no byte is copied over and over while a frame is completed.
        parts: list[bytes | memoryview] = [self._buffer[self._start :]]
        available = len(parts[0])
        while available < max(want, _READ_AHEAD):
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._count(chunk)
            self._sha256.update(chunk)
            parts.append(chunk)
            available += len(chunk)
        self._buffer = memoryview(b"".join(parts))
        self._start = 0
        if available < want:
            raise VerificationFailed(f"the blob ends after {self._received} of {counted(self._size, 'byte')}")

    def _count(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._size:
            raise VerificationFailed(
                f"the blob is larger than the {counted(self._size, 'byte')} its descriptor says"
            )


class Piece(NamedTuple):
    """Decompressed bytes of one frame; `end` is the offset in the blob behind it where they are its last."""

    data: bytes
    end: int | None


class Frames:
    """The decompressed stream of the frames in `blob` up to the offset `end`.

    Every byte counts towards `digest` and `decompressed` as soon as it is there, and `limit` bounds how many
    there may be. All offsets and sizes are in bytes. Raises VerificationFailed for anything that is not a
    plain zstd frame: a skippable one among them could show a second table of contents to another reader.

    A `helper` does the hashing.
    """

    def __init__(self, blob: Blob, end: int, limit: int, helper: Executor | None = None) -> None:
        self._end = end
        self._decoder = _Decoder(blob, end, limit, helper)
        self._pieces = self._decoder.pieces()
        self._piece = b""
        self._at = 0
        # Where the next frame begins; None in the middle of one.
        self._offset: int | None = blob.offset

    @property
    def digest(self) -> Digest:
        """The digest of everything that was decompressed until now."""
        return Digest(self._decoder.sha256.hexdigest())

    @property
    def decompressed(self) -> int:
        """How many bytes were decompressed until now."""
        return self._decoder.decompressed

    def frame_offset(self, at_least: int = 0) -> int | None:
        """Where in the blob the next frame begins; None where the stream is in the middle of a frame.

        Frames without content that begin before `at_least` are passed over.
        """
        # The checksum at the end of a frame can be unread when its last byte has been read.
        while self._at == len(self._piece):
            if self._offset is not None and self._offset >= min(at_least, self._end):
                return self._offset
            self._advance()
        return None

    def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit`, of one frame; none only at the end of the last frame."""
        while self._at == len(self._piece):
            if not self._advance():
                return b""
        at = self._at
        piece = self._piece
        if at == 0 and len(piece) <= limit:
            self._at = len(piece)
            return piece
        self._at = min(at + limit, len(piece))
        return piece[at : self._at]

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes, across frames; fewer only at the end. For small counts."""
        data = self.read(count)
        if len(data) == count:
            return data
        parts = [data]
        missing = count - len(data)
        while data and missing:
            data = self.read(missing)
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def _advance(self) -> bool:
        """Go on to the next piece, if there is one."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._piece, self._offset = piece
        self._at = 0
        return True


class _Decoder:
    """The half of Frames that makes pieces of a blob, counted and hashed."""

    def __init__(self, blob: Blob, end: int, limit: int, helper: Executor | None) -> None:
        self._blob = blob
        self._end = end
        self._limit = limit
        self._context = zstandard.ZstdDecompressor()
        self._empty_in_a_row = 0
        self.sha256 = Sha256(helper)
        self.decompressed = 0

    def pieces(self) -> Generator[Piece]:
        """The frames in pieces, which may be empty; the last one of each says where it ends."""
        while (offset := self._blob.offset) < self._end:
            try:
                yield from self._frame(offset)
            except zstd.ZstdError as error:
                raise VerificationFailed(
                    f"the zstd frame at offset {offset} cannot be read: {error}"
                ) from None

    def _frame(self, offset: int) -> Generator[Piece]:
        data = self._blob.peek(_READ_AHEAD, self._end)
        start = bytes(data[:LARGEST_HEADER])
        if not start.startswith(_FRAME_MAGIC):
            raise VerificationFailed(f"there is no zstd frame at offset {offset}")
        if len(start) < SMALLEST_FRAME:
            raise _no_end(offset)
        header_length, window, content = frame_header(start)
        # Handing over the bytes of one frame alone saves copying back what belongs to the next ones.
        size = _frame_size(data)
        data = data[:size]
        if size and content and content <= min(window, PIECE) and (piece := self._whole(data)):
            self._take(size, piece)
            yield self._last(offset, piece, len(piece), content)
            return
        decompressor = zstd.ZstdDecompressor()
        piece = decompressor.decompress(data, PIECE)
        walk = None if decompressor.eof and len(piece) <= window else Walk(header_length, window)
        before = self.decompressed
        while True:
            used = len(data) - len(decompressor.unused_data)
            if walk is not None:
                walk.feed(data[:used])
            self._take(used, piece)
            if decompressor.eof:
                break
            yield Piece(piece, None)
            data = self._blob.peek(1, self._end) if decompressor.needs_input else memoryview(b"")
            if decompressor.needs_input and not data:
                raise _no_end(offset)
            piece = decompressor.decompress(data, PIECE)
        yield self._last(offset, piece, self.decompressed - before, content)

    def _whole(self, frame: memoryview) -> bytes | None:
        """What is in a small frame, as nearly all are; None for one that is damaged.

        The standard library makes a new decoder for each frame. For that libzstd asks the CPU what it can do,
        and in a virtual machine the answer takes longer than all of the decompression.
        """
        try:
            return self._context.decompress(frame)
        except zstandard.ZstdError:
            return None

    def _take(self, used: int, piece: bytes) -> None:
        """Count bytes of the blob as read, and what they decompress to."""
        self._blob.skip(used)
        self.sha256.update(piece)
        self.decompressed += len(piece)
        if self.decompressed > self._limit:
            raise VerificationFailed(f"it decompresses to more than the allowed {self._limit} bytes")

    def _last(self, offset: int, piece: bytes, found: int, promised: int | None) -> Piece:
        """The last piece of the frame at `offset`, which has `found` bytes."""
        if promised not in (None, found):
            raise zstd.ZstdError(f"it has {counted(found, 'byte')}, but its header says {promised}")
        self._empty_in_a_row = 0 if found else self._empty_in_a_row + 1
        if self._empty_in_a_row > _MOST_EMPTY_IN_A_ROW:
            raise VerificationFailed(
                f"the zstd frame at offset {offset} is empty, like the {_MOST_EMPTY_IN_A_ROW} "
                "before it: no tool puts so many in a row"
            )
        return Piece(piece, self._blob.offset)


def decompressed(compressed: BinaryIO, length: int, what: str) -> Iterator[bytes]:
    """Decompress one zstd frame of exactly `length` bytes of content, piece by piece.

    `what` names it in errors. Raises VerificationFailed for more or fewer bytes than that, for anything
    behind the frame, and for what is no zstd frame.
    """
    compressed.seek(0)
    start = compressed.read(LARGEST_HEADER)
    compressed.seek(0)
    if not start.startswith(_FRAME_MAGIC):
        raise VerificationFailed(f"{what} is not a zstd frame")
    if len(start) < SMALLEST_FRAME:
        raise VerificationFailed(f"{what} is cut short")
    left = length
    try:
        header_length, window, content = frame_header(start)
        walk = Walk(header_length, window) if length > window else None
        decompressor = zstd.ZstdDecompressor()
        while not decompressor.eof:
            data = compressed.read(_READ_AHEAD) if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                raise VerificationFailed(f"{what} is cut short")
            piece = decompressor.decompress(data, _READ_AHEAD)
            left -= len(piece)
            if left < 0:
                raise VerificationFailed(
                    f"{what} is larger than the {counted(length, 'byte')} its annotation says"
                )
            if walk is not None:
                walk.feed(data)
            if piece:
                yield piece
    except zstd.ZstdError as error:
        raise VerificationFailed(f"{what} cannot be decompressed: {error}") from None
    if left:
        raise VerificationFailed(
            f"{what} is {counted(length - left, 'byte')}, but its annotation says {length}"
        )
    if content not in (None, length):
        raise VerificationFailed(
            f"{what} is {counted(length, 'byte')}, but the header of its frame says {content}"
        )
    if decompressor.unused_data or compressed.read(1):
        raise VerificationFailed(f"{what} is followed by something that does not belong to it")


def _no_end(offset: int) -> VerificationFailed:
    return VerificationFailed(f"the zstd frame at offset {offset} has no end")


def _frame_size(data: memoryview) -> int | None:
    try:
        return zstd.get_frame_size(data)
    except zstd.ZstdError:
        # Either there is more of the frame to come, or it is damaged and decompressing it will tell.
        return None
