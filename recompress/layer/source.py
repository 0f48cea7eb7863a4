"""Why a layer of a source image has no zstd:chunked twin.

skopeo does not always say it: where the reason is far from the end of a large layer, all it says is "short
write". So the layer itself is read, once and in bounded memory, with nothing extracted. As in skopeo, podman
and Docker its first bytes say how it is packed, and not its media type.
"""

from __future__ import annotations

import hashlib
import posixpath
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from recompress.errors import Unsupported, VerificationFailed
from recompress.layer.compat import zstd
from recompress.layer.frames import PIECE
from recompress.layer.paths import Paths
from recompress.layer.proof import MAX_UNCOMPRESSED
from recompress.layer.tarstream import BLOCK, TarHeader, TarStream
from recompress.manifest import Descriptor
from recompress.printable import counted, printable
from recompress.reference import Digest

_STEP = 64 * 1024
"""The most bytes that a decompressor is given at once: it copies what it has no use for, and a layer may have
a gzip member for each of its files."""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

# 128 MiB, as libzstd by default: `zstd -22` makes such windows.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}

_YEAR_0 = -62_167_219_200 * 10**9
_YEAR_10000 = 253_402_300_800 * 10**9


def check_source(
    chunks: Iterable[bytes], layer: Descriptor, diff_id: Digest, max_uncompressed: int = MAX_UNCOMPRESSED
) -> None:
    """Find why skopeo cannot make a zstd:chunked layer of a layer of a source; return if it can.

    `chunks` is the blob in pieces of any size, read once. `diff_id` is what the image's config says that it
    decompresses to.

    Raises Unsupported with the reason and, where there is one, the path: the blob cannot be decompressed,
    decompresses to more than `max_uncompressed` bytes, or holds what skopeo refuses or rewrites. Raises
    VerificationFailed where the blob is not of the digest and size of its descriptor, or not of the diff_id:
    the image is damaged or was tampered with, whatever else there is to say of it.
    """
    blob = _Blob(chunks, layer)
    stream = _Stream(_decompressed(blob), max_uncompressed)
    found = None
    try:
        reason = _reason(stream)
        found = stream.digest()
    except Unsupported as error:
        reason = str(error)
    blob.check()
    if found and found != diff_id:
        raise VerificationFailed(
            f"layer {layer.digest}: it decompresses to {found}, but the image's config says {diff_id}: "
            "the image is damaged or was tampered with"
        )
    if reason:
        raise Unsupported(f"layer {layer.digest}: {reason}")


def _reason(stream: _Stream) -> str | None:
    """The first thing in the tar stream for which no zstd:chunked layer can be made of it."""
    tar = TarStream(stream)
    paths = Paths()
    header = None
    try:
        while (following := tar.next_header()) is not None:
            header = following
            if problem := _problem(header, stream, paths):
                return f"{printable(header.name)}: {problem}"
    except VerificationFailed as error:
        return f"after {printable(header.name)}: {error}" if header else str(error)
    if header is None:
        # The blob that skopeo makes of this has no frame in it that would show it to be zstd.
        return None if stream.size else "it is empty, without even the end of a tar archive"
    if 0 < len(tar.end) < _padding(header):
        return f"{printable(header.name)}: the tar stream ends in the padding behind it, which skopeo drops"
    return None


def _problem(header: TarHeader, stream: _Stream, paths: Paths) -> str | None:
    # In hex, because a path is compared as skopeo does it and no further: /a beside a is packed.
    if not paths.add(_clean(header.name).hex().encode()):
        return "the layer has more than one entry for this path"
    for what, time in (("mtime", header.mtime), ("atime", header.atime), ("ctime", header.ctime)):
        if time is not None and not _YEAR_0 <= time < _YEAR_10000:
            return (
                f"its {what} is not within the years 0 to 9999, the only ones a zstd:chunked layer can hold"
            )
    if header.type == "reg" and (missing := stream.skip(header.size)):
        return f"the tar stream ends {counted(missing, 'byte')} before its content does"
    return None


def _clean(name: bytes) -> bytes:
    """As Go's filepath.Clean, by which tar-split compares (storage.jsonPacker)."""
    path = posixpath.normpath(name)
    # POSIX, and Python with it, keeps two slashes in front.
    return path[1:] if path.startswith(b"//") else path


def _padding(header: TarHeader) -> int:
    return -header.size % BLOCK if header.type == "reg" else 0


