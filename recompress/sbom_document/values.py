"""The JSON of an SBOM: read from a hostile hand, and written with all that nobody asked to change as it was.

Numbers stay the text that they are: 1.10, 1e400 and whole numbers of any length. Half of a surrogate pair
stays an escape. A byte order mark is skipped. Refused is what readers disagree about, repeated keys and NaN,
and what would cost far more memory than the document has bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, NoReturn

from recompress.errors import Unsupported

MAX_DEPTH = 200
"""The deepest nesting. CycloneDX nests components in components, some ten levels deep."""

MAX_VALUES = 3 * 2**20
"""The most values. SBOMs have some 25 bytes for each; an empty list takes 24 times its size in memory."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written."""

    literal: str


def parse(content: bytes) -> dict[str, Any]:
    """Read a document that is a JSON object. Raises Unsupported for all that cannot be used."""
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Unsupported(f"its SBOM has more than {MAX_VALUES} values")
    try:
        document = _DECODER.decode(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unsupported("its SBOM is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise Unsupported("its SBOM is not JSON") from None
    if not isinstance(document, dict):
        raise Unsupported("its SBOM is not a JSON object")
    _check_depth(document)
    return document


def write(value: object) -> bytes:
    """The value as JSON, in UTF-8 and without white space."""
    match value:
        case str():
            # What is no Unicode is half of a surrogate pair, and its escape in Python is that of JSON.
            return encode_basestring(value).encode("utf-8", "backslashreplace")
        case dict():
            return b"{%b}" % b",".join(b"%b:%b" % (write(key), write(item)) for key, item in value.items())
        case list():
            return b"[%b]" % b",".join(map(write, value))
        case Number(literal):
            return literal.encode()
        case _:
            return json.dumps(value).encode()


def _check_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Unsupported:
    return Unsupported(f"its SBOM is nested more than {MAX_DEPTH} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unsupported("its SBOM has a JSON object with the same key twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_no_constant
)
