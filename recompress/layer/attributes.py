"""What the tar stream and the table of contents say of one entry, compared field by field."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from recompress.errors import VerificationFailed
from recompress.layer.tarstream import TarHeader
from recompress.layer.toc import TocEntry
from recompress.printable import printable

GO_ZERO_TIME = -62_135_596_800 * 1_000_000_000
"""The time for which a table has none (timeIfNotZero, pkg/chunked/internal/minimal)."""

_NO_TIME = (None, 0, GO_ZERO_TIME)
"""No time, the Unix epoch and Go's zero time, which are the same to ensureTimePointersMatch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def compare_attributes(header: TarHeader, entry: TocEntry) -> None:
    """Raise VerificationFailed where an entry of the stream and one of the table are not the same.

    The fields are those of ensureFileMetadataAttributesMatch in containers/storage, which compares the table
    with the tar-split data; user and group names are not in the table at all.
    """
    for field, expected, found in _attributes(header, entry):
        if expected == found or (field in _TIMES_NOBODY_SETS and expected in _NO_TIME and found in _NO_TIME):
            continue
        verb = "are" if field == "xattrs" else "is"
        raise VerificationFailed(
            f"its {field} {verb} {_shown(field, expected, found)} in the tar stream "
            f"but {_shown(field, found, expected)} in the table of contents"
        )


def _attributes(header: TarHeader, entry: TocEntry) -> tuple[tuple[str, object, object], ...]:
    """Of each: its name, what the stream says in the words of the table, and what the table says."""
    xattrs = _encoded(header.xattrs) if header.xattrs else {}
    return (
        ("type", header.type, entry.type),
        ("name", _as_go_writes(header.name), entry.name),
        ("link target", _as_go_writes(header.link_name), entry.link_name),
        ("mode", header.mode, entry.mode),
        ("uid", header.uid, entry.uid),
        ("gid", header.gid, entry.gid),
        ("size", header.size, entry.size),
        # A client that finds none in the table sets none, and the file has the time of the pull.
        ("modification time", header.mtime, GO_ZERO_TIME if entry.modtime is None else entry.modtime),
        ("access time", header.atime, entry.accesstime),
        ("change time", header.ctime, entry.changetime),
        ("major device number", header.dev_major, entry.dev_major),
        ("minor device number", header.dev_minor, entry.dev_minor),
        ("xattrs", xattrs, entry.xattrs),
    )


def _as_go_writes(name: bytes) -> str:
    """The name as JSON can hold it: each byte that is not UTF-8 is U+FFFD, one by one (utf8.DecodeRune)."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode(errors=_ONE_BY_ONE)


def _one_by_one(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd", error.start + 1


_ONE_BY_ONE = "recompress.one-by-one"
codecs.register_error(_ONE_BY_ONE, _one_by_one)


def _shown(field: str, value: object, other: object) -> str:
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        different = {name: text for name, text in value.items() if other.get(name) != text}
        return f"{different!r:.200}" if different else "not all there"
    if field == "mode" and isinstance(value, int):
        return f"{value:#o}"
    if _is_time(field):
        return _time(value)
    return printable(value) if isinstance(value, str) else f"{value!r:.100}"


def _encoded(xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    return {_as_go_writes(name): base64.b64encode(value).decode() for name, value in xattrs.items()}


def _is_time(field: str) -> bool:
    return field.endswith(" time")


_TIMES_NOBODY_SETS = ("access time", "change time")


def _time(value: object) -> str:
    if not isinstance(value, int) or value == GO_ZERO_TIME:
        return "not set"
    try:
        text = (_EPOCH + timedelta(seconds=value // 1_000_000_000)).isoformat()
    except OverflowError:
        text = f"{value // 1_000_000_000} s"
    return f"{text} and {value % 1_000_000_000} ns" if value % 1_000_000_000 else text
