"""The headers of a tar stream, exactly as skopeo reads them.

skopeo makes zstd:chunked layers with the tar reader of vbatts/tar-split (archive/tar, a fork of Go's), so
this follows its Reader.next: ustar, PAX, GNU and STAR headers, base-256 numbers, and the same errors. What no
zstd:chunked layer can hold is an error here: sparse files, global PAX headers, unusual types. Nothing is ever
extracted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from recompress.errors import VerificationFailed
from recompress.printable import printable

BLOCK = 512
_ZERO_BLOCK = bytes(BLOCK)
_MAX_META = 1024 * 1024  # maxSpecialFileSize
_MAX_RAW = 4 * 1024 * 1024
_MAX_INT = 2**63 - 1
_SECOND = 1_000_000_000

# name mode uid gid size mtime checksum type linkname magic version uname gname devmajor devminor, and what
# depends on the format: prefix (ustar), or atime and ctime (GNU)
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s s 100s 6s 2s 32s 32s 8s 8s 155s 12x")

TYPES: Mapping[bytes, str] = {
    b"0": "reg",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}
"""The types that a zstd:chunked layer has words for: minimal.TarTypes of containers/storage."""

_XATTR = b"SCHILY.xattr."
_SPARSE = b"GNU.sparse."
_DECIMAL = re.compile(rb"[+-]?[0-9]{1,19}")
_TIME = re.compile(rb"([+-]?[0-9]{1,19})(?:\.([0-9]*))?")


class Source(Protocol):
    """Where the bytes of the stream come from."""

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end of the stream."""


class TarHeader(NamedTuple):
    """One entry of a tar stream.

    `size` is in bytes; times are nanoseconds since 1970, None where the header has none. `raw` is every byte
    since the content of the entry before: padding, PAX and GNU headers, and the header itself.
    """

    type: str
    name: bytes
    link_name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    atime: int | None
    ctime: int | None
    dev_major: int
    dev_minor: int
    xattrs: Mapping[bytes, bytes]
    raw: bytes


@dataclass(slots=True)
class _Extensions:
    """What PAX and GNU headers say of the entry that follows them."""

    pax: Mapping[bytes, bytes] | None = None
    name: bytes = b""
    link_name: bytes = b""


class TarStream:
    """Reads headers from `source`; the caller reads the content of regular files from there in between.

    Raises VerificationFailed for what is no tar stream, or none that a zstd:chunked layer can hold.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._padding = 0
        self._raw: list[bytes] = []
        self._raw_size = 0

    def next_header(self) -> TarHeader | None:
        """The next entry; None at the end of the archive."""
        self._raw = []
        self._raw_size = 0
        if len(self._take(self._padding)) < self._padding:
            return None
        extensions = _Extensions()
        while block := self._header_block():
            kind = block[156:157]
            if kind == b"x":
                extensions.pax = _pax_records(self._meta(block))
            elif kind == b"L":
                extensions.name = _text(self._meta(block))
            elif kind == b"K":
                extensions.link_name = _text(self._meta(block))
            else:
                header = _entry(block, extensions, b"".join(self._raw))
                self._padding = -header.size % BLOCK if header.type == "reg" else 0
                return header
        return None

    @property
    def end(self) -> bytes:
        """All bytes since the last content, once `next_header` returned None; more can follow."""
        return b"".join(self._raw)

    def _header_block(self) -> bytes:
        block = self._take(BLOCK)
        if block == _ZERO_BLOCK:
            # Two blocks of zeros are the end; so is one with nothing behind it (Reader.readHeader).
            block = self._take(BLOCK)
            if block and block != _ZERO_BLOCK:
                raise VerificationFailed("there is one block of zeros in the tar stream, then something else")
            return b""
        if block and len(block) < BLOCK:
            raise VerificationFailed("the tar stream ends in the middle of a header")
        return block

    def _meta(self, block: bytes) -> bytes:
        _check(block)
        size = _number(block[124:136])
        if not 0 <= size <= _MAX_META:
            raise VerificationFailed(f"there is a tar header of {size} bytes, and readers accept {_MAX_META}")
        padded = size + -size % BLOCK
        content = self._take(padded)
        if len(content) < padded:
            raise VerificationFailed("the tar stream ends in the middle of a header")
        return content[:size]

    def _take(self, count: int) -> bytes:
        if not count:
            return b""
        data = self._source.read_exactly(count)
        self._raw.append(data)
        self._raw_size += len(data)
        if self._raw_size > _MAX_RAW:
            raise VerificationFailed(f"the tar headers of one entry are more than {_MAX_RAW} bytes")
        return data


def _entry(block: bytes, extensions: _Extensions, raw: bytes) -> TarHeader:
    _check(block)
    (name, mode, uid, gid, size, mtime, _, kind, link, magic, version, _, _, major, minor, rest) = (
        _HEADER.unpack(block)
    )
    name = _text(name)
    atime: int | None = None
    ctime: int | None = None
    ustar = magic == b"ustar\0"
    gnu = magic == b"ustar " and version == b" \0"
    if ustar and block[508:] == b"tar\0":
        prefix, atime, ctime = _text(rest[:131]), _time(rest[131:143]), _time(rest[143:])
    elif ustar:
        prefix = _text(rest)
    elif gnu:
        prefix, atime, ctime = _gnu_times(rest)
    else:
        prefix = b""
    header = TarHeader(
        TYPES.get(kind, ""),
        prefix + b"/" + name if prefix else name,
        _text(link),
        _number(mode),
        _number(uid),
        _number(gid),
        _number(size),
        _time(mtime),
        atime,
        ctime,
        _number(major) if ustar or gnu else 0,
        _number(minor) if ustar or gnu else 0,
        _NO_XATTRS,
        raw,
    )
    if extensions.pax or extensions.name or extensions.link_name:
        header = _extended(header, extensions)
    if not header.type or header.size < 0:
        header = header._replace(type=_unusual_type(kind, header))
    return header


_NO_XATTRS: Mapping[bytes, bytes] = {}


def _unusual_type(kind: bytes, header: TarHeader) -> str:
    if header.size < 0:
        raise VerificationFailed(f"{printable(header.name)}: its size in the tar stream is {header.size}")
    if kind == b"\0":
        # Archives from before POSIX have directories as files with a slash at the end.
        return "dir" if header.name.endswith(b"/") else "reg"
    # skopeo fails to compress a layer with one (minimal.GetType).
    what = {b"g": " (a global PAX header)", b"S": " (a sparse file)"}.get(kind, "")
    raise VerificationFailed(
        f"{printable(header.name)}: no zstd:chunked layer can hold tar entries of type "
        f"{kind.decode('latin-1')!r}{what}"
    )


def _extended(header: TarHeader, extensions: _Extensions) -> TarHeader:
    """Put in what PAX and GNU headers say: Reader.mergePAX, then the GNU names."""
    changed: dict[str, object] = {}
    xattrs: dict[bytes, bytes] = {}
    records = extensions.pax or {}
    for key, value in records.items():
        if key.startswith(_XATTR):
            xattrs[key.removeprefix(_XATTR)] = value
        elif key.startswith(_SPARSE):
            # The reader returns the content with its holes filled, the compressor writes that into the layer,
            # and so the layer is another tar stream than the one it was made from.
            name = records.get(_SPARSE + b"name") or records.get(b"path") or header.name
            raise VerificationFailed(f"{printable(name)}: no zstd:chunked layer can hold a sparse file")
        elif value and key in _PAX_FIELDS:
            field, read = _PAX_FIELDS[key]
            changed[field] = read(value)
    if xattrs:
        changed["xattrs"] = xattrs
    if extensions.name:
        changed["name"] = extensions.name
    if extensions.link_name:
        changed["link_name"] = extensions.link_name
    return header._replace(**changed)  # type: ignore[arg-type]


def _check(block: bytes) -> None:
    stored = _number(block[148:156])
    unsigned = _sum(block[:256]) + _sum(block[256:]) - _sum(block[148:156]) + 8 * 32
    # Some old archives have the sum of the bytes as signed ones.
    if stored != unsigned and stored != unsigned - 256 * sum(
        byte > 127 for byte in block[:148] + block[156:]
    ):
        raise VerificationFailed(f"{printable(_text(block[:100]))}: the checksum of the tar header is wrong")


def _sum(data: bytes) -> int:
    """The sum of at most 256 bytes: half of an Adler-32, which counts from 1 and modulo 65521."""
    return (zlib.adler32(data) & 0xFFFF) - 1


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Octal digits, or base-256 with the first bit set: strconv.go, parseNumeric."""
    digits = field.strip(b" \0")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass
    elif not digits:
        return 0
    elif field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if field[0] & 0x40:
            value -= 1 << bits
        if -_MAX_INT - 1 <= value <= _MAX_INT:
            return value
    elif b"\0" in digits:
        return _number(_text(digits))
    raise VerificationFailed(f"a tar header has {field!r} where a number must be")


