"""Whether a partial pull of a layer makes the files that a full pull makes.

A full pull unpacks the tar stream entry by entry (containers/storage, pkg/archive: Unpack). A partial pull
takes the table of contents and makes directories, links and empty files first, then the other files, then the
hard links (pkg/chunked: ApplyDiff). For ordinary layers that comes to the same. Here are the rules for those
where it does not: their descriptors go without the annotations, and clients pull them in full.

Judged is the layer by itself, never what a later layer mends: clients share layers between images.
docs/design.md, "Layers that are pulled in full", has the rules with what goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from recompress.layer.layout import Layout
from recompress.layer.paths import Paths, canonical
from recompress.layer.tarstream import TarHeader
from recompress.printable import printable

_MOST_REMEMBERED = 10_000
"""The most names of a kind that are kept for a later entry. A layer that needs more is pulled in full."""

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_CAPABILITY = b"security.capability"
_SELINUX = b"security.selinux"
_STICKY_AND_WORLD_WRITABLE = 0o1002
_LATEST_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """How clients have to pull a layer.

    `why_full` says, with the path, why in full; None where a partial pull gives the same files.
    `changes_root` is whether layers above get other files by a partial pull, for what this one says of `/`.
    `layout` is where its tables are, None where it has none.
    """

    why_full: str | None
    changes_root: bool
    layout: Layout | None


class PartialPull:
    """Judges a layer by its tar headers, given in their order to `see`; `end` tells the verdict."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._changes_root = False
        self._paths = Paths()
        self._directories = Paths()
        self._deleted = Paths()
        # The directory of the entry before is most often that of the next one, too.
        self._last_parent: bytes | None = None
        self._missing: dict[bytes, bytes] = {}
        self._foreign_links: dict[bytes, bytes] = {}
        self._sticky: dict[bytes, bytes] = {}
        self._nodes: dict[bytes, bytes] = {}
        self._xattrs: dict[bytes, Mapping[bytes, bytes]] = {}

    @property
    def changes_root(self) -> bool:
        """Whether the layer sets `/` itself, so that layers above get what it sets by a full pull only.

        A full pull skips `./`, and hands on what an entry spelled `/` says (Unpack).
        """
        return self._changes_root

    def see(self, header: TarHeader) -> None:
        """The next entry of the layer."""
        path = canonical(header.name)
        if not path:
            self._see_root(header)
        elif self._reason is None and (reason := self._entry(header, path)):
            self._reason = f"{printable(header.name)}: {reason}"

    def see_trailing(self, data: bytes) -> None:
        """Bytes behind the end of the archive: padding, or a table of somebody else's, as of eStargz."""
        if self._reason is None and data != bytes(len(data)):
            # They would have to be in the tar-split data as an end of the archive (tar/asm.IterateHeaders).
            self._reason = "there are bytes behind the end of its archive"

    def full_pull(self, reason: str) -> None:
        """The layer has to be pulled in full for a reason that the caller has found."""
        self._reason = self._reason or reason

    def end(self) -> str | None:
        """Why the layer has to be pulled in full, with the path; None where it may be pulled partially."""
        if self._reason is None and self._missing:
            directory, name = next(iter(self._missing.items()))
            self._reason = f"{printable(name)}: its directory {printable(directory)} is not in the layer"
        return self._reason

    def _see_root(self, header: TarHeader) -> None:
        # A partial pull does what the entry says; a full one leaves / at 0555, and its owner at root.
        is_usual = (
            header.type == "dir"
            and header.mode & 0o7777 in (0o755, 0o555)
            and header.uid == header.gid == 0
            and not header.xattrs
        )
        if not is_usual:
            self.full_pull(
                f"{printable(header.name)}: it sets the root directory to mode {header.mode:04o} and owner "
                f"{header.uid}:{header.gid}"
            )
            self._changes_root = self._changes_root or header.name.startswith(b"/")

    def _entry(self, header: TarHeader, path: bytes) -> str | None:
        parent, _, base = path.rpartition(b"/")
        if reason := _name(header) or self._place(header, path, parent):
            return reason
        if base.startswith(_WHITEOUT):
            return self._whiteout(header, parent, base)
        if path in self._deleted:
            return "the layer also has a whiteout for it"
        return _KINDS[header.type](self, header, path) or (_xattrs(header) if header.xattrs else None)

    def _place(self, header: TarHeader, path: bytes, parent: bytes) -> str | None:
        """Its directory has to be one in this layer, before or after it, and nothing else in its place."""
        if parent and parent != self._last_parent:
            if parent not in self._directories:
                self._missing.setdefault(parent, header.name)
                if len(self._missing) > _MOST_REMEMBERED:
                    return f"its directory and {_MOST_REMEMBERED} others are not in the layer before it"
            self._last_parent = parent
        if not self._paths.add(path):
            return "the layer has more than one entry for this path"
        return None

    def _whiteout(self, header: TarHeader, parent: bytes, base: bytes) -> str | None:
        if header.size or header.xattrs:
            return "it is a whiteout with content or extended attributes"
        if base == _OPAQUE:
            return None
        deleted = base.removeprefix(_WHITEOUT)
        if deleted in (b"", b".", b".."):
            return "it is a whiteout of nothing"
        target = parent + b"/" + deleted if parent else deleted
        if target in self._paths:
            return f"it is a whiteout of {printable(target)}, which the layer has as well"
        self._deleted.add(target)
        return None

    def _directory(self, header: TarHeader, path: bytes) -> str | None:
        self._directories.add(path)
        if self._missing:
            self._missing.pop(path, None)
        if header.mode & _STICKY_AND_WORLD_WRITABLE == _STICKY_AND_WORLD_WRITABLE:
            if path in self._foreign_links:
                return f"the symbolic link {printable(self._foreign_links[path])} in it is not root's"
            return _remember(self._sticky, path, header.name)
        return None

    def _file(self, header: TarHeader, path: bytes) -> str | None:
        if not 0 <= header.mtime <= _LATEST_TIME:
            # A full pull sets 1970 in its place (system.Chtimes).
            return "its modification time is before 1970 or after 2262"
        return _remember(self._xattrs, path, header.xattrs) if header.xattrs else None

    def _symlink(self, header: TarHeader, path: bytes) -> str | None:
        if header.xattrs:
            return "it is a symbolic link with extended attributes, which a partial pull leaves out"
        if header.uid == header.gid == 0:
            return None
        # A partial pull makes it root's, and who may follow a link in such a directory depends on its owner.
        parent = path.rpartition(b"/")[0]
        if parent in self._sticky:
            return "it is a symbolic link that is not root's in a sticky, world-writable directory"
        if parent in self._directories:
            return None
        return _remember(self._foreign_links, parent, header.name)

    def _hard_link(self, header: TarHeader, path: bytes) -> str | None:
        target = canonical(header.link_name)
        if (
            b".." in header.link_name.split(b"/")
            or target not in self._paths
            or target in self._directories
            or target in self._nodes
            or target == path
            or _is_whiteout(target)
        ):
            return f"its target {printable(header.link_name)} is no file before it in the layer"
        # A partial pull sets the owner of a file again for each link, and that takes capabilities away.
        xattrs = self._xattrs.get(target, _NO_XATTRS)
        if header.xattrs.get(_CAPABILITY) != xattrs.get(_CAPABILITY):
            return f"it has other capabilities than its target {printable(target)}"
        if header.xattrs and header.xattrs != xattrs:
            return f"it has other extended attributes than its target {printable(target)}"
        return _remember(self._xattrs, path, xattrs) if xattrs else None

    def _node(self, header: TarHeader, path: bytes) -> str | None:
        # A partial pull leaves them out. Runtimes mount a /dev of their own.
        if not path.startswith(b"dev/"):
            return "it is a device outside of dev/, which a partial pull leaves out"
        if header.type == "char" and header.dev_major == header.dev_minor == 0:
            return "it is the device 0:0, which a full pull takes for a whiteout"
        return _remember(self._nodes, path, header.name)

    def _fifo(self, _header: TarHeader, _path: bytes) -> str | None:
        return "it is a FIFO, which a partial pull leaves out"


