"""Take a real zstd:chunked layer apart, change one thing, and put it together so that nothing else is wrong.

`Layer.load(NAME)` reads a fixture made by the real skopeo. `pack` compresses, signs and annotates everything
anew: what a tampering test changes is then the only lie, however much else depends on it.
"""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recompress.layer.compat import zstd
from recompress.layer.layout import Layout, Section
from recompress.layer.proof import LayerProof, crc64, prove_layer
from recompress.manifest import TARSPLIT_POSITION, TOC_CHECKSUM, TOC_POSITION, Descriptor
from recompress.reference import Digest

DATA = Path(__file__).parent / "data"
DESCRIBED: Mapping[str, Mapping[str, Any]] = json.loads((DATA / "layers.json").read_bytes())


@dataclass(frozen=True)
class Packed:
    """A layer as a registry has it, and the diff_id of its config."""

    layer: Descriptor
    diff_id: Digest
    blob: bytes
    sections: tuple[bytes, bytes] | None = None

    @classmethod
    def load(cls, name: str) -> Packed:
        layer = DESCRIBED[name]
        descriptor = Descriptor(
            layer["mediaType"], Digest.parse(layer["digest"]), layer["size"], layer["annotations"]
        )
        return cls(descriptor, Digest.parse(layer["diffId"]), (DATA / f"{name}.layer").read_bytes())

    def prove(self, chunk: int = 1 << 20, limit: int = 1 << 30, helper: Executor | None = None) -> LayerProof:
        """Fetch both sections as a client would, then stream the blob in chunks of that many bytes."""
        layout = Layout.of(self.layer)
        toc, tar_split = self.sections or (self.section(layout.toc), self.section(layout.tar_split))
        chunks = (self.blob[at : at + chunk] for at in range(0, len(self.blob), chunk))
        tables = io.BytesIO(toc), io.BytesIO(tar_split)
        return prove_layer(self.layer, self.diff_id, chunks, *tables, limit, helper=helper)

    def section(self, section: Section) -> bytes:
        return self.blob[section.offset : section.end]

    def annotated(self, **annotations: str | None) -> Packed:
        """With annotations, named by the last part of their keys, changed or, where None, taken away."""
        prefix = TOC_CHECKSUM.rpartition(".")[0] + "."
        changed = {**self.layer.annotations}
        for name, value in annotations.items():
            changed.pop(key := prefix + name.replace("_", "-"), None)
            if value is not None:
                changed[key] = value
        return replace(self, layer=replace(self.layer, annotations=changed))

    def signed(self, blob: bytes) -> Packed:
        """With another blob, of which the descriptor knows."""
        return replace(self, blob=blob, layer=replace(self.layer, digest=Digest.of(blob), size=len(blob)))


@dataclass
class Layer:
    """A layer in its parts. Offsets in the table are numbers of frames; `pack` makes them offsets again.

    `compressors` are how to compress frames, by their numbers, that are not compressed in the usual way.
    """

    frames: list[bytes]
    toc: dict[str, Any]
    tar_split: list[dict[str, Any]]
    compressors: dict[int, Callable[[bytes], bytes]] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Layer:
        return cls.of(Packed.load(name))

    @classmethod
    def of(cls, packed: Packed) -> Layer:
        layout = Layout.of(packed.layer)
        toc = json.loads(decompress(packed.section(layout.toc)))
        lines = decompress(packed.section(layout.tar_split)).splitlines()
        frames: list[bytes] = []
        numbers = {}
        at = 0
        while at < layout.content_end:
            numbers[at] = len(frames)
            size = zstd.get_frame_size(packed.blob[at : layout.content_end])
            frames.append(decompress(packed.blob[at : at + size]))
            at += size
        numbers[at] = len(frames)
        for entry in toc["entries"] or ():
            for key in ("offset", "endOffset"):
                if key in entry:
                    entry[key] = numbers[entry[key]]
        return cls(frames, toc, [json.loads(line) for line in lines])

    @property
    def stream(self) -> bytes:
        return b"".join(self.frames)

    def entry(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.toc["entries"] if entry["name"] == name)

    def chunks(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.toc["entries"] if entry["name"] == name]

    def line(self, name: str) -> dict[str, Any]:
        """The tar-split entry of a file."""
        return next(line for line in self.tar_split if line.get("name") == name)

    def segment(self, name: str) -> dict[str, Any]:
        """The tar-split entry with the header of a file."""
        return self.tar_split[self.tar_split.index(self.line(name)) - 1]

    def content(self, name: str) -> int:
        """The number of the frame with the content of a file that has one."""
        number = self.entry(name)["offset"]
        assert isinstance(number, int)
        return number

    def replace_content(self, name: str, content: bytes) -> None:
        """Change the content in stream, table and tar-split data alike."""
        self.frames[self.content(name)] = content
        self.entry(name)["digest"] = str(Digest.of(content))
        self.line(name)["payload"] = encoded(crc64(content, 0).to_bytes(8, "big"))

    def replace_header(self, name: str, old: bytes, new: bytes) -> None:
        """Change bytes of a header in the stream and the tar-split data, with its checksum."""
        segment = self.segment(name)
        raw = base64.b64decode(segment["payload"])
        assert raw.count(old) == 1
        changed = raw.replace(old, new)
        start = len(raw) - 512
        block = changed[start : start + 148] + b" " * 8 + changed[start + 156 :]
        changed = changed[: start + 148] + b"%06o\0 " % sum(block) + changed[start + 156 :]
        number = next(n for n, frame in enumerate(self.frames) if raw in frame)
        self.frames[number] = self.frames[number].replace(raw, changed)
        segment["payload"] = encoded(changed)

    def pack(self, diff_id: Digest | None = None, **changes: Any) -> Packed:
        """Put it together; `changes` are those of `assemble`."""
        frames = [self.compressors.get(n, compress)(frame) for n, frame in enumerate(self.frames)]
        lines = b"".join(dumps(line) + b"\n" for line in self.tar_split)
        offsets = [0]
        for frame in frames:
            offsets.append(offsets[-1] + len(frame))
        toc = {**self.toc, "entries": [_with_offsets(entry, offsets) for entry in self.toc["entries"] or ()]}
        return assemble(b"".join(frames), toc, lines, diff_id or Digest.of(self.stream), **changes)


