"""What is fuzzed: each reader of untrusted bytes, and the whole proof with a table that somebody else wrote.

A target takes bytes and returns; VerificationFailed and Unsupported are answers, anything else is a finding.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recompress.errors import Unsupported, VerificationFailed
from recompress.layer.frames import PIECE, Blob, Frames, decompressed
from recompress.layer.layout import Layout
from recompress.layer.source import check_source
from recompress.layer.tarsplit import TarSplit
from recompress.layer.tarstream import TarStream
from recompress.layer.toc import Toc
from recompress.manifest import Descriptor, Index, MediaType, normalised, parse_config, parse_manifest
from recompress.reference import Digest
from recompress.sbom_document import derive, is_same
from tests import images, sboms
from tests.tampering import Layer, assemble, compress, decompress, dumps, small_window

LIMIT = 4 * PIECE
LAYERS = ("kinds", "pax", "gnu", "old", "chunks", "trailing", "empty", "half-end")


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read_exactly(self, count: int) -> bytes:
        return self.file.read(count)


def toc(data: bytes) -> None:
    size = 1 + len(data) % 97
    reader = Toc(data[at : at + size] for at in range(0, len(data), size))
    while reader.next_chunk() or reader.next_entry():
        pass
    assert reader.tar_split_digest


def tar_split(data: bytes) -> None:
    def expect_segment(reader: TarSplit) -> None:
        reader.expect_segment(b"header")

    def expect_file(reader: TarSplit) -> None:
        reader.expect_file(b"name", 5, 7)

    def expect_trailing(reader: TarSplit) -> None:
        reader.expect_trailing(bytes(512))

    for expect in (expect_segment, expect_file, expect_trailing):
        reader = TarSplit(data[at : at + 50] for at in range(0, len(data), 50))
        with contextlib.suppress(VerificationFailed):
            for _ in range(3):
                expect(reader)
            reader.expect_end()


def frames(data: bytes) -> None:
    chunks = (data[at : at + 100] for at in range(0, len(data), 100))
    reader = Frames(Blob(chunks, len(data)), len(data), LIMIT)
    while reader.read(PIECE):
        reader.frame_offset()
    assert reader.frame_offset() == len(data)
    assert reader.decompressed <= LIMIT


def section(data: bytes) -> None:
    size = int.from_bytes(data[:4], "little")
    assert sum(map(len, decompressed(io.BytesIO(data[4:]), size, "it"))) == size


def tar(data: bytes) -> None:
    source = _Bytes(data)
    stream = TarStream(source)
    raw = content = 0
    while (header := stream.next_header()) is not None:
        raw += len(header.raw)
        content += len(source.read_exactly(header.size)) if header.type == "reg" else 0
    assert raw + content + len(stream.end) + len(source.file.read()) == len(data)


def source(data: bytes) -> None:
    """A layer of a source, packed with gzip, zstd or not at all."""
    blob = Descriptor(MediaType.OCI_LAYER_GZIP, Digest.of(data), len(data))
    outcomes = set()
    for size in (100, 1 + len(data)):
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        try:
            check_source(chunks, blob, Digest.of(b""), LIMIT)
        except (Unsupported, VerificationFailed) as error:
            outcomes.add(type(error))
    assert len(outcomes) == 1, "it depends on how the blob arrives, or another stream is that of 0 bytes"


def layer(data: bytes) -> None:
    """The first byte chooses a real layer, the others are its table, signed: only the real one is proven."""
    real, table = _LAYERS[data[0] % len(_LAYERS)] if data else _LAYERS[0], data[1:]
    assemble(b"".join(map(compress, real.frames)), table, real.lines, real.diff_id).prove()
    assert _meaning(json.loads(table)) == _meaning(json.loads(real.table)), "another table was proven"


def stream(data: bytes) -> None:
    """The first byte chooses a real layer, the others are its tar stream: only the real one is proven."""
    real, changed = _LAYERS[data[0] % len(_LAYERS)] if data else _LAYERS[0], data[1:]
    source = io.BytesIO(changed)
    frames = [source.read(len(frame)) for frame in real.frames]
    frames[-1] += source.read()
    assemble(b"".join(map(compress, frames)), real.table, real.lines, Digest.of(changed)).prove()
    assert changed == b"".join(real.frames), "another stream was proven"


def manifest(data: bytes) -> None:
    """What is read is what a plain parser reads, and a manifest that is made of it is one."""
    found = parse_manifest(data, "")
    document = json.loads(data)
    if isinstance(found, Index):
        listed, entries = document.get("manifests"), found.manifests
    else:
        listed, entries = document.get("layers"), found.layers
        assert found.config.digest == Digest.parse(document["config"]["digest"])
        if (content := normalised(found)) is not None:
            assert parse_manifest(content, found.media_type).digest == Digest.of(content)
    assert [(e["digest"], e["size"], e["mediaType"]) for e in listed or ()] == [
        (str(e.digest), e.size, e.media_type) for e in entries
    ]


def config(data: bytes) -> None:
    """What is read is what a plain parser reads."""
    found = parse_config(data)
    document = json.loads(data)
    assert (document["os"], document["architecture"]) == (found.platform.os, found.platform.architecture)
    assert (document["rootfs"].get("diff_ids") or []) == list(map(str, found.diff_ids))


def sbom(data: bytes) -> None:
    """What is derived is again an SBOM: that of the twin, of which the same can be derived."""
    made = derive(data, sboms.SOURCE, sboms.TWIN, sboms.NOW)
    assert json.loads(made.content)
    assert is_same(made.content, derive(data, sboms.SOURCE, sboms.TWIN, datetime.now(UTC)).content)
    again = derive(made.content, sboms.TWIN, sboms.TWIN.with_digest(Digest.of(data)), sboms.NOW)
    assert again.format is made.format
    assert again.packages >= made.packages


TARGETS: dict[str, Callable[[bytes], None]] = {
    "toc": toc,
    "tar_split": tar_split,
    "frames": frames,
    "section": section,
    "tar": tar,
    "source": source,
    "layer": layer,
    "stream": stream,
    "manifest": manifest,
    "config": config,
    "sbom": sbom,
}


def run(name: str, data: bytes) -> None:
    """Run one target on one input."""
    with contextlib.suppress(VerificationFailed, Unsupported):
        TARGETS[name](data)


def seeds(name: str) -> Iterator[bytes]:
    """What fuzzing starts from: documents, and parts of real layers."""
    if name in _DOCUMENTS:
        yield from _DOCUMENTS[name]
        return
    for number, real in enumerate(_LAYERS):
        joined = b"".join(real.frames)
        yield {
            "toc": real.table,
            "tar_split": real.lines,
            "frames": b"".join(map(compress, real.frames)) + small_window(joined),
            "section": len(real.lines).to_bytes(4, "little") + small_window(real.lines),
            "tar": joined,
            "source": (gzip.compress(joined, mtime=0), compress(joined), joined)[number % 3],
            "layer": bytes([number]) + real.table,
            "stream": bytes([number]) + joined,
        }[name]


_CONFIG = images.config(
    [str(Digest.of(b"1"))],
    settings={"Cmd": ["sh"], "Labels": {"a": "b"}, "Volumes": {"/v": {}}, "Healthcheck": {"Test": ["NONE"]}},
    created="2024-02-29T01:02:03.4Z",
    history=[{"created_by": "COPY", "empty_layer": False}],
    **{"os.version": "10"},
)
_MANIFEST = images.manifest(
    _CONFIG,
    [
        images.descriptor(
            MediaType.DOCKER_LAYER_GZIP, b"1", annotations={"a": "b"}, urls=["https://c"], data="ZA=="
        )
    ],
    annotations={"a": "b"},
    subject=images.descriptor(MediaType.OCI_MANIFEST, b"2"),
)
_PLATFORM = {"os": "linux", "architecture": "arm", "variant": "v7", "os.features": ["f"]}
_INDEX = images.index([images.descriptor(MediaType.OCI_MANIFEST, _MANIFEST, platform=_PLATFORM)])
_DOCUMENTS = {
    "manifest": (_MANIFEST, _INDEX),
    "config": (_CONFIG,),
    "sbom": tuple(file.read_bytes() for file in sboms.FILES),
}


@dataclass(frozen=True)
class _Real:
    frames: list[bytes]
    table: bytes
    lines: bytes
    diff_id: Digest

    @classmethod
    def load(cls, name: str) -> _Real:
        parts = Layer.load(name)
        packed = parts.pack()
        table = decompress(packed.section(Layout.of(packed.layer).toc))
        lines = b"".join(dumps(line) + b"\n" for line in parts.tar_split)
        return cls(parts.frames, table, lines, packed.diff_id)


_LAYERS = [_Real.load(name) for name in LAYERS]


def _meaning(table: Any) -> Any:
    """A table without what means nothing: fields that are empty, and how times are written."""
    entries = [
        {key: value for key, value in entry.items() if value not in ("", 0, {}) and not key.endswith("time")}
        for entry in table["entries"] or ()
    ]
    empty = str(Digest.of(b""))
    for entry in entries:
        if entry.get("type") != "chunk" and not entry.get("offset") and entry.get("digest") == empty:
            del entry["digest"]
        if "chunkSize" in entry and entry["chunkSize"] == entry.get("size"):
            for key in ("chunkSize", "chunkDigest", "chunkType"):
                entry.pop(key, None)
    return table["version"], entries, table["tarSplitDigest"]
