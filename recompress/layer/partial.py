"""Whether a partial pull of a layer makes the files that a full pull makes.

A full pull unpacks the tar stream entry by entry (containers/storage, pkg/archive: Unpack). A partial pull
takes the table of contents and makes directories, links and empty files first, then the other files, then the
hard links (pkg/chunked: ApplyDiff). For ordinary layers that comes to the same. Here are the rules for those
where it does not: their descriptors go without the annotations, and clients pull them in full.

The layer is judged by itself, never with what a later layer corrects: clients share layers between images.
docs/design.md, "Layers that are pulled in full", has the rules with what goes wrong.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile

from recompress.layer.layout import Layout
from recompress.layer.paths import Paths, canonical
from recompress.layer.tarstream import TarHeader
from recompress.printable import printable

_MOST_REMEMBERED = 10_000
"""The most names of a kind that are kept for a later entry. A layer that needs more is pulled in full."""

_LONGEST_REMEMBERED = 4096
"""The most bytes of what is kept: PATH_MAX. No client can unpack what has a longer path."""

_DOTS = frozenset({b"", b".", b".."})
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_CAPABILITY = b"security.capability"
_SELINUX = b"security.selinux"
_STICKY_AND_WORLD_WRITABLE = 0o1002
_LATEST_TIME = 2**63 - 1
_LINK_WITH_XATTRS = "it is a symbolic link with extended attributes, which a partial pull leaves out"


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
        self._deleted = Paths()
        self._nodes = Paths()
        self._symlinks = Paths()
        self._directories = Paths()
        self._directories.add(b"")
        self._sticky = Paths()
        # The directory of the entry at hand, and as its name spells it. It is most often that of the next
        # one, too.
        self._parent = self._prefix = b""
        self._spelled: bytes | None = None
        # Whether that directory is not in the layer before it.
        self._is_early = False
        self._missing: dict[bytes, bytes] = {}
        self._foreign_links: dict[bytes, bytes] = {}
        self._capabilities: dict[bytes, bytes] = {}

    @property
    def changes_root(self) -> bool:
        """Whether the layer sets `/` itself, so that layers above get what it sets by a full pull only.

        A full pull skips `./`, and hands on the owner that an entry spelled `/` says (Unpack).
        """
        return self._changes_root

    def see(self, header: TarHeader) -> None:
        """The next entry of the layer."""
        directory, _, base = header.name.rpartition(b"/")
        if base in _DOTS and not canonical(header.name):
            self._see_root(header)
        if self._reason is None and (reason := self._entry(header, directory, base)):
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
        if reason := _root(header):
            # A full pull skips what path.Clean makes "." of; the other it sets as a partial pull does.
            is_set = posixpath.normpath(header.name) != b"."
            self._changes_root = self._changes_root or is_set
            if not is_set or header.type != "dir":
                self.full_pull(f"{printable(header.name)}: {reason}")

    def _entry(self, header: TarHeader, directory: bytes, base: bytes) -> str | None:
        if directory == self._spelled and base not in _DOTS:
            path = self._prefix + base
        else:
            path = canonical(header.name)
            if reason := _shape(header) or self._enter(path, header.name):
                return reason
            self._spelled = None if base in _DOTS else directory
            base = path.rpartition(b"/")[2]
        if not self._paths.add(path):
            if path in self._deleted:
                return "the layer also has a whiteout for it"
            return "the layer has more than one entry for this path"
        # The rest does not apply to most entries, which are files with nothing to them.
        is_plain = header.type == "reg" and not header.xattrs and not header.link_name
        if not (is_plain and header.name.isascii()) and (reason := _metadata(header)):
            return reason
        if base[:4] == _WHITEOUT:
            return self._whiteout(header, base)
        return _KINDS[header.type](self, header, path)

    def _enter(self, path: bytes, name: bytes) -> str | None:
        """The directory of an entry has to be one in this layer, before or after it."""
        self._parent = parent = path.rpartition(b"/")[0]
        self._prefix = parent + b"/" if parent else b""
        self._is_early = parent not in self._directories
        if not self._is_early or parent in self._missing:
            return None
        return _remember(self._missing, parent, name)

    def _whiteout(self, header: TarHeader, base: bytes) -> str | None:
        if header.size:
            return "it is a whiteout with content"
        if base == _OPAQUE:
            return None
        deleted = base.removeprefix(_WHITEOUT)
        if deleted in _DOTS:
            return "it is a whiteout of nothing"
        target = self._prefix + deleted
        if not self._paths.add(target):
            return f"it is a whiteout of {printable(target)}, which the layer has as well"
        self._deleted.add(target)
        return None

    def _directory(self, header: TarHeader, path: bytes) -> str | None:
        self._directories.add(path)
        self._missing.pop(path, None)
        link = self._foreign_links.pop(path, None)
        if header.mode & _STICKY_AND_WORLD_WRITABLE == _STICKY_AND_WORLD_WRITABLE:
            self._sticky.add(path)
            if link:
                return f"it is sticky and world-writable, and {printable(link)} in it is not root's"
        return None

    def _file(self, header: TarHeader, path: bytes) -> str | None:
        if self._is_early and header.size:
            # What a client has of its content in another layer it copies while it makes directories, in other
            # threads, and where both make the same one, the pull fails (findAndCopyFile).
            return (
                f"its directory {printable(self._parent)} is not in the layer before it, and it has content"
            )
        if not 0 <= header.mtime <= _LATEST_TIME:
            # A full pull sets 1970 in its place (system.Chtimes).
            return "its modification time is before 1970 or after 2262"
        if header.xattrs and (capability := header.xattrs.get(_CAPABILITY)) is not None:
            return _remember(self._capabilities, path, capability)
        return None

    def _symlink(self, header: TarHeader, path: bytes) -> str | None:
        if header.xattrs:
            return _LINK_WITH_XATTRS
        self._symlinks.add(path)
        if header.uid == header.gid == 0:
            return None
        # A partial pull makes it root's, and who may follow a link in such a directory depends on its owner.
        if self._parent in self._sticky:
            return "it is a symbolic link that is not root's in a sticky, world-writable directory"
        if self._parent in self._directories:
            return None
        return _remember(self._foreign_links, self._parent, header.name)

    def _hard_link(self, header: TarHeader, path: bytes) -> str | None:
        target = canonical(header.link_name)
        is_file = (
            target != path
            and target in self._paths
            and target not in self._directories
            and target not in self._nodes
            and target not in self._deleted
            and not target.rpartition(b"/")[2].startswith(_WHITEOUT)
        )
        # A full pull sets mode and time only if it finds the target as it is spelled (extractTarFileEntry).
        parts = header.link_name.split(b"/")
        if not is_file or _goes_up(parts) or parts[-1] in _DOTS:
            return f"its target {printable(header.link_name)} is not a file that comes before it in the layer"
        if target in self._symlinks:
            self._symlinks.add(path)
            return _LINK_WITH_XATTRS if header.xattrs else None
        # A partial pull sets the owner of a file again for each link, and that takes capabilities away.
        if header.xattrs.get(_CAPABILITY) != self._capabilities.get(target):
            return f"it has other capabilities than its target {printable(target)}"
        return self._file(header, path)

    def _node(self, header: TarHeader, path: bytes) -> str | None:
        # A partial pull leaves them out. Runtimes mount a /dev of their own.
        if not path.startswith(b"dev/"):
            return "it is a device outside of dev/, which a partial pull leaves out"
        # The kernel gets these bits of the numbers (system.Mkdev).
        if header.type == "char" and not (header.dev_major & 0xFFF or header.dev_minor & 0xFFFFF):
            return "it is the device 0:0, which a full pull takes for a whiteout"
        self._nodes.add(path)
        return None

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


def _remember(kept: dict[bytes, bytes], path: bytes, value: bytes) -> str | None:
    kept[path] = value
    if len(kept) > _MOST_REMEMBERED:
        return f"it and {_MOST_REMEMBERED} entries before it would have to be remembered to judge it"
    if max(len(path), len(value)) > _LONGEST_REMEMBERED:
        return "its path or its capabilities are too long to be unpacked"
    return None


def _root(header: TarHeader) -> str | None:
    # A partial pull does what the entry says; a full one leaves / at 0555, and its owner at root.
    if header.type != "dir":
        return "it is at the path of the root directory"
    if header.mode & 0o7777 in (0o755, 0o555) and header.uid == header.gid == 0 and not header.xattrs:
        return None
    return f"it sets the root directory to mode {header.mode:04o} and owner {header.uid}:{header.gid}" + (
        ", with extended attributes" if header.xattrs else ""
    )


def _shape(header: TarHeader) -> str | None:
    """What is wrong with how its name is spelled, by which a partial pull finds the content."""
    if header.type != "reg" or not header.size:
        return None
    parts = header.name.split(b"/")
    if _goes_up(parts):
        return "its name goes up with '..', and it has content"
    if parts[-1] in _DOTS:
        return "only the name of a directory may end in a slash"
    return None


def _goes_up(parts: Sequence[bytes]) -> bool:
    """Whether a path goes up from a directory, which need not be there; from the root, '..' leads nowhere."""
    return b".." in dropwhile(_DOTS.__contains__, parts)


def _metadata(header: TarHeader) -> str | None:
    """What a table of contents cannot hold, or what clients do not take from it."""
    if not (_is_text(header.name) and _is_text(header.link_name) and all(map(_is_text, header.xattrs))):
        return "a name in it is not UTF-8, and a table of contents can hold only that"
    if header.size and header.type != "reg":
        # WriteOutputTarStream would put the content of the file it finds there into the stream.
        return f"it is a {header.type} with a size, and a partial pull cannot put the tar file together"
    for name in header.xattrs:
        if not name.startswith(b"user.") and name not in (_CAPABILITY, _SELINUX):
            # Without root, a full pull passes over an attribute that it may not set, and a partial one fails.
            # An ACL and the mode change each other, so it depends on which is set first.
            return f"it has the extended attribute {printable(name)}"
    return None


def _is_text(name: bytes) -> bool:
    """Whether it is UTF-8 without U+FFFD, which a table of contents has for each byte that is not UTF-8.

    A layer gets the same verdict by its stream and by its table.
    """
    if name.isascii():
        return True
    try:
        return "\ufffd" not in name.decode()
    except UnicodeDecodeError:
        return False