class _Blob:
    """The bytes of a layer as they arrive, counted and hashed; `check` compares them with its descriptor."""

    def __init__(self, chunks: Iterable[bytes], layer: Descriptor) -> None:
        self._chunks = iter(chunks)
        self._layer = layer
        self._size = 0
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while self._size <= self._layer.size and (chunk := next(self._chunks, None)) is not None:
            self._size += len(chunk)
            self._sha256.update(chunk)
            yield from _steps(chunk)

    def check(self) -> None:
        """Read what is left, and raise VerificationFailed unless all bytes are those of the descriptor."""
        for _ in self:
            pass
        found = Digest(self._sha256.hexdigest())
        if (self._size, found) != (self._layer.size, self._layer.digest):
            raise VerificationFailed(
                f"layer {self._layer.digest}: its descriptor says {counted(self._layer.size, 'byte')}, "
                f"but what was read of it is {counted(self._size, 'byte')} with the digest {found}"
            )


def uncompressed_digest(chunks: Iterable[bytes], max_compressed: int, max_uncompressed: int) -> Digest:
    """The digest of what a gzip or zstd blob, in pieces of any size, decompresses to.

    Raises Unsupported for one that cannot be decompressed, or that has more than `max_compressed` bytes or
    decompresses to more than `max_uncompressed`.
    """
    return _Stream(_decompressed(_bounded(chunks, max_compressed)), max_uncompressed).digest()


def _bounded(chunks: Iterable[bytes], limit: int) -> Iterator[memoryview]:
    for chunk in chunks:
        limit -= len(chunk)
        if limit < 0:
            raise Unsupported("it has more bytes than any twin of its source may have")
        yield from _steps(chunk)


def _steps(chunk: bytes) -> Iterator[memoryview]:
    view = memoryview(chunk)
    return (view[at : at + _STEP] for at in range(0, len(view), _STEP))


class _Stream:
    """The decompressed stream, counted and hashed. `size` is how many bytes there were so far.

    Raises Unsupported for more than `limit` bytes.
    """

    def __init__(self, pieces: Iterator[bytes | memoryview], limit: int) -> None:
        self._pieces = pieces
        self._limit = limit
        self._sha256 = hashlib.sha256()
        self._unread = memoryview(b"")
        self.size = 0

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end. For small counts."""
        parts = []
        while count and (part := self._read(count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; returns how many of them are missing at the end."""
        while count and (part := self._read(count)):
            count -= len(part)
        return count

    def digest(self) -> Digest:
        """The digest of all bytes, after what is left was read."""
        while self._read(PIECE):
            pass
        return Digest(self._sha256.hexdigest())

    def _read(self, limit: int) -> memoryview:
        while not self._unread and (piece := next(self._pieces, None)) is not None:
            self.size += len(piece)
            if self.size > self._limit:
                raise Unsupported(f"it decompresses to more than the allowed {self._limit} bytes")
            self._sha256.update(piece)
            self._unread = memoryview(piece)
        part, self._unread = self._unread[:limit], self._unread[limit:]
        return part


class _GzipMember:
    """Decompresses one member of a gzip file, and has the interface of ZstdDecompressor."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        return self._inflate.decompress(data or self._inflate.unconsumed_tail, max_length)


def _zstd_frame() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)


def _decompressed(blob: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    pieces = iter(blob)
    start = b""
    while len(start) < len(_ZSTD_MAGIC) and (piece := next(pieces, None)) is not None:
        start += piece
    pieces = chain([start], pieces)
    if start.startswith(_GZIP_MAGIC):
        return _members(pieces, "gzip", _GzipMember)
    if start.startswith(_ZSTD_MAGIC):
        return _members(pieces, "zstd", _zstd_frame)
    return pieces


def _members(
    pieces: Iterator[bytes | memoryview],
    what: str,
    begin: Callable[[], _GzipMember | zstd.ZstdDecompressor],
) -> Iterator[bytes]:
    """Decompress gzip members or zstd frames up to the last byte: Go does not pass over zeros behind them."""
    member = None
    position = start = 0
    try:
        for piece in pieces:
            data = piece
            while data:
                if member is None:
                    member, start = begin(), position
                position += len(data)
                yield member.decompress(data, PIECE)
                while not (member.eof or member.needs_input):
                    yield member.decompress(b"", PIECE)
                data = member.unused_data
                position -= len(data)
                if member.eof:
                    member = None
    except (zlib.error, zstd.ZstdError) as error:
        raise _unreadable(what, start, str(error).rpartition(": ")[2]) from None
    if member is not None:
        raise _unreadable(what, start, "it is cut short")


def _unreadable(what: str, start: int, problem: str) -> Unsupported:
    if start:
        return Unsupported(
            f"behind its {what} stream, at byte {start}, there is something that is not a {what} "
            f"stream: {problem}"
        )
    return Unsupported(f"its {what} stream cannot be read: {problem}")
