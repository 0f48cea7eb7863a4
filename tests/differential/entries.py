"""Entries of a tar stream as values, and the bytes that they are in any of the formats."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

BLOCK = 512
END = bytes(2 * BLOCK)
TYPES = {
    "reg": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
}
FORMATS = ("pax", "gnu", "ustar", "v7")
_SECOND = 1_000_000_000
_MAGIC = {"pax": b"ustar\x0000", "ustar": b"ustar\x0000", "gnu": b"ustar  \0", "v7": bytes(8)}
_FIELDS = struct.Struct("100s 8s 8s 8s 12s 12s 8s s 100s 8s 32s 32s 8s 8s 167s")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `mtime` is in nanoseconds since 1970; `size` is said where the content has another one."""

    kind: str
    name: bytes
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_700_000_000 * _SECOND
    content: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    device: tuple[int, int] = (0, 0)
    format: str = "pax"
    size: int | None = None

    def __repr__(self) -> str:
        plain = Entry(self.kind, b"")
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("kind", "name")}
        shown = "".join(
            f", {name}={value!r:.120}" for name, value in fields.items() if value != getattr(plain, name)
        )
        return f"Entry({self.kind!r}, {self.name!r}{shown})"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its entries and what comes behind them."""

    entries: tuple[Entry, ...]
    end: bytes = END

    @property
    def stream(self) -> bytes:
        """The tar stream."""
        return stream(self.entries, self.end)


def stream(entries: Sequence[Entry], end: bytes = END) -> bytes:
    """The tar stream with these entries."""
    return b"".join(map(_bytes, entries)) + end


def _bytes(entry: Entry) -> bytes:
    return _headers(entry) + _padded(entry.content)


def _headers(entry: Entry) -> bytes:
    """PAX or GNU headers for what does not fit, and the header itself."""
    match entry.format:
        case "gnu":
            long = b"".join(
                _block(Entry("reg", b"././@LongLink", size=len(text) + 1, format="gnu"), kind)
                + _padded(text + b"\0")
                for kind, text in ((b"K", entry.link), (b"L", entry.name))
                if len(text) > 100
            )
            return long + _xattr_header(entry) + _block(entry, TYPES[entry.kind])
        case "v7" if not _records(entry):
            return _block(entry, _old_type(entry))
        case "ustar" if not _records(entry):
            return _block(entry, TYPES[entry.kind])
        case _:
            return _pax_header(_records(entry)) + _block(replace(entry, format="pax"), TYPES[entry.kind])


def _old_type(entry: Entry) -> bytes:
    """In archives of before POSIX a directory is a file with a slash at the end."""
    is_old = entry.kind == "reg" or (entry.kind == "dir" and entry.name.endswith(b"/"))
    return b"\0" if is_old else TYPES[entry.kind]


def _xattr_header(entry: Entry) -> bytes:
    """Extended attributes are in PAX headers only; mixed with GNU ones, they are read all the same."""
    return _pax_header({name: value for name, value in _records(entry).items() if b"xattr" in name})


def _records(entry: Entry) -> dict[bytes, bytes]:
    """What needs a PAX header."""
    records = {b"SCHILY.xattr." + name: value for name, value in entry.xattrs}
    if len(entry.name) > 100:
        records[b"path"] = entry.name
    if len(entry.link) > 100:
        records[b"linkpath"] = entry.link
    for name, number, most in ((b"uid", entry.uid, 0o7777777), (b"gid", entry.gid, 0o7777777)):
        if not 0 <= number <= most:
            records[name] = b"%d" % number
    seconds, nanoseconds = divmod(abs(entry.mtime), _SECOND)
    if nanoseconds or not 0 <= entry.mtime < 8**11 * _SECOND:
        sign = b"-" if entry.mtime < 0 else b""
        records[b"mtime"] = b"%s%d.%09d" % (sign, seconds, nanoseconds)
    return records


def _pax_header(records: dict[bytes, bytes]) -> bytes:
    if not records:
        return b""
    content = b"".join(_record(name, value) for name, value in records.items())
    return _block(Entry("reg", b"PaxHeaders/x", size=len(content)), b"x") + _padded(content)


def _record(name: bytes, value: bytes) -> bytes:
    rest = b" " + name + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def _block(entry: Entry, kind: bytes) -> bytes:
    gnu = entry.format == "gnu"
    size = len(entry.content) if entry.size is None else entry.size
    fields = [
        entry.name[:100],
        _number(entry.mode, 8, gnu),
        _number(entry.uid, 8, gnu),
        _number(entry.gid, 8, gnu),
        _number(size, 12, gnu),
        _number(entry.mtime // _SECOND, 12, gnu),
        b" " * 8,
        kind,
        entry.link[:100],
        _MAGIC[entry.format],
        b"",
        b"",
        _number(entry.device[0], 8, gnu),
        _number(entry.device[1], 8, gnu),
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_FIELDS.pack(*fields))
    return _FIELDS.pack(*fields)


def _number(value: int, length: int, gnu: bool) -> bytes:
    """Octal digits; where they do not do, base-256 in GNU headers, and 0 where a PAX header says it."""
    if 0 <= value < 8 ** (length - 1):
        return b"%0*o\0" % (length - 1, value)
    if gnu:
        return (value % (1 << 8 * length) | (0x80 << 8 * (length - 1))).to_bytes(length, "big")
    return b"%0*o\0" % (length - 1, 0)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)
