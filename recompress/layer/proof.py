"""The proof that a zstd:chunked layer does not lie.

Such a layer says what it holds three times: in the tar stream, in the table of contents (TOC) and in the
tar-split data. A client that pulls a part of it trusts the TOC, fetches the frames that it points at, and
puts the stream together again from files and tar-split data; one that pulls all of it reads the stream. All
three are walked in lockstep here, in one pass and in bounded memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import anycrc  # type: ignore[import-untyped]

from recompress.errors import VerificationFailed, about
from recompress.layer.attributes import compare_attributes
from recompress.layer.frames import PIECE, Blob, Frames, decompressed
from recompress.layer.hashing import BATCH_BYTES, Sha256
from recompress.layer.layout import Layout
from recompress.layer.partial import PartialPull, Verdict
from recompress.layer.tarsplit import TarSplit
from recompress.layer.tarstream import TarHeader, TarStream
from recompress.layer.toc import ZEROS, Toc, TocEntry
from recompress.manifest import Descriptor
from recompress.printable import counted, printable
from recompress.reference import Digest

MAX_UNCOMPRESSED = 2**40
"""The most bytes that a layer may decompress to, where the caller knows no better limit."""

crc64: Callable[[bytes, int], int] = anycrc.Model("CRC64-GO-ISO").calc
"""`crc64(data, before)`: the checksum that tar-split keeps of each file (tar/storage.CRCTable).
`before` is that of the bytes before `data`, 0 without any."""

_LARGE_FILE_BYTES = 4 * BATCH_BYTES
"""The content of smaller files is hashed at once: there would be waiting for the helper at their ends."""

_EMPTY = str(Digest.of(b""))


@dataclass(frozen=True, slots=True)
class LayerProof(Verdict):
    """What was proven of a layer: how many entries, how many parts to fetch alone, how many bytes."""

    entries: int
    chunks: int
    compressed_bytes: int
    uncompressed_bytes: int


def prove_layer(
    layer: Descriptor,
    diff_id: Digest,
    blob: Iterable[bytes],
    toc: BinaryIO,
    tar_split: BinaryIO,
    max_uncompressed: int = MAX_UNCOMPRESSED,
    *,
    helper: Executor | None = None,
) -> LayerProof:
    """Prove that stream, table of contents and tar-split data of a layer hold the same, and hold `diff_id`.

    `blob` is the whole compressed blob in chunks of any size, read once. `toc` and `tar_split` are the
    sections of it that `Layout.of(layer)` names, fetched before; what the blob holds in their place has to be
    the same. A layer that decompresses to more than `max_uncompressed` bytes is refused. A thread of
    `helper` does a part of the hashing, for a caller with a core to spare. Raises VerificationFailed, which
    says which layer, which path in it, what was expected and what was found.
    """
    proof = _Proof(layer, diff_id, max_uncompressed, helper)
    try:
        return proof.run(blob, toc, tar_split)
    except VerificationFailed as error:
        raise VerificationFailed(f"layer {layer.digest}: {proof.where}{error}") from None


def prove_stream(
    layer: Descriptor,
    diff_id: Digest,
    blob: Iterable[bytes],
    layout: Layout | None,
    max_uncompressed: int = MAX_UNCOMPRESSED,
    *,
    helper: Executor | None = None,
) -> LayerProof:
    """Prove that the tar stream of a zstd layer holds `diff_id`, where clients pull the layer in full anyway.

    That is all that such clients read of it. `layout` says where its tables are, which are passed over, and
    are a reason by themselves if they are too large for clients; with None, the blob has to be the tar stream
    and nothing else. The rest is as in `prove_layer`.
    """
    with about(f"layer {layer.digest}", VerificationFailed):
        compressed = Blob(blob, layer.size, helper)
        frames = Frames(compressed, layout.content_end if layout else layer.size, max_uncompressed, helper)
        stream, judge, entries = TarStream(frames), PartialPull(), 0
        while (header := stream.next_header()) is not None:
            judge.see(header)
            entries += 1
            left = header.size if header.type == "reg" else 0
            while left:
                left -= len(frames.read(min(left, PIECE)) or _fail_short(left))
        while data := frames.read(PIECE):
            judge.see_trailing(data)
        if layout:
            # To clients without the annotations these are skippable frames, if they are just that.
            _read_tables(compressed, layout)
        if layout and layout.is_too_large:
            sizes = f"{layout.toc.uncompressed} and {layout.tar_split.uncompressed}"
            judge.full_pull(f"its tables of {sizes} bytes are larger than clients read")
        _expect_digest("the decompressed stream", diff_id, frames.digest)
        _expect_digest("the blob", layer.digest, compressed.finish())
    return LayerProof(judge.end(), judge.changes_root, layout, entries, 0, layer.size, frames.decompressed)


class _Proof:
    def __init__(
        self, layer: Descriptor, diff_id: Digest, max_uncompressed: int, helper: Executor | None
    ) -> None:
        self._layer = layer
        self._diff_id = diff_id
        self._max_uncompressed = max_uncompressed
        self._helper = helper
        self._path: bytes | None = None
        self._inside = False
        self._entries = 0
        self._chunks = 0
        self._judge = PartialPull()

    @property
    def where(self) -> str:
        """The path at which the proof is, as the beginning of a message."""
        if self._path is None:
            return ""
        return f"{printable(self._path)}: " if self._inside else f"after {printable(self._path)}: "

    def run(self, chunks: Iterable[bytes], toc: BinaryIO, tar_split: BinaryIO) -> LayerProof:
        layout = Layout.of(self._layer)
        layout.check_toc(toc)
        tar_split_digest = layout.tar_split.digest(tar_split)
        self._blob = Blob(chunks, self._layer.size, self._helper)
        self._frames = Frames(self._blob, layout.content_end, self._max_uncompressed, self._helper)
        self._toc = Toc(decompressed(toc, layout.toc.uncompressed, "the table of contents"))
        self._tar_split = TarSplit(
            decompressed(tar_split, layout.tar_split.uncompressed, "the tar-split data")
        )
        self._walk()
        _expect_digest("the tar-split data", self._toc.tar_split_digest, tar_split_digest)
        _expect_digest("the decompressed stream", self._diff_id, self._frames.digest)
        expected = (layout.toc_checksum, tar_split_digest)
        for digest, (what, found) in zip(expected, _read_tables(self._blob, layout), strict=True):
            _expect_digest(f"the {what} in the blob", digest, found)
        _expect_digest("the blob", self._layer.digest, self._blob.finish())
        judge = self._judge
        return LayerProof(
            judge.end(),
            judge.changes_root,
            layout,
            self._entries,
            self._chunks,
            self._layer.size,
            self._frames.decompressed,
        )

    def _walk(self) -> None:
        stream = TarStream(self._frames)
        while (header := stream.next_header()) is not None:
            self._path = header.name
            self._inside = True
            self._entry(header)
            self._inside = False
            self._entries += 1
        left = self._toc.next_entry()
        if left is not None:
            raise VerificationFailed(
                f"the table of contents has the entry {printable(left.name)}, which is not in the tar stream"
            )
        if stream.end:
            self._tar_split.expect_segment(stream.end)
        while data := self._frames.read(PIECE):
            self._judge.see_trailing(data)
            if not self._tar_split.expect_trailing(data):
                self._judge.full_pull("there are bytes behind the end of its archive that clients fail on")
        self._tar_split.expect_end()
        self._path = None

    def _entry(self, header: TarHeader) -> None:
        # The order of the entries "should not be relied on" (minimal.TOC), but all writers use that of the
        # stream, and without an order nothing could be compared in bounded memory.
        entry = self._toc.next_entry()
        if entry is None:
            raise VerificationFailed("the tar stream has this entry, but the table of contents does not")
        compare_attributes(header, entry)
        self._judge.see(header)
        self._tar_split.expect_segment(header.raw)
        if header.type == "reg" and header.size:
            checksum = self._content(entry)
        else:
            checksum = 0
            _check_no_content(header, entry)
        self._tar_split.expect_file(header.name, header.size, checksum)

    def _content(self, entry: TocEntry) -> int:
        """Read the content of a file, in its chunks where it has any, and return its CRC-64."""
        whole = Sha256(self._helper) if entry.size > _LARGE_FILE_BYTES else hashlib.sha256()
        checksum = position = 0
        chunk, following = entry, self._toc.next_chunk()
        chunked = following is not None
        while True:
            size = chunk.chunk_size if chunked else entry.size
            _check_chunk(chunk, entry, position, size)
            self._expect_frame("begins", position, chunk.offset)
            digest = hashlib.sha256() if chunked else whole
            for piece in self._pieces(size):
                whole.update(piece)
                checksum = crc64(piece, checksum)
                if chunked:
                    digest.update(piece)
                if chunk.chunk_type and piece != bytes(len(piece)):
                    raise VerificationFailed(f"its bytes from {position} on are not all zeros")
            if chunk.chunk_digest or chunked:
                _expect_digest(
                    f"its chunk at byte {position}", chunk.chunk_digest, "sha256:" + digest.hexdigest()
                )
            position += size
            self._chunks += 1
            self._expect_frame("ends", position, following.offset if following else entry.end_offset)
            if following is None:
                break
            chunk, following = following, self._toc.next_chunk()
        if position != entry.size:
            raise VerificationFailed(
                f"its chunks are {counted(position, 'byte')} together, but it has {entry.size}"
            )
        _expect_digest("its content", entry.digest, "sha256:" + whole.hexdigest())
        return checksum

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._frames.read(min(size, PIECE)) or _fail_short(size)
            size -= len(piece)
            yield piece

    def _expect_frame(self, what: str, position: int, offset: int) -> None:
        # storeMissingFiles hands a decompressor the bytes between two offsets and takes what comes out.
        found = self._frames.frame_offset()
        if found is None:
            raise VerificationFailed(f"no zstd frame {what} at its byte {position}")
        if found < offset:
            # buildah puts an empty frame behind a file that ends with a hole.
            found = self._frames.frame_offset(offset) or found
        if found != offset:
            raise VerificationFailed(
                f"the zstd frame that {what} at its byte {position} does so at offset {found}, "
                f"but the table of contents says {offset}"
            )


def _read_tables(blob: Blob, layout: Layout) -> list[tuple[str, Digest]]:
    """Read the blob from the end of its content to the footer: the digest of what is in each section."""
    found = []
    for what, header, section in (
        ("table of contents", layout.toc_header, layout.toc),
        ("tar-split data", layout.tar_split_header, layout.tar_split),
    ):
        _expect_bytes(blob, f"frame header of the {what}", header)
        sha256 = hashlib.sha256()
        while data := blob.peek(1, section.end):
            sha256.update(data)
            blob.skip(len(data))
        found.append((what, Digest(sha256.hexdigest())))
    _expect_bytes(blob, "footer", layout.footer)
    return found


def _fail_short(missing: int) -> NoReturn:
    raise VerificationFailed(f"the tar stream ends {counted(missing, 'byte')} before its content does")


def _expect_bytes(blob: Blob, what: str, expected: bytes) -> None:
    found = bytes(blob.peek(len(expected), blob.offset + len(expected)))
    if found != expected:
        raise VerificationFailed(
            f"the {what} in the blob is {found.hex()}, but the annotations make it {expected.hex()}"
        )
    blob.skip(len(expected))


def _check_chunk(chunk: TocEntry, entry: TocEntry, position: int, size: int) -> None:
    if chunk.name != entry.name:
        raise VerificationFailed(f"its table entry is followed by a chunk of {printable(chunk.name)}")
    if chunk.chunk_offset != position:
        raise VerificationFailed(f"its chunk at byte {position} is at {chunk.chunk_offset} in the table")
    if not 0 < size <= entry.size - position or chunk.chunk_size not in (0, size):
        raise VerificationFailed(
            f"its chunk at byte {position} has {counted(chunk.chunk_size, 'byte')} in the table, "
            f"of {entry.size}"
        )
    if chunk.chunk_type not in ("", ZEROS):
        raise VerificationFailed(
            f"its chunk at byte {position} has the unknown type {chunk.chunk_type!r:.99}"
        )


def _check_no_content(header: TarHeader, entry: TocEntry) -> None:
    place = (entry.offset, entry.end_offset)
    chunk = (entry.chunk_size, entry.chunk_offset, entry.chunk_digest, entry.chunk_type)
    if entry.digest not in ("", _EMPTY) or any(place) or any(chunk):
        raise VerificationFailed("it has no content, but the table of contents says where there is some")


def _expect_digest(what: str, expected: Digest | str, found: Digest | str) -> None:
    if expected != found:
        raise VerificationFailed(f"{what} has the digest {found} and not {expected}")
