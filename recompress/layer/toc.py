"""The table of contents (TOC) of a zstd:chunked layer, entry by entry.

The format is minimal.TOC and minimal.FileMetadata of containers/storage, pkg/chunked. Clients read it with
unmarshalToc (pkg/chunked/cache_linux.go), which takes keys in any case and skips those it does not know; here
a key has to be spelled exactly and be known, because what is not understood cannot be proven.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from recompress.errors import VerificationFailed, about
from recompress.printable import printable
from recompress.reference import Digest
from recompress.strictjson import Stream

CHUNK = "chunk"
ZEROS = "zeros"

_WHAT = "the table of contents"
_MAX_INT = 2**63 - 1
_NO_XATTRS: Mapping[str, str] = {}
_FIELDS: Mapping[str, type] = {
    "type": str,
    "name": str,
    "linkName": str,
    "mode": int,
    "size": int,
    "uid": int,
    "gid": int,
    "modtime": str,
    "accesstime": str,
    "changetime": str,
    "devMajor": int,
    "devMinor": int,
    "xattrs": dict,
    "digest": str,
    "offset": int,
    "endOffset": int,
    "chunkSize": int,
    "chunkOffset": int,
    "chunkDigest": str,
    "chunkType": str,
}
_CHUNK_FIELDS = frozenset({"type", "name", "offset", "chunkSize", "chunkOffset", "chunkDigest", "chunkType"})
# Versions of Python differ in what they take for a time; clients read it as Go's time.RFC3339, which knows no
# 24:00:00 and no zones of a day and more.
_HOUR_AND_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_HOUR_AND_MINUTE}:[0-5][0-9])(?:\.([0-9]{{1,9}}))?"
    rf"(Z|[+-]{_HOUR_AND_MINUTE})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class TocEntry(NamedTuple):
    """One entry. Times are nanoseconds since 1970, None where there is none; xattr values are base64."""

    type: str
    name: str
    link_name: str
    mode: int
    uid: int
    gid: int
    size: int
    modtime: int | None
    accesstime: int | None
    changetime: int | None
    dev_major: int
    dev_minor: int
    xattrs: Mapping[str, str]
    digest: str
    offset: int
    end_offset: int
    chunk_size: int
    chunk_offset: int
    chunk_digest: str
    chunk_type: str


class Toc:
    """Reads a TOC from its decompressed JSON, given in pieces.

    `next_entry` returns entries in their order, then None; after that `tar_split_digest` is known. Everything
    that is no such document raises VerificationFailed, at the latest when its end is reached.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._entries = self._read(Stream(pieces, _WHAT))
        self._ahead: TocEntry | None = None
        self._top: dict[str, object] = {}

    def next_entry(self) -> TocEntry | None:
        """The next entry, of a file or of a chunk."""
        entry, self._ahead = self._ahead, None
        return entry or next(self._entries, None)

    def next_chunk(self) -> TocEntry | None:
        """The next entry where it is of a chunk; None, and nothing is skipped, where it is not."""
        entry = self.next_entry()
        if entry is None or entry.type == CHUNK:
            return entry
        self._ahead = entry
        return None

    @property
    def tar_split_digest(self) -> Digest:
        """The digest of the compressed tar-split data, once there are no more entries."""
        # Clients pull a layer without one in full (makeZstdChunkedDiffer), so it is no twin to publish.
        with about(f"{_WHAT}: tarSplitDigest", ValueError, VerificationFailed):
            return Digest.parse(self._top.get("tarSplitDigest"))

    def _read(self, stream: Stream) -> Iterator[TocEntry]:
        stream.expect("{")
        separator = False
        while not stream.next_is("}"):
            if separator:
                stream.expect(",")
            separator = True
            key = stream.value()
            stream.expect(":")
            if not isinstance(key, str) or key in self._top:
                raise VerificationFailed(f"{_WHAT} has the key {key!r:.100} twice")
            if key == "entries" and stream.next_is("["):
                self._top[key] = None
                yield from _entries(stream)
            elif key in ("version", "entries", "tarSplitDigest"):
                self._top[key] = stream.value()
            else:
                raise VerificationFailed(f"{_WHAT} has the unknown key {key!r:.100}")
        stream.expect_end()
        version = self._top.get("version")
        if version != 1 or isinstance(version, bool):
            raise VerificationFailed(f"{_WHAT} is of version {version!r:.100}, not 1")
        # An empty layer has "entries":null, as Go writes a list that was never filled.
        if self._top.get("entries") is not None:
            raise VerificationFailed(f"the entries of {_WHAT} are not a list")


def _entries(stream: Stream) -> Iterator[TocEntry]:
    if stream.next_is("]"):
        return
    while True:
        yield _entry(stream.value())
        if stream.next_is(","):
            continue
        stream.expect("]")
        return


def _entry(fields: object) -> TocEntry:
    if not isinstance(fields, dict):
        raise VerificationFailed(f"an entry of {_WHAT} is not an object")
    for key, value in fields.items():
        if value.__class__ is not _FIELDS.get(key):
            _fail_field(fields, key, value)
    get = fields.get
    kind, name = get("type", ""), get("name", "")
    if kind == CHUNK and not fields.keys() <= _CHUNK_FIELDS:
        # mergeTocEntries takes the end of the last chunk's range from it, where there is one.
        raise VerificationFailed(f"{_WHAT}: {printable(name)}: a chunk has fields that only a file can have")
    xattrs = get("xattrs", _NO_XATTRS)
    if xattrs and not all(key and value.__class__ is str for key, value in xattrs.items()):
        _fail_field(fields, "xattrs", xattrs)
    modtime, accesstime, changetime = get("modtime"), get("accesstime"), get("changetime")
    entry = TocEntry(
        kind,
        name,
        get("linkName", ""),
        get("mode", 0),
        get("uid", 0),
        get("gid", 0),
        get("size", 0),
        None if modtime is None else _nanoseconds(name, modtime),
        None if accesstime is None else _nanoseconds(name, accesstime),
        None if changetime is None else _nanoseconds(name, changetime),
        get("devMajor", 0),
        get("devMinor", 0),
        xattrs,
        get("digest", ""),
        get("offset", 0),
        get("endOffset", 0),
        get("chunkSize", 0),
        get("chunkOffset", 0),
        get("chunkDigest", ""),
        get("chunkType", ""),
    )
    sizes = (entry.size, entry.offset, entry.end_offset, entry.chunk_size, entry.chunk_offset)
    if min(sizes) < 0 or max(sizes) > _MAX_INT:
        raise VerificationFailed(f"{_WHAT}: {printable(name)}: an offset or size is negative or too large")
    return entry


def _nanoseconds(name: str, text: str) -> int:
    try:
        return _since_epoch(text)
    except ValueError:
        raise VerificationFailed(f"{_WHAT}: {printable(name)}: {text!r:.100} is not a time") from None


@lru_cache(1024)
def _since_epoch(text: str) -> int:
    # Many files of a layer have the same time.
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    seconds, fraction, zone = match.groups()
    nanoseconds = (datetime.fromisoformat(seconds + zone) - _EPOCH) // _SECOND * 1_000_000_000
    return nanoseconds + int(fraction.ljust(9, "0")) if fraction else nanoseconds


def _fail_field(fields: Mapping[str, Any], key: str, value: object) -> None:
    problem = f"{key!r:.100} is {value!r:.100}" if key in _FIELDS else f"the key {key!r:.100} is unknown"
    raise VerificationFailed(f"{_WHAT}: {printable(str(fields.get('name')))}: {problem}")