_KINDS = {
    "dir": PartialPull._directory,
    "reg": PartialPull._file,
    "symlink": PartialPull._symlink,
    "hardlink": PartialPull._hard_link,
    "char": PartialPull._node,
    "block": PartialPull._node,
    "fifo": PartialPull._fifo,
}
_NO_XATTRS: Mapping[bytes, bytes] = {}


T = TypeVar("T")


def _remember(names: dict[bytes, T], path: bytes, value: T) -> str | None:
    names[path] = value
    if len(names) > _MOST_REMEMBERED:
        return f"it and {_MOST_REMEMBERED} others would have to be remembered to tell"
    return None


def _name(header: TarHeader) -> str | None:
    name = header.name
    if b".." in name and b".." in name.split(b"/"):
        return "its name goes up by '..'"
    if name[-1:] == b"/" and header.type != "dir":
        return "only the name of a directory may end in a slash"
    if not (_is_utf8(name) and _is_utf8(header.link_name) and all(map(_is_utf8, header.xattrs))):
        return "a name in it is not UTF-8, and a table of contents can hold only that"
    if header.size and header.type != "reg":
        # WriteOutputTarStream would put the content of the file it finds there into the stream.
        return f"it is a {header.type} with a size, and a partial pull cannot put the tar file together"
    return None


def _xattrs(header: TarHeader) -> str | None:
    for name in header.xattrs:
        if not name.startswith(b"user.") and name not in (_CAPABILITY, _SELINUX):
            # Without root, a full pull passes over an attribute that it may not set, and a partial one fails.
            # An ACL and the mode change each other, so it depends on which is set first.
            return f"it has the extended attribute {printable(name)}"
    return None


def _is_whiteout(path: bytes) -> bool:
    return path.rpartition(b"/")[2].startswith(_WHITEOUT)


def _is_utf8(name: bytes) -> bool:
    if name.isascii():
        return True
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
