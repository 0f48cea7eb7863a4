"""Names from images, as messages can show them."""

from __future__ import annotations

_LONGEST = 300


def printable(name: bytes | str) -> str:
    """The name on one line, whatever is in it, and not endless."""
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
