"""Where a zstd:chunked layer keeps its table of contents and its tar-split data.

The format has no standard but the code of containers/storage: docs/containers-storage-zstd-chunked.md there
says so. A layer is one blob:

    zstd frames of the tar stream, each content or chunk of one in frames of its own
    skippable frame: the table of contents (TOC), JSON, compressed
    skippable frame: the tar-split data, lines of JSON, compressed
    skippable frame: the footer, which repeats the positions

and the annotations of its descriptor say where the TOC and the tar-split data are. Clients read those and
never the footer (minimal.ZstdChunkedFooterData); here both have to agree. A layer without the annotations is
plain zstd to clients; the footer tells what they would be.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from recompress.errors import VerificationFailed, about
from recompress.layer.frames import PIECE
from recompress.manifest import ESTARGZ_TOC, TARSPLIT_POSITION, TOC_CHECKSUM, TOC_POSITION, Descriptor
from recompress.printable import counted
from recompress.reference import Digest

MAX_TOC_BYTES = 150 * 1024 * 1024
"""Clients do not pull partially with a larger TOC, compressed or not (maxTocSize, compression_linux.go). The
compressed tar-split data, in practice smaller, gets the same limit."""

LARGE_TOC_BYTES = 50 * 1024 * 1024
"""podman from before 2025 fails to pull a layer with a larger TOC (the limit was raised then)."""

_MAX_TARSPLIT_BYTES = 2**40
_NUMBER = r"(0|[1-9][0-9]{0,18})"
_TOC_POSITION = re.compile(":".join([_NUMBER] * 4), re.ASCII)
_TARSPLIT_POSITION = re.compile(":".join([_NUMBER] * 3), re.ASCII)
_TOC_TYPE_CRFS = 1
_SKIPPABLE_MAGIC = 0x184D2A50
_FRAME_HEADER = struct.Struct("<II")
_FOOTER = struct.Struct("<7Q8s")
_FOOTER_MAGIC = b"GNUlInUx"
FOOTER_BYTES = _FRAME_HEADER.size + _FOOTER.size
"""The size of the footer in its frame, at the end of a blob."""


@dataclass(frozen=True, slots=True)
class Section:
    """A range of the blob that is one zstd frame: offset and length in bytes, and its size decompressed."""

    offset: int
    length: int
    uncompressed: int

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length

    def digest(self, fetched: BinaryIO) -> Digest:
        """The digest of the section in a file, fetched by its range, which must have brought all of it."""
        fetched.seek(0)
        sha256 = hashlib.sha256()
        size = 0
        while data := fetched.read(PIECE):
            sha256.update(data)
            size += len(data)
        if size != self.length:
            raise VerificationFailed(
                f"{counted(size, 'byte')} came from offset {self.offset}, and {self.length} were asked for"
            )
        return Digest(sha256.hexdigest())


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is in a layer. `toc` and `tar_split` are what to fetch before the whole."""

    toc: Section
    toc_checksum: Digest
    tar_split: Section

    @classmethod
    def of(cls, layer: Descriptor) -> Layout:
        """Read the annotations of a layer.

        Raises VerificationFailed where one is missing or malformed, where a position is outside the blob, and
        where the sections do not fill the end of the blob.
        """
        annotations = layer.annotations
        if ESTARGZ_TOC in annotations:
            # toc.GetTOCDigest refuses this too: two readers could use two different tables.
            raise VerificationFailed("it has the tables of contents of both zstd:chunked and eStargz")
        with about(f"annotation {TOC_CHECKSUM}", ValueError, VerificationFailed):
            checksum = Digest.parse(annotations.get(TOC_CHECKSUM))
        *toc, toc_type = _numbers(annotations.get(TOC_POSITION), _TOC_POSITION, TOC_POSITION)
        if toc_type != _TOC_TYPE_CRFS:
            raise VerificationFailed(f"annotation {TOC_POSITION}: the type of the table is {toc_type}, not 1")
        tar_split = _numbers(annotations.get(TARSPLIT_POSITION), _TARSPLIT_POSITION, TARSPLIT_POSITION)
        layout = cls(Section(*toc), checksum, Section(*tar_split))
        _check(layout.toc, layout.tar_split, layer.size)
        return layout

    def check_toc(self, fetched: BinaryIO) -> None:
        """Raise VerificationFailed unless what was fetched as the TOC has the checksum."""
        found = self.toc.digest(fetched)
        if found != self.toc_checksum:
            raise VerificationFailed(
                f"the table of contents has the digest {found} and not {self.toc_checksum}"
            )

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations that say so (minimal.WriteZstdChunkedManifest)."""
        toc, tar_split = self.toc, self.tar_split
        return {
            TOC_CHECKSUM: str(self.toc_checksum),
            TOC_POSITION: f"{toc.offset}:{toc.length}:{toc.uncompressed}:{_TOC_TYPE_CRFS}",
            TARSPLIT_POSITION: f"{tar_split.offset}:{tar_split.length}:{tar_split.uncompressed}",
        }

    @property
    def is_too_large(self) -> bool:
        """Whether clients do not pull partially with tables of this size, and so nothing here reads them."""
        sizes = (self.toc.length, self.toc.uncompressed, self.tar_split.length)
        return max(sizes) > MAX_TOC_BYTES or self.tar_split.uncompressed > _MAX_TARSPLIT_BYTES

    @property
    def content_end(self) -> int:
        """The offset behind the last frame of the tar stream."""
        return self.toc.offset - _FRAME_HEADER.size

    @property
    def toc_header(self) -> bytes:
        """The bytes in the blob right before the TOC."""
        return _FRAME_HEADER.pack(_SKIPPABLE_MAGIC, self.toc.length)

    @property
    def tar_split_header(self) -> bytes:
        """The bytes in the blob right before the tar-split data."""
        return _FRAME_HEADER.pack(_SKIPPABLE_MAGIC, self.tar_split.length)

    @property
    def footer(self) -> bytes:
        """The bytes in the blob behind the tar-split data (minimal.footerDataToBlob, in its own frame)."""
        toc, tar_split = self.toc, self.tar_split
        return _FRAME_HEADER.pack(_SKIPPABLE_MAGIC, _FOOTER.size) + _FOOTER.pack(
            toc.offset,
            toc.length,
            toc.uncompressed,
            _TOC_TYPE_CRFS,
            tar_split.offset,
            tar_split.length,
            tar_split.uncompressed,
            _FOOTER_MAGIC,
        )


def in_footer(footer: bytes, size: int) -> tuple[Section, Section] | None:
    """The sections of the TOC and of the tar-split data, by the last FOOTER_BYTES of a blob of `size` bytes.

    None where that is no footer, and where the sections do not fill the end of the blob.
    """
    if footer[: _FRAME_HEADER.size] != _FRAME_HEADER.pack(_SKIPPABLE_MAGIC, _FOOTER.size):
        return None
    *positions, magic = _FOOTER.unpack(footer[_FRAME_HEADER.size :])
    toc, toc_type, tar_split = Section(*positions[:3]), positions[3], Section(*positions[4:])
    if (toc_type, magic) != (_TOC_TYPE_CRFS, _FOOTER_MAGIC):
        return None
    try:
        _check(toc, tar_split, size)
    except VerificationFailed:
        return None
    return toc, tar_split


def _check(toc: Section, tar_split: Section, size: int) -> None:
    for annotation, section in ((TOC_POSITION, toc), (TARSPLIT_POSITION, tar_split)):
        if section.offset < _FRAME_HEADER.size or section.end > size:
            raise VerificationFailed(
                f"annotation {annotation}: bytes {section.offset} to {section.end} are not inside "
                f"the blob of {counted(size, 'byte')}"
            )
        if not section.length:
            raise VerificationFailed(f"annotation {annotation}: there is nothing at that position")
    end = tar_split.end + FOOTER_BYTES
    if toc.end + _FRAME_HEADER.size != tar_split.offset or end != size:
        raise VerificationFailed(
            f"the annotations {TOC_POSITION} and {TARSPLIT_POSITION} do not describe the end of a blob "
            f"of {counted(size, 'byte')}"
        )


def _numbers(text: str | None, pattern: re.Pattern[str], annotation: str) -> list[int]:
    match = pattern.fullmatch(text) if text is not None else None
    if match is None:
        raise VerificationFailed(f"annotation {annotation}: {text!r:.100} does not have the required form")
    return [int(number) for number in match.groups()]
