"""The smallest image, or forgery of one, that is wrong in the same way as a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.differential.entries import END, Entry
from tests.differential.forging import Forgery
from tests.differential.layers import Image


def shrink(image: Image, is_wrong: Callable[[Image], bool]) -> Image:
    """Make an image smaller for as long as it stays wrong: layers, then entries, then what is in them."""
    for smaller in dict.fromkeys(_smaller(image)):
        if smaller != image and is_wrong(smaller):
            return shrink(smaller, is_wrong)
    return image


def shrink_forgery(forgery: Forgery, is_wrong: Callable[[Forgery], bool]) -> Forgery:
    """Make a forgery smaller for as long as it stays wrong: fewer changes, then a smaller image."""
    changes = forgery.changes
    for number in range(len(changes)):
        fewer = replace(forgery, changes=(*changes[:number], *changes[number + 1 :]))
        if fewer.changes and is_wrong(fewer):
            return shrink_forgery(fewer, is_wrong)
    return replace(
        forgery, image=shrink(forgery.image, lambda image: is_wrong(replace(forgery, image=image)))
    )


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
