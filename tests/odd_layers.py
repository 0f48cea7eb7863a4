"""Layers of sources, and the reason why each has no zstd:chunked twin, or None where it has one.

tests/unit/layer/test_source.py compares what check_source says of them, and tests/integration/test_source.py
what the real skopeo makes of them.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from recompress.layer.compat import zstd
from tests.data.make_layers import CASES, END, REFUSED, archive, file, header, info

_DIR = b"5"
_SKIPPABLE = b"\x50\x2a\x4d\x18\4\0\0\0abcd"


@dataclass(frozen=True)
class OddLayer:
    """A tar stream, and the blob that holds it in the image."""

    tar: bytes
    blob: bytes
    reason: str | None = None


def _of(tar: bytes, reason: str | None = None) -> OddLayer:
    return OddLayer(tar, gzip.compress(tar, mtime=0), reason)


def _two(first: bytes, second: bytes, kind: bytes = b"0") -> bytes:
    return header(first, kind=kind) + header(second, kind=kind) + END


def _with(key: str, value: str) -> bytes:
    return archive(tarfile.PAX_FORMAT, (info("file", pax_headers={key: value}), b"x"))


def _meta(kind: bytes, content: bytes) -> bytes:
    return header(b"meta", kind=kind, size=len(content)) + content + bytes(-len(content) % 512)


def _changed(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _years(what: str) -> str:
    return f"its {what} is not within the years 0 to 9999, the only ones a zstd:chunked layer can hold"


_TAR = file()
_GZIP = gzip.compress(_TAR, mtime=0)
_ZSTD = zstd.compress(_TAR, options={zstd.CompressionParameter.checksum_flag: 1})
_NO_GZIP = f"behind its gzip stream, at byte {len(_GZIP)}, there is something that is not a gzip stream: "
_NO_ZSTD = f"behind its zstd stream, at byte {len(_ZSTD)}, there is something that is not a zstd stream: "
_MORE_THAN_ONE = "the layer has more than one entry for this path"
_NOT_GZIP = "its gzip stream cannot be read: "
_CHECKSUM = "the checksum of the tar header is wrong"
_PADDING = "the tar stream ends in the padding behind it, which skopeo drops"

PACKED: Mapping[str, OddLayer] = {
    "uncompressed": OddLayer(_TAR, _TAR),
    "zstd": OddLayer(_TAR, _ZSTD),
    "two gzip members": OddLayer(_TAR, gzip.compress(_TAR[:600]) + gzip.compress(_TAR[600:])),
    "a thousand empty gzip members behind": OddLayer(_TAR, _GZIP + 1000 * gzip.compress(b"")),
    "two zstd frames": OddLayer(_TAR, zstd.compress(_TAR[:600]) + zstd.compress(_TAR[600:])),
    "a skippable frame behind": OddLayer(_TAR, _ZSTD + _SKIPPABLE),
    "a blob of 0 bytes": OddLayer(b"", b"", "it is empty, without even the end of a tar archive"),
    "text": OddLayer(b"text", b"text", "the tar stream ends in the middle of a header"),
    "one zero behind gzip": OddLayer(_TAR, _GZIP + b"\0", _NO_GZIP + "it is cut short"),
    "zeros behind gzip": OddLayer(_TAR, _GZIP + bytes(512), _NO_GZIP + "incorrect header check"),
    "junk behind gzip": OddLayer(_TAR, _GZIP + b"junk", _NO_GZIP + "incorrect header check"),
    "half a gzip member behind": OddLayer(_TAR, _GZIP + _GZIP[:-4], _NO_GZIP + "it is cut short"),
    "gzip cut in its header": OddLayer(_TAR, _GZIP[:7], _NOT_GZIP + "it is cut short"),
    "gzip cut behind its header": OddLayer(_TAR, _GZIP[:10], _NOT_GZIP + "it is cut short"),
    "gzip cut in its content": OddLayer(_TAR, _GZIP[:40], _NOT_GZIP + "it is cut short"),
    "gzip cut in its checksum": OddLayer(_TAR, _GZIP[:-7], _NOT_GZIP + "it is cut short"),
    "gzip with a wrong checksum": OddLayer(_TAR, _changed(_GZIP, -5), _NOT_GZIP + "incorrect data check"),
    "gzip with a wrong length": OddLayer(_TAR, _changed(_GZIP, -1), _NOT_GZIP + "incorrect length check"),
    "gzip with damaged content": OddLayer(
        _TAR, _changed(_GZIP, 10), _NOT_GZIP + "invalid stored block lengths"
    ),
    "junk behind zstd": OddLayer(_TAR, _ZSTD + b"junkjunk", _NO_ZSTD + "Unknown frame descriptor"),
    "three zeros behind zstd": OddLayer(_TAR, _ZSTD + bytes(3), _NO_ZSTD + "Unknown frame descriptor"),
    "half a zstd frame behind": OddLayer(_TAR, _ZSTD + _ZSTD[:30], _NO_ZSTD + "it is cut short"),
    "zstd cut short": OddLayer(_TAR, _ZSTD[:-5], "its zstd stream cannot be read: it is cut short"),
    "zstd with a wrong checksum": OddLayer(
        _TAR, _changed(_ZSTD, -1), "its zstd stream cannot be read: Restored data doesn't match checksum"
    ),
}

PATHS: Mapping[str, OddLayer] = {
    "a and a": _of(_two(b"a", b"a"), f"a: {_MORE_THAN_ONE}"),
    "a and ./a": _of(_two(b"a", b"./a"), f"./a: {_MORE_THAN_ONE}"),
    "a and b/../a": _of(_two(b"a", b"b/../a"), f"b/../a: {_MORE_THAN_ONE}"),
    "/a and //a": _of(_two(b"/a", b"//a"), f"//a: {_MORE_THAN_ONE}"),
    "/a and /../a": _of(_two(b"/a", b"/../a"), f"/../a: {_MORE_THAN_ONE}"),
    "../a and ../a": _of(_two(b"../a", b"../a"), f"../a: {_MORE_THAN_ONE}"),
    "d/ and d/": _of(_two(b"d/", b"d/", _DIR), f"d/: {_MORE_THAN_ONE}"),
    "d and d/": _of(_two(b"d", b"d/", _DIR), f"d/: {_MORE_THAN_ONE}"),
    "./ and .": _of(_two(b"./", b".", _DIR), f".: {_MORE_THAN_ONE}"),
    "not UTF-8 twice": _of(_two(b"\xe9", b"\xe9"), rf"\udce9: {_MORE_THAN_ONE}"),
    "a and /a": _of(_two(b"a", b"/a")),
    "a and ../a": _of(_two(b"a", b"../a")),
    "../a and ../../a": _of(_two(b"../a", b"../../a")),
    "./ and /": _of(_two(b"./", b"/", _DIR)),
    "a and A": _of(_two(b"a", b"A")),
}

TIMES: Mapping[str, OddLayer] = {
    "the last time of 9999": _of(_with("mtime", "253402300799.999999999")),
    "the first time of 10000": _of(_with("mtime", "253402300800"), "file: " + _years("mtime")),
    "the first time of year 0": _of(_with("mtime", "-62167219200")),
    "the last time before year 0": _of(_with("mtime", "-62167219200.5"), "file: " + _years("mtime")),
    "year 1, which is Go's zero": _of(_with("mtime", "-62135596800")),
    "the largest time": _of(_with("mtime", str(2**63 - 1)), "file: " + _years("mtime")),
    "the smallest time": _of(_with("mtime", str(-(2**63))), "file: " + _years("mtime")),
    "atime in 10000": _of(_with("atime", "253402300800"), "file: " + _years("atime")),
    "ctime in 10000": _of(_with("ctime", "253402300800"), "file: " + _years("ctime")),
    "base-256 mtime in 10000": _of(
        header(b"file", o136=b"\x80" + (253_402_300_800).to_bytes(11, "big")) + END,
        "file: " + _years("mtime"),
    ),
}

REWRITTEN: Mapping[str, OddLayer] = {
    "PAX sparse file": _of(CASES["sparse-pax"](), "sparse: no zstd:chunked layer can hold a sparse file"),
    "a stream of 0 bytes": _of(b"", "it is empty, without even the end of a tar archive"),
    "the padding lacks a byte": _of(file(end=b"")[:-1], f"file: {_PADDING}"),
    "the padding has one byte": _of(file(end=b"")[:-323], f"file: {_PADDING}"),
    "there is no padding at all": _of(file(end=b"")[:-324]),
    "the content lacks a byte": _of(
        file(end=b"")[:-325], "file: the tar stream ends 1 byte before its content does"
    ),
    # Were they zeros, skopeo would never end: its holesFinder takes the end for a zero, again and again.
    "the content lacks most": _of(
        file(end=b"") + header(b"large", size=10**6) + b"x" * 5000,
        "large: the tar stream ends 995000 bytes before its content does",
    ),
}

REFUSED_HEADERS: Mapping[str, OddLayer] = {
    "old GNU sparse file": _of(
        REFUSED["sparse-gnu"](),
        "sparse: no zstd:chunked layer can hold tar entries of type 'S' (a sparse file)",
    ),
    "global PAX header": _of(
        REFUSED["global-pax"](),
        "././@PaxHeader: no zstd:chunked layer can hold tar entries of type 'g' (a global PAX header)",
    ),
    "unknown type": _of(
        file(end=b"") + header(b"contiguous", kind=b"7") + END,
        "after file: contiguous: no zstd:chunked layer can hold tar entries of type '7'",
    ),
    "wrong checksum": _of(_changed(_TAR, 1), f"fhle: {_CHECKSUM}"),
    "wrong checksum later": _of(file(end=b"") + _changed(_TAR, 1), f"after file: fhle: {_CHECKSUM}"),
    "malformed PAX header": _of(_meta(b"x", b"7 a=b\n") + header(b"file") + END, "a PAX header is malformed"),
    "a number that is not one": _of(
        header(b"file", o100=b"0000648\0") + END,
        r"a tar header has b'0000648\x00' where a number must be",
    ),
    "a negative size": _of(
        header(b"file", o124=b"\xff" * 12) + END, "file: its size in the tar stream is -1"
    ),
    "a header that is cut": _of(
        file(end=b"") + header(b"cut")[:200], "after file: the tar stream ends in the middle of a header"
    ),
    "one block of zeros, then a header": _of(
        file(end=bytes(512)) + file(),
        "after file: there is one block of zeros in the tar stream, then something else",
    ),
    "an endless PAX header": _of(
        _meta(b"x", bytes(2**20 + 1)), "there is a tar header of 1048577 bytes, and readers accept 1048576"
    ),
}

MADE: Mapping[str, OddLayer] = {
    name: _of(make()) for name, make in CASES.items() if name not in ("no-bytes", "sparse-pax", "no-padding")
}
"""The layers that skopeo compresses without changing the stream, if not without trouble for clients."""

ODD_LAYERS: Mapping[str, OddLayer] = {**MADE, **PACKED, **PATHS, **TIMES, **REWRITTEN, **REFUSED_HEADERS}
