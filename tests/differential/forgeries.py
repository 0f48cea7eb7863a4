"""Twins that lie, or look as if they did: honest ones, taken apart, changed, and put together again.

What is changed is the only lie: whatever depends on it, such as digests, positions and sizes, follows.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from recompress.manifest import MediaType
from tests import images
from tests.differential.documents import Document, other_order, tamper
from tests.differential.frames import compressors, flipped
from tests.images import HandmadeImage
from tests.tampering import Layer, Packed, compress, dumps, skippable


@dataclass(frozen=True, slots=True)
class Change:
    """One change: its name, a key of CHANGES, and what makes its choices the same ones each time."""

    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Honest:
    """A twin as recompress would push it: its layers, which may be pulled partially, and its config."""

    layers: tuple[Packed, ...]
    partially: tuple[bool, ...]
    config: bytes


@dataclass(slots=True)
class _Part:
    """A layer in its parts, and how they are to be put together (tests.tampering.assemble)."""

    layer: Layer
    is_annotated: bool
    packing: Document


def forged(honest: Honest, changes: Sequence[Change]) -> HandmadeImage:
    """The twin with these changes; those of what is put together first come first."""
    parts = [
        _Part(Layer.of(layer), is_annotated, {})
        for layer, is_annotated in zip(honest.layers, honest.partially, strict=True)
    ]
    _apply(changes, _OF_PARTS, parts)
    layers = [
        part.layer.pack(layer.diff_id, **part.packing)
        for part, layer in zip(parts, honest.layers, strict=True)
    ]
    blobs = [layer.blob for layer in layers]
    _apply(changes, _OF_BLOBS, blobs)
    annotations = [
        dict(layer.layer.annotations) if part.is_annotated else {}
        for part, layer in zip(parts, layers, strict=True)
    ]
    _apply(changes, _OF_ANNOTATIONS, annotations)
    descriptors = [
        images.descriptor(MediaType.OCI_LAYER_ZSTD, blob, **({"annotations": found} if found else {}))
        for blob, found in zip(blobs, annotations, strict=True)
    ]
    _apply(changes, _OF_DESCRIPTORS, descriptors)
    document: Document = json.loads(images.manifest(honest.config))
    document["layers"] = descriptors
    _apply(changes, _OF_MANIFESTS, [document])
    return HandmadeImage(dumps(document), honest.config, tuple(blobs))


def _apply(changes: Sequence[Change], known: Mapping[str, _Maker], what: list[Any]) -> None:
    for change in changes:
        if change.name in known:
            dice = random.Random(change.seed)
            at = dice.randrange(len(what))
            changed = known[change.name](dice, what[at])
            if changed is not None:
                what[at] = changed


_Maker = Callable[[random.Random, Any], Any]
"""Changes a part in place, or returns another one to take its place."""


# Parts of a layer


def _table_entry(dice: random.Random, part: _Part) -> None:
    if entries := part.layer.toc["entries"]:
        tamper(dice, dice.choice(entries), entries)


def _table_entries(dice: random.Random, part: _Part) -> None:
    part.layer.toc["entries"] = other_order(dice, part.layer.toc["entries"] or [])


def _table_entry_more(dice: random.Random, part: _Part) -> None:
    """An entry that is like another one, but for its name or something else."""
    entries = part.layer.toc["entries"] or []
    if entries:
        new = deepcopy(dice.choice(entries))
        new["name"] = dice.choice((new["name"] + "2", "etc/shadow", ".wh.a", new["name"].rstrip("/") + "/"))
        if dice.random() < 0.5:
            tamper(dice, new, entries)
        entries.insert(dice.randint(0, len(entries)), new)


def _table(dice: random.Random, part: _Part) -> None:
    toc = {**part.layer.toc, "tarSplitDigest": "sha256:" + "0" * 64}
    tamper(dice, toc)
    if toc.get("tarSplitDigest") == "sha256:" + "0" * 64:
        # The right one takes its place.
        del toc["tarSplitDigest"]
    part.layer.toc = {"entries": [], **toc}


def _hand_over(dice: random.Random, part: _Part) -> None:
    """Two files of the table have each other's content, in all that says so, or in a part of it."""
    entries = [entry for entry in part.layer.toc["entries"] or [] if entry.get("type") == "reg"]
    if entries:
        one, other = dice.choice(entries), dice.choice(entries)
        fields = ("digest", "offset", "endOffset", "size", "chunkSize", "chunkDigest")
        for field in fields if dice.random() < 0.5 else dice.sample(fields, 2):
            a, b = one.pop(field, None), other.pop(field, None)
            one.update({field: b} if b is not None else {})
            other.update({field: a} if a is not None else {})


