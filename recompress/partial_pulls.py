"""Whether clients can pull layers partially from a registry, and what happens where they cannot."""

from __future__ import annotations

import logging

from recompress.errors import Unsupported
from recompress.reference import Digest
from recompress.registry import ByteRange, RepositoryClient, TwoRanges, TwoRangesAnswer

log = logging.getLogger(__name__)

_LONGEST = 1024
_GAP = 8
"""Only the header of a skippable frame is between the table of contents and the tar-split data, so a server
may join the two ranges (RFC 9110, 15.3.7.2); podman fails then."""


def ranges_like_podmans(size: int) -> tuple[ByteRange, ByteRange] | None:
    """Two ranges to ask any blob of `size` bytes for, placed like those that podman asks a layer for.

    None where the blob is too small. Choose a large blob: a server may well send a small one as a whole.
    """
    length = min(_LONGEST, (size - _GAP) // 3)
    if length < 1:
        return None
    # Both are near the end, and something is behind them, as the footer is in a layer.
    second = ByteRange(size - 2 * length, length)
    return ByteRange(second.offset - _GAP - length, length), second


def check(client: RepositoryClient, digest: Digest, ranges: tuple[ByteRange, ByteRange]) -> None:
    """Ask for two ranges of a blob as podman does. Raises Unsupported where the answer makes pulls fail.

    What it merely costs clients is for `judge` to say, once there is a twin.
    """
    answer = client.two_ranges(digest, *ranges)
    if answer.kind is TwoRanges.BREAKS_PULLS:
        judge(answer, client.repository.registry, require=True)


def judge(answer: TwoRangesAnswer, registry: str, *, require: bool) -> None:
    """Warn where the answer of a registry makes partial pulls expensive or useless.

    Where it makes pulls fail: raises Unsupported, or with `require` False warns with the same text.
    """
    asked = f"the registry {registry} answers a request for two ranges of a layer with {answer.detail}"
    match answer.kind:
        case TwoRanges.SERVED:
            pass
        case TwoRanges.WHOLE_BLOB:
            log.warning(
                "%s and the whole layer: clients that pull partially download each layer twice", asked
            )
        case TwoRanges.REFUSED_WITH_400:
            log.warning(
                "%s: clients fall back to full pulls, so zstd:chunked saves them nothing there", asked
            )
        case TwoRanges.BREAKS_PULLS:
            text = (
                f"{asked}: podman fetches zstd:chunked layers this way, and its pulls would fail: use "
                "a registry that serves two ranges, or --partial-pulls warn if no client pulls partially"
            )
            if require:
                raise Unsupported(text)
            log.warning("%s", text)
