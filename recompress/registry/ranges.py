"""What a registry answers to one request for two ranges of a blob.

This is how podman fetches the table of contents and the tar-split data of a zstd:chunked layer
(containers/image, docker_image_src.go, GetBlobAt). What it does next depends on the answer:

    206 multipart/byteranges   it reads the two parts
    200                        it reads them from the whole blob, and the whole blob again for the files
    400                        it pulls the layer in full
    anything else              the pull fails: podman does not fall back to a full one

Multipart bodies are read more strictly here than in podman, which ignores Content-Range and fails later, when
the checksum of the table is wrong. What is accepted here podman accepts as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

import httpx

from recompress.errors import VerificationFailed
from recompress.reference import Digest

_CHUNK_BYTES = 256 * 1024
_LONGEST_LINE = 1024
_MOST_FIELDS = 32
_BLANKS = b" \t"
_PLAIN = r"[\w!#$%&'*+.^`|~-]+"
_QUOTED = r'"[ -!#-\[\]-~]+"'
_BY_CLOUDFRONT = r"[A-Za-z0-9:-]+"
"""Not legal with a colon, but read by podman as well (docker_image_src.go, multipartByteRangesRe)."""
_MULTIPART = re.compile(
    rf"multipart/byteranges\s*;\s*boundary=({_QUOTED}|{_PLAIN}|{_BY_CLOUDFRONT})(?:\s*;\s*(?:{_PLAIN}={_PLAIN})?)*",
    re.ASCII | re.IGNORECASE,
)
_FIELD = re.compile(rf"({_PLAIN}):([\t -~]*)", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a blob: where it begins and how long it is, in bytes. It is never empty."""

    offset: int
    length: int

    @property
    def last(self) -> int:
        """The offset of its last byte."""
        return self.offset + self.length - 1

    def __str__(self) -> str:
        """As the header Range has it."""
        return f"{self.offset}-{self.last}"


class TwoRanges(Enum):
    """What an answer means for clients that pull partially."""

    SERVED = auto()
    WHOLE_BLOB = auto()
    REFUSED_WITH_400 = auto()
    BREAKS_PULLS = auto()


@dataclass(frozen=True, slots=True)
class TwoRangesAnswer:
    """An answer, in words such as `501 Not Implemented`; where both parts were served, their sha256."""

    kind: TwoRanges
    detail: str
    sha256: tuple[Digest, Digest] | None = None


def read_answer(response: httpx.Response, first: ByteRange, second: ByteRange) -> TwoRangesAnswer:
    """Say what an answer is. The parts of a multipart body are read and hashed, no other body is read.

    Raises httpx.HTTPError where the body breaks off.
    """
    status = response.status_code
    detail = f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    match status:
        case httpx.codes.OK:
            return TwoRangesAnswer(TwoRanges.WHOLE_BLOB, detail)
        case httpx.codes.BAD_REQUEST:
            return TwoRangesAnswer(TwoRanges.REFUSED_WITH_400, detail)
        case httpx.codes.PARTIAL_CONTENT:
            try:
                found = _sha256_of_both(response, first, second)
            except VerificationFailed as error:
                return TwoRangesAnswer(TwoRanges.BREAKS_PULLS, f"{detail}, but {error}")
            return TwoRangesAnswer(TwoRanges.SERVED, detail, found)
        case _:
            return TwoRangesAnswer(TwoRanges.BREAKS_PULLS, detail)


def _sha256_of_both(response: httpx.Response, first: ByteRange, second: ByteRange) -> tuple[Digest, Digest]:
    content_type = response.headers.get("Content-Type", "")
    if not content_type.lower().startswith("multipart/"):
        span = response.headers.get("Content-Range", "")
        raise VerificationFailed(f"with one range, {span!r:.100}, where {first} and {second} were asked for")
    found = _MULTIPART.fullmatch(content_type)
    if not found:
        # Not shown: a boundary is another one each time, and an answer counts where it comes twice.
        raise VerificationFailed("its Content-Type is not multipart/byteranges with a valid boundary")
    boundary = found[1].strip('"').encode()
    one, two = _sha256_of_parts(_Body(response.iter_raw(_CHUNK_BYTES)), boundary, first, second)
    return one, two


def _sha256_of_parts(body: _Body, boundary: bytes, *wanted: ByteRange) -> Iterator[Digest]:
    """Hash the parts of a multipart body, which have to be just these (RFC 2046, 5.1.1; RFC 9110, 14.6)."""
    delimiter = b"--" + boundary
    # nginx, Apache and others begin with an empty line: a preamble without anything in it.
    line = body.line() or body.line()
    for part in wanted:
        if line.rstrip(_BLANKS) != delimiter:
            raise VerificationFailed(f"the multipart body has no part for the range {part}")
        _expect_content_range(body, part)
        yield body.sha256(part.length)
        if body.line():
            raise VerificationFailed(f"the part for the range {part} is longer than that")
        line = body.line()
    if line.rstrip(_BLANKS) != delimiter + b"--" or body.line():
        raise VerificationFailed(f"the multipart body does not end after {len(wanted)} parts")


def _expect_content_range(body: _Body, part: ByteRange) -> None:
    """Read the header of a part."""
    spans = []
    for _ in range(_MOST_FIELDS):
        line = body.line()
        if not line:
            break
        field = _FIELD.fullmatch(line.decode("latin-1"))
        if not field:
            raise VerificationFailed(f"the part for the range {part} has a malformed header")
        if field[1].lower() == "content-range":
            spans.append(field[2].strip())
    else:
        raise VerificationFailed(f"the part for the range {part} has too long a header")
    span = ", ".join(spans)
    found = _CONTENT_RANGE.fullmatch(span)
    if not found or (int(found[1]), int(found[2])) != (part.offset, part.last):
        raise VerificationFailed(f"the part for the range {part} has the Content-Range {span!r:.100}")


class _Body:
    """A body that is read in one pass, by line or by length. No more than a chunk of it is kept."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def line(self) -> bytes:
        """The next line without its CRLF; at the end of the body what is left of it."""
        while b"\r\n" not in self._buffer and len(self._buffer) <= _LONGEST_LINE and self._read_on():
            pass
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        if len(line) > _LONGEST_LINE:
            raise VerificationFailed("the multipart body has too long a line")
        return line

    def sha256(self, length: int) -> Digest:
        """The sha256 of the next `length` bytes."""
        hasher = hashlib.sha256()
        while length:
            if not self._buffer and not self._read_on():
                raise VerificationFailed("the multipart body ends in the middle of a part")
            piece, self._buffer = self._buffer[:length], self._buffer[length:]
            hasher.update(piece)
            length -= len(piece)
        return Digest(hasher.hexdigest())

    def _read_on(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer += chunk
        return bool(chunk)