def _time(field: bytes) -> int:
    return _number(field) * _SECOND


def _gnu_times(rest: bytes) -> tuple[bytes, int | None, int | None]:
    """The fields of a GNU header where ustar has its prefix: a prefix, atime and ctime."""
    try:
        atime = _time(rest[:12]) if rest[0] else None
        ctime = _time(rest[12:24]) if rest[12] else None
    except VerificationFailed:
        # Go before 1.8 wrote a prefix there, golang.org/issue/12594.
        prefix = _text(rest)
        return (prefix if prefix.isascii() else b""), None, None
    return b"", atime, ctime


def _pax_records(content: bytes) -> Mapping[bytes, bytes]:
    """Records of the form `<length> <key>=<value>\\n`; the length is of all of it."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 21)
        length = content[start:space] if space >= 0 else b""
        end = start + int(length) if length.isdigit() else -1
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if (
            not space < end <= len(content)
            or content[end - 1 : end] != b"\n"
            or not equals
            or not _valid_pax(key, value)
        ):
            raise VerificationFailed("a PAX header is malformed")
        records[key] = value
        start = end
    return records


def _valid_pax(key: bytes, value: bytes) -> bool:
    # strconv.go, validPAXRecord
    return bool(key) and b"\0" not in (value if key in _PAX_TEXTS else key)


def _pax_number(value: bytes) -> int:
    if _DECIMAL.fullmatch(value) and -_MAX_INT - 1 <= int(value) <= _MAX_INT:
        return int(value)
    raise VerificationFailed(f"a PAX header has {value!r:.100} where a number must be")


def _pax_time(value: bytes) -> int:
    match = _TIME.fullmatch(value)
    if match is None:
        raise VerificationFailed(f"a PAX header has {value!r:.100} where a time must be")
    seconds = _pax_number(match[1]) * _SECOND
    fraction = int((match[2] or b"")[:9].ljust(9, b"0"))
    return seconds - fraction if value.startswith(b"-") else seconds + fraction


_PAX_FIELDS: Mapping[bytes, tuple[str, Callable[[bytes], object]]] = {
    b"path": ("name", bytes),
    b"linkpath": ("link_name", bytes),
    b"uid": ("uid", _pax_number),
    b"gid": ("gid", _pax_number),
    b"size": ("size", _pax_number),
    b"mtime": ("mtime", _pax_time),
    b"atime": ("atime", _pax_time),
    b"ctime": ("ctime", _pax_time),
}
_PAX_TEXTS = frozenset({b"path", b"linkpath", b"uname", b"gname"})
