"""JSON from a hostile hand, so strict that every reader of it must see the same.

Two parsers that disagree about a document are a way to lie to one of them. So this refuses what JSON parsers
are known to disagree about: repeated keys, fractions and exponents, NaN, and bytes that are not UTF-8.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from recompress.errors import VerificationFailed

MAX_VALUE = 4 * 1024 * 1024
"""The most characters that one value in a streamed document may have. A tar header cannot hold more."""

_WHITESPACE = re.compile(r"[ \t\n\r]+")


def parse(text: str, what: str) -> object:
    """Read a whole document; `what` names it in the VerificationFailed that anything wrong with it raises."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise VerificationFailed(f"{what} is not JSON") from None


class Stream:
    """A JSON document that arrives in pieces, read value by value; at most a few MiB of it are kept."""

    def __init__(self, pieces: Iterator[bytes], what: str) -> None:
        self._pieces = pieces
        self._what = what
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._text = ""
        self._at = 0
        self._complete = False

    def next_is(self, character: str) -> bool:
        """Whether `character` comes next; it is skipped where it does."""
        text, at = self._text, self._at
        if at < len(text) and text[at] == character:
            self._at = at + 1
            return True
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def expect(self, character: str) -> None:
        """Skip `character`, which has to come next."""
        if not self.next_is(character):
            self._fail(f"a {character!r} is missing in it")

    def expect_end(self) -> None:
        """Nothing but white space may be left."""
        if self._peek():
            self._fail("something follows its end")

    def value(self) -> object:
        """Read the next value, whatever it is, with everything in it."""
        self._peek()
        value: object
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                # Wrong, or just not there yet: only more of the document can tell.
                if self._complete:
                    self._fail("it is not JSON")
            except RecursionError:
                self._fail("it is nested too deeply")
            else:
                if end < len(self._text) or self._complete:
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_VALUE:
                self._fail("it is not JSON, or a value in it is too large")
            self._grow()

    def _peek(self) -> str:
        while True:
            space = _WHITESPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._complete:
                return ""
            self._grow()

    def _grow(self) -> None:
        # Twice as much each time, so that trying a large value again and again costs linear time.
        parts = [self._text[self._at :]]
        self._at = 0
        want = max(1, 2 * len(parts[0]))
        have = len(parts[0])
        while have < want and not self._complete:
            piece = next(self._pieces, None)
            self._complete = piece is None
            try:
                parts.append(self._decode(piece or b"", self._complete))
            except UnicodeDecodeError:
                self._fail("it is not UTF-8")
            have += len(parts[-1])
        self._text = "".join(parts)

    def _fail(self, problem: str) -> NoReturn:
        raise VerificationFailed(f"{self._what} cannot be read: {problem}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise VerificationFailed("a JSON object has the same key twice")
    return result


def _refuse(text: str) -> NoReturn:
    raise VerificationFailed(f"JSON has {text:.40} where only a whole number is allowed")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_refuse, parse_constant=_refuse)
