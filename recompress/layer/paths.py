"""Many paths in little memory."""

from __future__ import annotations

import posixpath
from array import array


def canonical(name: bytes) -> bytes:
    """The path in the layer that a name in a tar header stands for, without a slash at either end.

    It is that of path.CleanAbsPath in containers/storage: `a`, `/a`, `./a/` and `../a` are one. Nothing is
    left of the names of the root.
    """
    path = name.strip(b"/")
    if b"/." in path or b"//" in path or path[:1] == b".":
        return posixpath.normpath(b"/" + path)[1:]
    return path


class Paths:
    """A set of paths, kept as hashes of 8 bytes: 16 to 32 bytes a path, where a set takes 150 and more.

    Hashes of different paths can be the same, but Python keys them per process, so not on purpose, and by
    chance not in a lifetime.
    """

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 * 1024))
        self._count = 0

    def add(self, path: bytes) -> bool:
        """Whether the path is new."""
        if 2 * self._count >= len(self._slots):
            self._grow()
        slots = self._slots
        value = hash(path) or 1
        at = self._find(value)
        if slots[at]:
            return False
        slots[at] = value
        self._count += 1
        return True

    def __contains__(self, path: bytes) -> bool:
        return bool(self._slots[self._find(hash(path) or 1)])

    def _find(self, value: int) -> int:
        """The slot of a value: it is there, or the slot is empty."""
        slots = self._slots
        mask = len(slots) - 1
        at = value & mask
        while slots[at] and slots[at] != value:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("q", bytes(2 * old.itemsize * len(old)))
        for value in old:
            if value:
                self._slots[self._find(value)] = value
