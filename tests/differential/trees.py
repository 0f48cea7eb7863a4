"""What podman has of a layer: the files in its directory of the store, and how two such trees differ."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_STICKY_AND_WORLD_WRITABLE = 0o1002
_WRITE_BITS = 0o222


@dataclass(frozen=True, slots=True)
class Node:
    """One file, of any type, with all that it can differ in.

    `content` is the digest of a regular file's content, the target of a symbolic link, or the numbers of a
    device. `names` are all its hard links. `mtime` is that of regular files only, in nanoseconds.
    """

    mode: int
    owner: tuple[int, int]
    size: int
    content: str
    mtime: int | None
    xattrs: Mapping[str, bytes]
    names: frozenset[bytes]

    def __str__(self) -> str:
        kind = stat.filemode(self.mode)
        xattrs = "".join(f" {name}={value!r:.60}" for name, value in sorted(self.xattrs.items()))
        return f"{kind} {self.owner[0]}:{self.owner[1]} {self.content:.60}{xattrs}"


Tree = Mapping[bytes, Node]
"""The nodes by their paths; that of the root is empty."""


def read_tree(root: Path) -> Tree:
    """All that is below a directory, and itself."""
    start = os.fsencode(root)
    nodes = {path: _node(os.path.join(start, path) if path else start) for path in _paths(start)}
    same: dict[int, set[bytes]] = defaultdict(set)
    for path, (inode, _) in nodes.items():
        same[inode].add(path)
    return {path: replace(node, names=frozenset(same[inode])) for path, (inode, node) in nodes.items()}


def _paths(root: bytes, below: bytes = b"") -> Iterator[bytes]:
    yield below
    with os.scandir(os.path.join(root, below)) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_directory in found:
        path = os.path.join(below, name)
        if is_directory:
            yield from _paths(root, path)
        else:
            yield path


def _node(path: bytes) -> tuple[int, Node]:
    status = os.lstat(path)
    is_file = stat.S_ISREG(status.st_mode)
    node = Node(
        status.st_mode,
        (status.st_uid, status.st_gid),
        status.st_size if is_file else 0,
        _content(path, status),
        status.st_mtime_ns if is_file else None,
        {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        },
        frozenset(),
    )
    return status.st_ino, node


def _content(path: bytes, status: os.stat_result) -> str:
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFREG:
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        case stat.S_IFLNK:
            return repr(os.readlink(path))
        case stat.S_IFCHR | stat.S_IFBLK:
            return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        case _:
            return ""


def differences(full: Tree, partial: Tree) -> list[str]:
    """How the tree of a partial pull differs from that of a full one, a line each.

    Less the five exceptions: the owner of symbolic links outside of sticky, world-writable directories, the
    times of links, the times of directories, the write bit of `/`, and nodes in `dev/`.
    """
    found = []
    for path in sorted({*full, *partial}):
        name = "/" + os.fsdecode(path)
        a, b = full.get(path), partial.get(path)
        if b is None and a is not None and _is_node_in_dev(path, a):
            continue
        if a is None or b is None:
            found.append(f"{name}: {a or 'nothing'} by a full pull, {b or 'nothing'} by a partial one")
        elif (said := _without_exceptions(path, a, full)) != (other := _without_exceptions(path, b, full)):
            fields = [field for field in Node.__slots__ if getattr(said, field) != getattr(other, field)]
            found.append(f"{name} ({', '.join(fields)}): {a} by a full pull, {b} by a partial one")
    return found


def _is_node_in_dev(path: bytes, node: Node) -> bool:
    # A character device 0:0 in a store is no device: it says that something was deleted.
    is_device = stat.S_ISBLK(node.mode) or (stat.S_ISCHR(node.mode) and node.content != "0:0")
    return path.startswith(b"dev/") and is_device


def _without_exceptions(path: bytes, node: Node, full: Tree) -> Node:
    if not path:
        return replace(node, mode=node.mode & ~_WRITE_BITS)
    if stat.S_ISLNK(node.mode):
        directory = full.get(os.path.dirname(path))
        if directory is None or directory.mode & _STICKY_AND_WORLD_WRITABLE != _STICKY_AND_WORLD_WRITABLE:
            return replace(node, owner=(0, 0))
    return node