def _chunks(dice: random.Random, part: _Part) -> None:
    """A file as chunks that it has not, or with the chunks that it has in one."""
    entries = part.layer.toc["entries"] or []
    at = [
        n for n, entry in enumerate(entries) if entry.get("type") in ("reg", "chunk") and entry.get("offset")
    ]
    if not at:
        return
    number = dice.choice(at)
    entry = entries[number]
    size = entry.get("chunkSize") or entry.get("size") or 0
    match dice.choice(("zeros", "cut", "join", "whole")):
        case "zeros":
            entry["chunkType"] = dice.choice(("zeros", "", "other"))
        case "cut":
            half = size // 2
            entry["chunkSize"] = half
            second = {"type": "chunk", "name": entry["name"], "offset": entry["offset"] + dice.choice((0, 1))}
            second |= {"chunkOffset": half, "chunkSize": size - half}
            entries.insert(number + 1, second)
        case "join" if number + 1 < len(entries) and entries[number + 1].get("type") == "chunk":
            joined = entries.pop(number + 1)
            if dice.random() < 0.7:
                entry["chunkSize"] = size + joined.get("chunkSize", 0)
        case _:
            entry["chunkSize"] = dice.choice((size, 0, size + 1))
            entry["chunkDigest"] = dice.choice((entry.get("digest", ""), entry.get("chunkDigest", ""), ""))


def _tar_split_line(dice: random.Random, part: _Part) -> None:
    if lines := part.layer.tar_split:
        tamper(dice, dice.choice(lines), lines)


def _tar_split_lines(dice: random.Random, part: _Part) -> None:
    part.layer.tar_split = other_order(dice, part.layer.tar_split)


def _tar_split_bytes(dice: random.Random, part: _Part) -> None:
    """A byte of a header or of a checksum is another one; where two segments are one, or one is two."""
    lines = part.layer.tar_split
    numbers = [number for number, line in enumerate(lines) if line.get("payload")]
    if not numbers:
        return
    number = dice.choice(numbers)
    line = lines[number]
    content = bytearray(base64.b64decode(line["payload"]))
    if not content:
        return
    at = dice.randrange(len(content))
    match dice.choice(("byte", "cut", "join", "more")):
        case "byte":
            content[at] ^= 1 << dice.randrange(8)
        case "cut":
            second = {**line, "payload": base64.b64encode(content[at:]).decode()}
            lines.insert(number + 1, second)
            del content[at:]
        case "join" if number + 1 < len(lines) and lines[number + 1].get("type") == line.get("type"):
            content += base64.b64decode(lines.pop(number + 1).get("payload") or "")
        case _:
            content += bytes(dice.choice((1, 512, 1024)))
    line["payload"] = base64.b64encode(content).decode()


def _frame(dice: random.Random, part: _Part) -> None:
    """A frame that is compressed in another way."""
    if part.layer.frames:
        part.layer.compressors[dice.randrange(len(part.layer.frames))] = dice.choice(compressors(dice))


def _frames(dice: random.Random, part: _Part) -> None:
    """A frame more, or one less; the table knows of it most of the time."""
    layer = part.layer
    if not layer.frames:
        return
    number = dice.randrange(len(layer.frames))
    frame = layer.frames[number]
    match dice.choice(("empty", "cut", "join")):
        case "empty":
            new = [b"", frame] if dice.random() < 0.5 else [frame, b""]
        case "cut":
            at = dice.randint(0, len(frame))
            new = [frame[:at], frame[at:]]
        case _:
            new = [b"".join(layer.frames[number : number + 2])]
            del layer.frames[number + 1 : number + 2]
    layer.frames[number : number + 1] = new
    moved = dice.choice((0, 1, 1)) if len(new) == 2 else -1
    # Whether what begins here begins before or behind the new frame.
    first = number + dice.choice((0, 1))
    for entry in layer.toc["entries"] or ():
        for field in ("offset", "endOffset"):
            if isinstance(entry.get(field), int) and entry[field] > first:
                entry[field] += moved


def _put_back(_dice: random.Random, part: _Part) -> None:
    """With annotations for partial pulls where they were left out, or without where nothing is a reason."""
    part.is_annotated = not part.is_annotated


def _tables(dice: random.Random, part: _Part) -> None:
    """The table, or the tar-split data, written as other JSON, or compressed or described otherwise."""
    which = dice.choice(("toc", "tar_split"))
    match dice.choice(("rewrite", "rewrite", "compress", "compress", "size", "digest")):
        case "rewrite":
            part.packing["rewrite_" + which] = dice.choice(_REWRITERS)
        case "compress":
            part.packing["compress_" + which] = dice.choice(compressors(dice))
        case "size":
            part.packing[which + "_size"] = dice.choice((0, 1, 100, 2**31, 2**40))
        case _:
            part.packing["tar_split_digest"] = dice.choice(("sha256:" + "0" * 64, " ", "sha512:" + "0" * 128))


_REWRITERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda text: text.replace(b",", b" , "),
    lambda text: text.replace(b"\n", b"\r\n"),
    lambda text: text.replace(b"\n", b"\n\n"),
    lambda text: text.replace(b"\n", b" "),
    lambda text: text[:-1],
    lambda text: text + b"\n",
    lambda text: text + b"{}\n",
    lambda text: text + b"\0",
    lambda text: b"\xef\xbb\xbf" + text,
    lambda text: text.replace(b"a", b"\\u0061", 1),
    lambda text: text.replace(b"/", b"\\/"),
    lambda text: text.replace(b'"', b"'", 2),
    lambda text: text.replace(b":1", b":1e0", 1),
    lambda text: text.replace(b":1", b":01", 1),
    lambda text: text.replace(b":0", b":-0", 1),
)
"""Ways to write JSON that says the same, or nearly."""


def _footer(dice: random.Random, part: _Part) -> None:
    at, bit = dice.random(), dice.randrange(8)
    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda footer: flipped(footer, at, bit),
        lambda footer: footer[:-1],
        lambda footer: footer + b"\0",
        lambda footer: footer[24:] + footer[:24],
        lambda footer: b"",
    )
    part.packing["footer"] = dice.choice(ways)


_OF_PARTS: Mapping[str, _Maker] = {
    "a field of the table": _table_entry,
    "an entry of the table": _table_entries,
    "one more entry of the table": _table_entry_more,
    "the table": _table,
    "the content of files of the table": _hand_over,
    "chunks": _chunks,
    "a field of the tar-split data": _tar_split_line,
    "a line of the tar-split data": _tar_split_lines,
    "bytes of the tar-split data": _tar_split_bytes,
    "how a frame is compressed": _frame,
    "where frames begin": _frames,
    "whether a layer is pulled partially": _put_back,
    "how tables are packed": _tables,
    "the footer": _footer,
}


# Blobs, descriptors, manifests


def _blob(dice: random.Random, blob: bytes) -> bytes:
    at = dice.randrange(len(blob))
    ways = (
        flipped(blob, dice.random(), dice.randrange(8)),
        blob[:at] + blob[at + 1 :],
        blob[:at],
        blob + b"\0",
        blob + skippable(b"x"),
        skippable(b"x") + blob,
        compress(b"") + blob,
        blob + blob[-72:],
    )
    return dice.choice(ways)


def _descriptor(dice: random.Random, descriptor: Document) -> None:
    types = (MediaType.OCI_LAYER_GZIP, MediaType.DOCKER_LAYER_GZIP, MediaType.OCI_LAYER_ZSTD + "x")
    others = [
        {"mediaType": media_type, "urls": ["http://127.0.0.1/x"], "data": "eA=="} for media_type in types
    ]
    tamper(dice, descriptor, [descriptor, *others])


def _manifest(dice: random.Random, document: Document) -> None:
    others = [
        {
            "mediaType": media_type,
            "artifactType": "application/x",
            "subject": document.get("config"),
            "annotations": {"a": "b"},
            "manifests": document.get("layers"),
            "schemaVersion": 1,
        }
        for media_type in (MediaType.DOCKER_MANIFEST, MediaType.OCI_INDEX)
    ]
    tamper(dice, document, [document, *others])


def _layers(dice: random.Random, document: Document) -> None:
    document["layers"] = other_order(dice, document.get("layers") or [])


def _config(dice: random.Random, document: Document) -> None:
    if isinstance(document.get("config"), dict):
        tamper(dice, document["config"], document.get("layers") or [])


_OF_BLOBS: Mapping[str, _Maker] = {"bytes of the blob": _blob}
_OF_ANNOTATIONS: Mapping[str, _Maker] = {"a layer's annotations": tamper}
_OF_DESCRIPTORS: Mapping[str, _Maker] = {"a layer's descriptor": _descriptor}
_OF_MANIFESTS: Mapping[str, _Maker] = {
    "the manifest": _manifest,
    "the layers of the manifest": _layers,
    "the config's descriptor": _config,
}

CHANGES = (*_OF_PARTS, *_OF_BLOBS, *_OF_ANNOTATIONS, *_OF_DESCRIPTORS, *_OF_MANIFESTS)
"""The names of all changes."""
