"""What the registry sends behind its headers: bounded, cut and compared, for none of it is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx

from recompress.errors import Unavailable, VerificationFailed
from recompress.reference import Digest
from recompress.registry.transport import redacted

_CHUNK_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")
_SIZE = re.compile(r"[0-9]{1,18}")


def size(response: httpx.Response) -> int | None:
    """The size of a body that the answer promises, in bytes; None where it does not say."""
    size = response.headers.get("Content-Length", "")
    return int(size) if _SIZE.fullmatch(size) else None


def stream(response: httpx.Response) -> Iterator[bytes]:
    """The bytes as they are sent, in pieces."""
    return response.iter_raw(_CHUNK_BYTES)


def whole(response: httpx.Response, limit: int) -> bytes:
    """All bytes. Raises VerificationFailed where there are more than `limit`."""
    content = bytearray()
    for chunk in stream(response):
        content += chunk
        if len(content) > limit:
            raise VerificationFailed(f"{redacted(response.url)} is larger than the limit of {limit} bytes")
    return bytes(content)


def cut(chunks: Iterator[bytes], offset: int, length: int) -> Iterator[bytes]:
    """The `length` bytes from `offset`. Raises Unavailable, which is temporary, where there are fewer."""
    for chunk in chunks:
        kept = chunk[offset : offset + length]
        offset = max(0, offset - len(chunk))
        length -= len(kept)
        if kept:
            yield kept
        if not length:
            return
    raise Unavailable("the registry sent fewer bytes of a blob than it was asked for", temporary=True)


def check_range(response: httpx.Response, offset: int, length: int) -> None:
    """Raise VerificationFailed unless the answer is for the range that was asked for."""
    value = response.headers.get("Content-Range", "")
    served = _CONTENT_RANGE.fullmatch(value)
    if not served or (int(served[1]), int(served[2])) != (offset, offset + length - 1):
        raise VerificationFailed(
            f"{redacted(response.url)} was asked for the bytes {offset}-{offset + length - 1} "
            f"and answered with the range {value!r:.100}"
        )


def compare(content: bytes, expected: Digest, what: str) -> None:
    """Raise VerificationFailed unless `content`, which is `what`, has this digest."""
    found = Digest.of(content)
    if found != expected:
        raise VerificationFailed(f"{what} has the digest {found}: these are not the bytes asked for")