def assemble(
    frames: bytes,
    toc: Mapping[str, Any] | bytes,
    tar_split: bytes,
    diff_id: Digest,
    *,
    rewrite_toc: Callable[[bytes], bytes] = bytes,
    rewrite_tar_split: Callable[[bytes], bytes] = bytes,
    compress_toc: Callable[[bytes], bytes] | None = None,
    compress_tar_split: Callable[[bytes], bytes] | None = None,
    toc_size: int | None = None,
    tar_split_size: int | None = None,
    tar_split_digest: object = None,
    footer: Callable[[bytes], bytes] = bytes,
) -> Packed:
    """A blob of these parts, with annotations that say where they are."""
    tar_split = rewrite_tar_split(tar_split)
    small_tar_split = (compress_tar_split or compress)(tar_split)
    if not isinstance(toc, bytes):
        toc = dumps({**toc, "tarSplitDigest": tar_split_digest or str(Digest.of(small_tar_split))})
    toc = rewrite_toc(toc)
    small_toc = (compress_toc or compress)(toc)
    toc_at = len(frames) + 8
    tar_split_at = toc_at + len(small_toc) + 8
    toc_size = len(toc) if toc_size is None else toc_size
    tar_split_size = len(tar_split) if tar_split_size is None else tar_split_size
    positions = toc_at, len(small_toc), toc_size, 1, tar_split_at, len(small_tar_split), tar_split_size
    end = footer(struct.pack("<7Q8s", *positions, b"GNUlInUx"))
    blob = frames + skippable(small_toc) + skippable(small_tar_split) + skippable(end)
    annotations = {
        TOC_CHECKSUM: str(Digest.of(small_toc)),
        TOC_POSITION: f"{toc_at}:{len(small_toc)}:{toc_size}:1",
        TARSPLIT_POSITION: f"{tar_split_at}:{len(small_tar_split)}:{tar_split_size}",
    }
    descriptor = Descriptor(DESCRIBED["kinds"]["mediaType"], Digest.of(blob), len(blob), annotations)
    return Packed(descriptor, diff_id, blob)


def compress(content: bytes) -> bytes:
    return zstd.compress(content)


def small_window(content: bytes) -> bytes:
    """Compress with the smallest window, so that longer content is walked for matches beyond it."""
    options: dict[int, int] = {int(zstd.CompressionParameter.window_log): 10}
    return zstd.compress(content, options=options)


def decompress(frame: bytes) -> bytes:
    return zstd.decompress(frame)


def skippable(content: bytes) -> bytes:
    return struct.pack("<II", 0x184D2A50, len(content)) + content


TWICE = "\x01"
"""A key with this at its end is written without it: a way to have a key twice."""


def dumps(document: object) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.replace(json.dumps(TWICE)[1:-1], "").encode("utf-8", "surrogatepass")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _with_offsets(entry: Any, offsets: list[int]) -> Any:
    """Turn numbers of frames into offsets; a test that wants another offset gives a function of them all."""
    if not isinstance(entry, dict):
        return entry
    numbers = {}
    for key in ("offset", "endOffset"):
        value = entry.get(key)
        if callable(value):
            numbers[key] = value(offsets)
        elif type(value) is int and 0 < value < len(offsets):
            numbers[key] = offsets[value]
    return {**entry, **numbers}
