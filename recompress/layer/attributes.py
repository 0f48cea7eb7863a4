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

_FIELDS = (
    "type",
    "name",
    "link target",
    "mode",
    "uid",
    "gid",
    "size",
    "modification time",
    "access time",
    "change time",
    "major device number",
    "minor device number",
    "xattrs",
)
_TIMES = slice(7, 10)
_GO_ZERO_TIME = -62_135_596_800 * 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def compare_attributes(header: TarHeader, entry: TocEntry) -> None:
    """Raise VerificationFailed where an entry of the stream and one of the table are not the same.

    The fields are those of ensureFileMetadataAttributesMatch in containers/storage, which compares the table
    with the tar-split data; user and group names are not in the table at all.
    """
    in_stream = _as_in_table(header)
    in_table = entry[: len(_FIELDS)]
    if in_stream == in_table:
        return
    for field, expected, found in zip(_FIELDS, _settled(in_stream), _settled(in_table), strict=True):
        if expected != found:
            verb = "are" if field == "xattrs" else "is"
            raise VerificationFailed(
                f"its {field} {verb} {_shown(field, expected, found)} in the tar stream "
                f"but {_shown(field, found, expected)} in the table of contents"
            )


def _as_in_table(header: TarHeader) -> tuple[object, ...]:
    """The header in the words of the table: minimal.NewFileMetadata."""
    return (
        header.type,
        _as_go_writes(header.name),
        _as_go_writes(header.link_name),
        *header[3:12],
        {_as_go_writes(name): base64.b64encode(value).decode() for name, value in header.xattrs.items()}
        if header.xattrs
        else {},
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


def _settled(fields: tuple[object, ...]) -> tuple[object, ...]:
    """With no time, Go's zero time and the Unix epoch the same, as in ensureTimePointersMatch."""
    times = (None if time in (0, _GO_ZERO_TIME) else time for time in fields[_TIMES])
    return (*fields[: _TIMES.start], *times, *fields[_TIMES.stop :])


def _shown(field: str, value: object, other: object) -> str:
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        different = {name: text for name, text in value.items() if other.get(name) != text}
        return f"{different!r:.200}" if different else "not all there"
    if field == "mode" and isinstance(value, int):
        return f"{value:#o}"
    if field.endswith("time"):
        return _time(value)
    return printable(value) if isinstance(value, str) else f"{value!r:.100}"


def _time(value: object) -> str:
    if not isinstance(value, int):
        return "not set"
    try:
        text = (_EPOCH + timedelta(seconds=value // 1_000_000_000)).isoformat()
    except OverflowError:
        text = f"{value // 1_000_000_000} s"
    return f"{text} and {value % 1_000_000_000} ns" if value % 1_000_000_000 else text
