"""JSON as Go clients read it: decoded by encoding/json into structs.

Go takes a key of a struct in any case (and U+017F for an s, U+212A for a k), the last of several, and U+FFFD
for half of a surrogate pair. Most other readers do not. What can be read in two ways is refused as tampering,
and what Go itself refuses is Unsupported. The keys of a map, such as labels, are data: they are left alone,
and every reader takes the last of several.

A kind is a function for one of Go's types. It takes a decoded value and the path to it, and returns what Go
makes of it. As in Go, null is the zero value; in a struct it is the same as no key at all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NoReturn, TypeVar

from recompress.errors import Unsupported, VerificationFailed

T = TypeVar("T")
Kind = Callable[[object, str], T]

_SURROGATE = re.compile("[\ud800-\udfff]")

# What time.Time accepts: RFC 3339, and also hours of one digit and a comma before the fraction.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(?:[01]?\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def parse(content: bytes, kind: Kind[T], what: str) -> T:
    """Read a whole document of a kind; `what` names it in messages.

    Raises VerificationFailed where readers disagree about it, Unsupported where Go cannot read it.
    """
    try:
        # Not bytes: from those, json guesses the encoding, and reads UTF-16 and a BOM that Go refuses.
        document = _DECODER.decode(content.decode())
    except (ValueError, RecursionError):
        raise Unsupported(f"its {what} is not JSON") from None
    return kind(document, what)


def anything(value: object, _where: str) -> object:
    """What the clients that matter here do not look at."""
    return value


def string(value: object, where: str) -> str:
    """A string."""
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(where, "a string")
    return value


def name(value: object, where: str) -> str:
    """A string that something depends on, so that everybody has to read the same one."""
    text = string(value, where)
    if _SURROGATE.search(text):
        raise VerificationFailed(
            f"its {where} is {text!r:.100}: clients read an unpaired surrogate differently"
        )
    return text


def integer(value: object, where: str) -> int:
    """An int64: no fraction and no exponent, not even those of a whole number."""
    if value is None:
        return 0
    if type(value) is not int or not -(2**63) <= value < 2**63:
        _refuse(where, "a whole number of 64 bits")
    return value


def boolean(value: object, where: str) -> bool:
    """A bool."""
    if value is None:
        return False
    if not isinstance(value, bool):
        _refuse(where, "true or false")
    return value


def time(value: object, where: str) -> str:
    """A time.Time, as it is written."""
    if value is None:
        return ""
    match = _TIME.fullmatch(string(value, where))
    try:
        if match is None:
            raise ValueError
        year, month, day = map(int, match.groups())
        # Go knows a year 0, a leap year as 2000 is; Python does not.
        date(year or 2000, month, day)
    except ValueError:
        _refuse(where, "a time as RFC 3339 writes it")
    return match[0]


def array(of: Kind[T]) -> Kind[list[T]]:
    """A slice."""

    def read(value: object, where: str) -> list[T]:
        if value is None:
            return []
        if not isinstance(value, list):
            _refuse(where, "an array")
        return [of(item, f"{where}[{number}]") for number, item in enumerate(value)]

    return read


def mapping(of: Kind[T], keys: Kind[str] = string) -> Kind[dict[str, T]]:
    """A map with strings for keys."""

    def read(value: object, where: str) -> dict[str, T]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            _refuse(where, "a JSON object")
        return {keys(key, where): of(item, f"{where}[{key!r:.100}]") for key, item in value.items()}

    return read


def struct(fields: Mapping[str, Kind[Any]]) -> Kind[dict[str, Any]]:
    """A struct: of its fields, those that are there and not null."""
    spelling = {field.casefold(): field for field in fields}

    def read(value: object, where: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, _Object):
            _refuse(where, "a JSON object")
        if value.repeated is not None:
            raise VerificationFailed(f"its {where} has the key {value.repeated!r:.100} twice")
        for key in value:
            field = spelling.get(key.casefold(), key)
            if key != field:
                raise VerificationFailed(
                    f"its {where} has the key {key!r:.100}, which only some clients read as {field!r}"
                )
        there = {field: value[field] for field in fields if value.get(field) is not None}
        return {field: fields[field](item, f"{where}.{field}") for field, item in there.items()}

    return read


class _Object(dict[str, Any]):
    """An object, and one of the keys that it has more than once."""

    repeated: str | None = None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        found.repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _refuse(where: str, wanted: str) -> NoReturn:
    raise Unsupported(f"its {where} is not {wanted}")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
