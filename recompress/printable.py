"""What comes from images and registries, and counts, as messages can show them."""

from __future__ import annotations

_LONGEST = 300


def counted(number: int, one: str) -> str:
    """A number with what is counted, in the form that goes with it: 1 layer, 2 layers, 0 entries."""
    if number == 1:
        return f"{number} {one}"
    return f"{number} {one[:-1]}ies" if one.endswith("ry") else f"{number} {one}s"


def printable(name: bytes | str) -> str:
    """The name on one line, whatever is in it, and not endless."""
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def visible(text: str, keep: str = "") -> str:
    """The text as a terminal may show it: with escapes for all that is no character one can see.

    Those in `keep` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text
    )
