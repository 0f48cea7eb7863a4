"""Many paths in little memory."""

from __future__ import annotations

import posixpath
import re
from array import array

_UNUSUAL = re.compile(rb"/[/.]").search


def canonical(name: bytes) -> bytes:
    """The path in the layer that a name in a tar header stands for, without a slash at either end.

    It is that of path.CleanAbsPath in containers/storage: `a`, `/a`, `./a/` and `../a` are one. Nothing is
    left of the names of the root.
    """
    path = (name[2:] if name[:2] == b"./" else name).strip(b"/")
    if _UNUSUAL(b"/" + path):
        return posixpath.normpath(b"/" + path)[1:]
    return path


class Paths:
    """A set of paths, kept as hashes of 8 bytes: 16 to 32 bytes a path, where a set takes 150 and more.

    Hashes of different paths can be the same, but Python keys them per process, so not on purpose, and by
    chance not in a lifetime.
    """

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 * 1024))
        self._mask = len(self._slots) - 1
        self._free = len(self._slots) // 2

    def add(self, path: bytes) -> bool:
        """Whether the path is new."""
        slots, mask, value = self._slots, self._mask, hash(path) or 1
        at = value & mask
        while found := slots[at]:
            if found == value:
                return False
            at = (at + 1) & mask
        slots[at] = value
        self._free -= 1
        if not self._free:
            self._grow()
        return True

    def __contains__(self, path: bytes) -> bool:
        slots, mask, value = self._slots, self._mask, hash(path) or 1
        at = value & mask
        while (found := slots[at]) and found != value:
            at = (at + 1) & mask
        return bool(found)

    def _grow(self) -> None:
        old, slots = self._slots, array("q", bytes(2 * self._slots.itemsize * len(self._slots)))
        mask = len(slots) - 1
        for value in filter(None, old):
            at = value & mask
            while slots[at]:
                at = (at + 1) & mask
            slots[at] = value
        self._slots, self._mask, self._free = slots, mask, len(old) // 2
