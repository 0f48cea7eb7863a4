"""The smallest image that is wrong in the same way as a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.differential.entries import END, Entry
from tests.differential.layers import Image

_AT_A_TIME = 40

Wrong = Callable[[Sequence[Image]], Sequence[bool]]
"""Says of each image whether it is wrong, of many at a time."""


def shrink(image: Image, wrong: Wrong) -> Image:
    """Make an image smaller for as long as it stays wrong: layers, then entries, then what is in them."""
    while True:
        smaller = [candidate for candidate in dict.fromkeys(_smaller(image)) if candidate != image]
        for start in range(0, len(smaller), _AT_A_TIME):
            some = smaller[start : start + _AT_A_TIME]
            still_wrong = [c for c, is_wrong in zip(some, wrong(some), strict=True) if is_wrong]
            if still_wrong:
                image = still_wrong[0]
                break
        else:
            return image


def _smaller(image: Image) -> Iterator[Image]:
    """Each way to take one thing away, those that take most away first."""
    if len(image) > 1:
        for number in range(len(image)):
            yield (*image[:number], *image[number + 1 :])
    for number, layer in enumerate(image):
        entries = layer.entries
        middle = len(entries) // 2
        smaller = [entries[:middle], entries[middle:]]
        smaller += [(*entries[:at], *entries[at + 1 :]) for at in range(len(entries))]
        plainer = [
            (*entries[:at], plain, *entries[at + 1 :])
            for at, e in enumerate(entries)
            for plain in _plainer(e)
        ]
        layers = [replace(layer, end=END)]
        layers += [replace(layer, entries=fewer) for fewer in (*smaller, *plainer) if fewer]
        for changed in layers:
            yield (*image[:number], changed, *image[number + 1 :])


def _plainer(entry: Entry) -> Iterator[Entry]:
    """The same with one field as it is in most entries."""
    plain = Entry(entry.kind, b"", mode=0o755 if entry.kind == "dir" else 0o644)
    for field in ("link", "mode", "uid", "gid", "mtime", "xattrs", "device", "format", "size"):
        yield replace(entry, **{field: getattr(plain, field)})
    for name, value in entry.xattrs:
        yield replace(entry, xattrs=((name, value),))
    for content in (b"", b"1"):
        if len(content) < len(entry.content):
            yield replace(entry, content=content)
