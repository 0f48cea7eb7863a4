"""The tar-split data of a zstd:chunked layer, compared with the tar stream as that goes by.

With it a client that pulled a part puts the whole tar stream together again, to compute its digest and to
push it. It is lines of JSON (vbatts/tar-split, tar/storage.Entry): segments of raw bytes, and between them
files, whose content comes from disk (tar/asm.WriteOutputTarStream). tar/asm.NewInputTarStream writes them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from recompress import strictjson
from recompress.errors import VerificationFailed
from recompress.printable import printable

_FILE, _SEGMENT = 1, 2
_BLOCK = 512
_ZEROS = bytes(2 * _BLOCK)
_MAX_INT = 2**63 - 1
_MAX_LINE = 8 * 1024 * 1024
_WHAT = "the tar-split data"
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "type": (int,),
    "name": (str,),
    "name_raw": (str,),
    "size": (int,),
    "payload": (str, type(None)),
    "position": (int,),
}

_FILE_LINE = b'{"type":1,'

_PLAIN = re.compile(rb"[ !#-%'-;=?-\[\]-~]*")
"""Names that stand in Go's JSON as they are."""


@dataclass(frozen=True, slots=True)
class _Entry:
    type: int
    name: bytes
    size: int
    payload: bytes


class TarSplit:
    """Reads tar-split data, given in pieces, and checks that it is what the tar stream needs.

    The caller says what it saw in the stream, in order. Everything else raises VerificationFailed.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._lines: list[bytes] = []
        self._partial = b""
        self._position = 0
        self._trailing = memoryview(b"")

    def expect_segment(self, raw: bytes) -> None:
        """A segment with exactly these bytes: the padding of the file before, and all headers of an entry.

        Exactly one, because a client parses an entry or the end from one segment (tar/asm.IterateHeaders).
        """
        line = self._next()
        if line == b'{"type":2,"payload":"%b","position":%d}' % (
            binascii.b2a_base64(raw, newline=False),
            self._position - 1,
        ):
            return
        entry = _parse(line)
        if entry.type != _SEGMENT or entry.payload != raw:
            raise VerificationFailed(f"{_WHAT} has other bytes here than the tar stream")

    def expect_file(self, name: bytes, size: int, checksum: int) -> None:
        """A file of that name and size in bytes, whose content, where it has any, has that CRC-64."""
        line = self._next()
        payload = checksum.to_bytes(8, "big") if size else b""
        if _PLAIN.fullmatch(name) and line == _plain_file(name, size, payload, self._position - 1):
            return
        entry = _parse(line)
        if entry.type != _FILE:
            raise VerificationFailed(f"{_WHAT} has no file there")
        if entry.name != name:
            raise VerificationFailed(f"{_WHAT} has the file {printable(entry.name)} instead")
        if entry.size != size:
            raise VerificationFailed(f"{_WHAT} says its size is {entry.size}, not {size} as the tar stream")
        if entry.payload != payload:
            raise VerificationFailed(
                f"{_WHAT} says its CRC-64 is {entry.payload.hex()}, not {payload.hex()} as the tar stream"
            )

    def expect_trailing(self, data: bytes) -> bool:
        """Bytes behind the end of the archive. Segments of them are cut where the writer's reads were cut.

        Returns whether a client takes each segment for an end of the archive, as it has to.
        """
        rest = memoryview(data)
        is_end = True
        while rest:
            if not self._trailing:
                entry = _parse(self._next())
                if entry.type != _SEGMENT:
                    raise VerificationFailed(f"{_WHAT} has {printable(entry.name)} behind the last file")
                if not entry.payload:
                    raise VerificationFailed(f"{_WHAT} has an empty segment behind the last file")
                is_end = is_end and _is_end(entry.payload)
                self._trailing = memoryview(entry.payload)
            count = min(len(rest), len(self._trailing))
            if self._trailing[:count] != rest[:count]:
                raise VerificationFailed(f"{_WHAT} has other bytes at the end than the tar stream")
            self._trailing = self._trailing[count:]
            rest = rest[count:]
        return is_end

    def expect_end(self) -> None:
        """Nothing is left."""
        if self._trailing or self.line() is not None:
            raise VerificationFailed(f"{_WHAT} goes on after the end of the tar stream")

    def _next(self) -> bytes:
        line = self.line()
        if line is None:
            raise VerificationFailed(f"{_WHAT} ends before the tar stream does")
        self._position += 1
        return line

    def line(self) -> bytes | None:
        """The next line, as it is; None at the end."""
        while not self._lines:
            piece = next(self._pieces, None)
            if piece is None:
                if self._partial:
                    raise VerificationFailed(f"{_WHAT} ends in the middle of a line")
                return None
            lines = (self._partial + piece).split(b"\n")
            self._partial = lines.pop()
            if len(self._partial) > _MAX_LINE:
                raise VerificationFailed(f"{_WHAT} has a line that is too long")
            lines.reverse()
            self._lines = lines
        return self._lines.pop()


def _is_end(segment: bytes) -> bool:
    # IterateHeaders looks for an entry in each segment: Reader.readHeader has to find the end of an archive
    # in it, or a client fails to pull the layer.
    return segment == _ZEROS[:_BLOCK] or segment.startswith(_ZEROS)


def has_usual_end(pieces: Iterator[bytes]) -> bool:
    """Whether clients take what is behind the archive for its end, by the tar-split data alone.

    Nothing else of the data is checked here, but what cannot be read raises VerificationFailed.
    """
    reader = TarSplit(pieces)
    # The first segment behind the last file has its padding and the end of the archive.
    is_end, is_first = True, True
    while (line := reader.line()) is not None:
        if line.startswith(_FILE_LINE):
            is_end, is_first = True, True
        elif is_first:
            is_first = False
        else:
            payload = _parse(line).payload
            is_end = is_end and _is_end(payload) and payload == bytes(len(payload))
    return is_end


def _plain_file(name: bytes, size: int, payload: bytes, position: int) -> bytes:
    if not size:
        return b'{"type":1,"name":"%b","payload":null,"position":%d}' % (name, position)
    encoded = binascii.b2a_base64(payload, newline=False)
    return b'{"type":1,"name":"%b","size":%d,"payload":"%b","position":%d}' % (name, size, encoded, position)


def _parse(line: bytes) -> _Entry:
    try:
        fields = strictjson.parse(line.decode(), "a line of " + _WHAT)
    except UnicodeDecodeError:
        _fail()
    if not isinstance(fields, dict):
        _fail()
    for key, value in fields.items():
        if value.__class__ not in _FIELDS.get(key, ()):
            _fail()
        # Go reads numbers of 64 bits, also where nothing is done with them.
        if value.__class__ is int and not -_MAX_INT - 1 <= value <= _MAX_INT:
            _fail()
    name = fields.get("name", "").encode("utf-8", "surrogatepass")
    # storage.Entry.GetName: the raw name, where there is one, is the name.
    raw_name = _base64(fields.get("name_raw") or "")
    payload = _base64(fields.get("payload") or "")
    return _Entry(fields.get("type", 0), raw_name or name, fields.get("size", 0), payload)


def _base64(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        _fail()
    if base64.b64encode(decoded) != text.encode():
        # Python overlooks superfluous padding and bits, Go does not.
        _fail()
    return decoded


def _fail() -> NoReturn:
    raise VerificationFailed(f"{_WHAT} has a line that is not an entry")
