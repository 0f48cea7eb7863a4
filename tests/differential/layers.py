"""Layers by chance: as a builder would write them, then oddities. The same seed gives the same layers.

Hypothesis was tried for the choices. It takes constants from whatever modules are loaded, so that a seed did
not name the layers; some choices it hardly makes; and to make things smaller it takes hundreds of attempts,
for which podman needs seconds each. tests.differential.shrinking knows what a layer is made of.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.data.make_layers import CAPABILITY
from tests.differential.entries import END, FORMATS, TYPES, Entry, Layer

Image = tuple[Layer, ...]
"""The layers of an image, from the bottom up."""

_SECOND = 1_000_000_000
_NOW = 1_700_000_000 * _SECOND
_NAMES = (b"a", b"b", b"c", b"etc", b"tmp", b"dev", "é".encode())
_ODD_NAMES = (
    b"", b".", b"/", b"./", b"..", b"../a", b"a/..", b"a/../b", b"a//b", b"a/./b", b".a", b"..a",
    b".wh.a", b"a/.wh.b", b".wh.", b".wh..", b".wh...", b"a/.wh.", b".wh.a/", b".wh.a/b", b".wh..wh..opq",
    b"a/.wh..wh..opq", b".wh..wh..opq/", b".wh..wh.plnk", b".wh..wh.plnk/a", b".wh..wh.a", b".wh.dev",
    b"dev/.wh.a", b"caf\xe9", b"a\nb", b"a\\b", b"a b", b"\xff", "\ufffd".encode(), b"n" * 150,
    b"a/" + b"n" * 120, b"o" * 256, b"a/" * 60 + b"a", b"dev", b"dev/a", b"./dev/a", b"/dev/a",
    b"dev/b/c", b"dev/../a", b"proc/a", b"a\0b",
)  # fmt: skip
_MODES = (0o644, 0o755, 0o600, 0o4755, 0o2711, 0o1777, 0o777, 0, 0o100644, 0o40755, 0o1755)
_IDS = (0, 0, 1, 1000, 65534, 2**21, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, -1)
_SECONDS = (0, -1, -86400, 2**31, 2**33, 2**34, 2**63 // _SECOND, 253402300799, -62135596800)
_TIMES = (_NOW + 123_456_789, 1, -1, 2**63 - 1, 2**63, *(seconds * _SECOND for seconds in _SECONDS))
_DEVICES = ((0, 0), (1, 3), (5, 1), (8, 0), (259, 70_000), (1, 0))
_ACL = (
    b"\2\0\0\0" b"\1\0\7\0\xff\xff\xff\xff" b"\2\0\7\0\xe8\3\0\0" b"\4\0\5\0\xff\xff\xff\xff"
    b"\x10\0\7\0\xff\xff\xff\xff" b"\x20\0\5\0\xff\xff\xff\xff"
)  # fmt: skip
_USUAL_XATTRS = (
    (b"user.a", b"1"),
    (b"user.b", b"\0\xff\n"),
    (b"security.capability", CAPABILITY),
    (b"security.capability", CAPABILITY[:4] + b"\1" + CAPABILITY[5:]),
)
_XATTRS = (
    *_USUAL_XATTRS,
    (b"security.capability", b"\1\0\0\3" + CAPABILITY[4:] + b"\xe8\3\0\0"),
    (b"security.selinux", b"system_u:object_r:bin_t:s0\0"),
    (b"system.posix_acl_access", _ACL),
    (b"system.posix_acl_default", _ACL),
    (b"trusted.a", b"t"),
    (b"trusted.overlay.opaque", b"y"),
    (b"trusted.overlay.redirect", b"/etc"),
    (b"trusted.overlay.metacopy", b""),
    (b"user.overlay.opaque", b"y"),
    (b"user.containers.override_stat", b"0:0:0755"),
    (b"system.nfs4_acl", b"x"),
    (b"nonsense", b"x"),
    (b"user.caf\xe9", b"x"),
)
_ENDS = (
    b"",
    bytes(512),
    bytes(10240),
    bytes(70_000),
    END + b"garbage",
    END + Layer((Entry("reg", b"b"),)).stream,
    bytes(1536) + b"x",
)


def random_images(seed: str, count: int) -> Sequence[Image]:
    """Images with so many layers together, all of them different. Each oddity is in as many as any other."""
    dice = random.Random(seed)
    found: list[Image] = []
    seen: set[bytes] = set()
    for odd in itertools.cycle(_ODDITIES.values()):
        image = tuple(_layer(odd, dice) for _ in range(dice.choice((1, 1, 1, 1, 2))))
        if odd is _root and dice.random() < 0.3:
            # What is said of the root by that name has to do with the layers above.
            root = Entry("dir", b"/", mode=0o755, uid=dice.choice((0, 1000)), gid=5)
            image = (Layer((root, *image[0].entries[1:])), _layer(_none, dice))
        image = image[: count - len(seen)]
        streams = {layer.stream for layer in image}
        if len(streams) == len(image) and not seen & streams:
            found.append(image)
            seen |= streams
        if len(seen) == count:
            break
    return found


def _layer(odd: _Oddity, dice: random.Random) -> Layer:
    entries = odd(dice, _Ordinary(dice).make())
    for _ in range(dice.choice((0, 0, 0, 0, 0, 1, 2))):
        entries = _ODDITIES[dice.choice(list(_ODDITIES))](dice, entries)
    return Layer(tuple(entries), dice.choice(_ENDS) if dice.random() < 0.03 else END)


class _Ordinary:
    """A layer in the making, as a builder would write it."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.prefix = dice.choice((b"", b"", b"./", b"/"))
        self.slash = dice.choice((b"/", b"/", b""))
        self.format = dice.choice(FORMATS)
        self.entries: list[Entry] = []
        self.directories = [b""]
        self.files: list[Entry] = []
        self.links: list[Entry] = []

    def make(self) -> list[Entry]:
        """The entries."""
        if self.dice.random() < 0.3:
            self._add(Entry("dir", self.prefix or b"./", mode=self.dice.choice((0o755, 0o555))))
        taken = set()
        for _ in range(self.dice.randint(1, 9)):
            directory = self.dice.choice(self.directories)
            path = directory + self.dice.choice(_NAMES)
            if path not in taken:
                taken.add(path)
                self._one(directory, path)
        if self.dice.random() < 0.1:
            self.entries.sort(key=lambda entry: entry.kind == "dir")
        return self.entries or [Entry("dir", b"etc/", mode=0o755)]

    def _add(self, entry: Entry) -> None:
        self.entries.append(replace(entry, format=self.format))

    def _one(self, directory: bytes, path: bytes) -> None:
        dice, name = self.dice, self.prefix + path
        uid, gid = dice.choice(((0, 0), (0, 0), (1000, 100)))
        kinds = ["dir"] * 4 + ["reg"] * 4 + ["symlink"] * 2 + ["hardlink"] * 2 + ["gone", "opaque"]
        match dice.choice(["char", "block", "reg"] if directory == b"dev/" else kinds):
            case "dir":
                self.directories.append(path + b"/")
                mode = dice.choice((0o755, 0o755, 0o700, 0o1777, 0o2775))
                self._add(Entry("dir", name + self.slash, b"", mode, uid, gid))
            case "symlink":
                self._add(Entry("symlink", name, _path(dice), 0o777, uid, gid))
                self.links.append(self.entries[-1])
            case "hardlink" if self.files:
                target = dice.choice([*self.files, *self.files, *self.links])
                # GNU tar says the attributes of a file only once.
                xattrs = () if dice.random() < 0.3 else target.xattrs
                link = replace(target, kind="hardlink", name=name, link=target.name, xattrs=xattrs)
                self._add(replace(link, content=b""))
            case "gone":
                self._add(Entry("reg", self.prefix + directory + b".wh.x", b"", 0, uid, gid))
            case "opaque" if directory:
                self._add(Entry("reg", self.prefix + directory + b".wh..wh..opq", b"", 0, uid, gid))
            case "char" | "block" as kind:
                self._add(Entry(kind, name, b"", 0o660, uid, gid, device=dice.choice(_DEVICES[1:])))
            case _:
                xattrs = (dice.choice(_USUAL_XATTRS),) if dice.random() < 0.2 else ()
                mode = dice.choice((0o644, 0o755, 0o4755, 0o600))
                file = Entry("reg", name, b"", mode, uid, gid, content=_content(dice), xattrs=xattrs)
                self._add(file)
                self.files.append(self.entries[-1])


_Oddity = Callable[[random.Random, Sequence[Entry]], list[Entry]]
"""Makes one thing odd in the entries of a layer."""


def _none(_dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    return list(entries)


def _dropped(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    at = dice.randrange(len(entries))
    return [*entries[:at], *entries[at + 1 :]] or list(entries)


def _moved(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    at = dice.randrange(len(entries))
    return _inserted(dice, [*entries[:at], *entries[at + 1 :]], [entries[at]])


def _again(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    # skopeo refuses layers with the same name twice, but not if it is spelled in another way.
    entry = _changed(dice, dice.choice(entries))
    return _inserted(
        dice, entries, [replace(entry, name=dice.choice((b"/%s", b"../%s", b"%s")) % entry.name)]
    )


def _inserted(dice: random.Random, entries: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    to = dice.randint(0, len(entries))
    return [*entries[:to], *new, *entries[to:]]


def _one(
    change: Callable[[random.Random, Entry], Entry], dice: random.Random, entries: Sequence[Entry]
) -> list[Entry]:
    """Change one of them."""
    at = dice.randrange(len(entries))
    return [*entries[:at], change(dice, entries[at]), *entries[at + 1 :]]


def _linked(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    link = _link(dice, dice.choice(entries), entries)
    return [*entries, link] if dice.random() < 0.7 else _inserted(dice, entries, [link])


def _hard_link(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """A file, and a hard link to it that is spelled in another way, or says something else of it."""
    file = Entry("reg", b"target", content=b"1", xattrs=((b"security.capability", CAPABILITY),))
    file = dice.choice((file, replace(file, xattrs=())))
    link = replace(file, kind="hardlink", name=b"hard", link=file.name, content=b"")
    match dice.choice((*("time", "up", "slash", "attributes", "any") * 3, "through")):
        case "time":
            link = replace(link, mtime=dice.choice(_TIMES))
        case "up":
            forms = (b"../target", b"./../target", b"a/../target", b"x/../target", b"target/../target")
            link = replace(link, link=dice.choice(forms), mode=dice.choice(_MODES))
        case "slash":
            link = replace(link, link=dice.choice((b"target/", b"target/.")), mode=dice.choice(_MODES))
        case "attributes":
            link = replace(link, xattrs=_some_xattrs(dice))
        case "through":
            way = dice.choice((Entry("symlink", b"way", b"."), Entry("symlink", b"way", b"/")))
            return _inserted(dice, entries, [file, way, replace(link, link=b"way/target")])
        case _:
            link = replace(_changed(dice, link), kind="hardlink", content=b"")
    return _inserted(dice, entries, [file, link])


def _another_kind(dice: random.Random, entry: Entry) -> Entry:
    kind = dice.choice(("fifo", "char", "block", *TYPES))
    changed = replace(entry, kind=kind, device=dice.choice(_DEVICES))
    return changed if kind == "reg" else replace(changed, content=b"")


def _root(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """An entry for the root directory, or in its place."""
    kind = dice.choice((*["dir"] * 19, *TYPES))
    root = Entry(kind, dice.choice((*[b"./"] * 7, b"/", b".", b"a/..")), mode=0o755)
    root = replace(root, **dice.choice(({}, {"mode": 0o700}, {"mode": 0o1777}, {"uid": 1000}, {"gid": 5},
                                        {"xattrs": (_XATTRS[0],)}, {"mode": 0o555})))  # fmt: skip
    return _inserted(dice, [entry for entry in entries if entry.name.strip(b"./")], [root])


def _sticky(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """A directory in which it depends on its owner who may follow a link, and such links, in any order."""
    directory = Entry(
        "dir", dice.choice((b"tmp", b"tmp/", b"a/tmp")), mode=dice.choice((0o1777, 0o1777, 0o1775))
    )
    inside = directory.name.rstrip(b"/") + b"/"
    where = dice.choice((inside, inside, b""))
    link = Entry("symlink", where + b"link", b"target", 0o777, dice.choice((0, 1000, 1000)))
    hard = replace(link, kind="hardlink", name=dice.choice((inside, b"")) + b"hard", link=link.name)
    hard = replace(hard, uid=dice.choice((0, 1000)))
    # A hard link often has the last word on the owner, in both pulls.
    new = dice.choice(([directory, link], [link, directory], [directory, link], [directory, link, hard]))
    return _inserted(dice, entries, new)


def _hard_link_to_a_link(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """One name of a link where it depends on its owner who may follow it, and each name has its own owner."""
    directory = Entry("dir", b"tmp/", mode=dice.choice((0o1777, 0o1777, 0o755)))
    link = Entry("symlink", dice.choice((b"link", b"tmp/link")), b"target", 0o777, dice.choice((0, 0, 1000)))
    hard = replace(link, kind="hardlink", name=b"tmp/hard", link=link.name, uid=1000)
    hard = dice.choice((hard, replace(hard, xattrs=(_XATTRS[0],))))
    return _inserted(dice, entries, [directory, link, hard])


def _node(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """Something in dev/, and a link to it."""
    kind = dice.choice(("char", "block", "fifo"))
    node = Entry(kind, dice.choice((b"dev/node", b"./dev/node", b"node")), device=dice.choice(_DEVICES))
    link = Entry("hardlink", dice.choice((b"dev/link", b"link")), node.name, device=node.device)
    return _inserted(dice, entries, [Entry("dir", b"dev/", mode=0o755), node, link][: dice.choice((2, 3))])


def _whiteout(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """A whiteout of an entry, of what is below it, or of nothing; then, perhaps, a link to one of these."""
    entry = dice.choice(entries)
    below = entry.name.rstrip(b"/") + b"/"
    name = dice.choice(
        (_deleted(entry.name), below + b".wh.a", *[b".wh.gone"] * 4, b".wh.", b".wh..", b".wh...")
    )
    content = dice.choice((b"", b"content"))
    kind = dice.choice((*["reg"] * 9, *TYPES))
    whiteout = Entry(kind, name, entry.name, 0, content=content if kind == "reg" else b"")
    to = dice.choice((name, *[name.replace(b".wh.", b"")] * 4, entry.name))
    return _inserted(dice, entries, [whiteout, Entry("hardlink", b"hard", to)][: dice.choice((1, 2))])


def _any(dice: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """With any entry at all; most often it has to do with a place that is in the layer already."""

    def place() -> bytes:
        if dice.random() < 0.4:
            return _path(dice)
        known = dice.choice(entries).name
        below = known.rstrip(b"/") + b"/"
        nothing = dice.choice((b".wh.", b".wh..", b".wh..."))
        return dice.choice((known, below + dice.choice(_NAMES), below + nothing, _deleted(known)))

    entry = Entry(
        dice.choice(list(TYPES)), place(), place(), dice.choice(_MODES), format=dice.choice(FORMATS)
    )
    return _inserted(dice, entries, [_changed(dice, entry)])


def _link(dice: random.Random, target: Entry, entries: Sequence[Entry]) -> Entry:
    """A hard link to it, or to what it deletes, as it should be or not quite."""
    directories = [b"", *(entry.name.rstrip(b"/") + b"/" for entry in entries if entry.kind == "dir")]
    to = target.name.replace(b".wh.", b"") if dice.random() < 0.5 else target.name
    if dice.random() < 0.3:
        to = _respelled(dice, to)
    name = dice.choice(directories) + b"link"
    link = replace(target, kind="hardlink", name=name, link=to, content=b"", size=None)
    return replace(_changed(dice, link), kind="hardlink") if dice.random() < 0.7 else link


def _respelled_entry(dice: random.Random, entry: Entry) -> Entry:
    return replace(entry, name=_respelled(dice, entry.name))


def _respelled(dice: random.Random, name: bytes) -> bytes:
    """Another name for the same path."""
    forms = (b"/%s", b"./%s", b"%s/", b"../%s", b"x/../%s", b"a/../%s", b".//%s", b"%s/.")
    return dice.choice(forms) % name


def _deleted(name: bytes) -> bytes:
    """The whiteout of it."""
    directory, slash, base = name.rstrip(b"/").rpartition(b"/")
    return directory + slash + b".wh." + base


def _changed(dice: random.Random, entry: Entry) -> Entry:
    """The same with another value in one field."""
    return _with_other(dice.choice((*_VALUES, "kind", "xattrs", "xattrs")), dice, entry)


def _with_other(field: str, dice: random.Random, entry: Entry) -> Entry:
    """The same with another value in that field."""
    changed = replace(entry, **{field: _VALUES[field](dice)})
    if field == "kind":
        changed = replace(changed, device=dice.choice(_DEVICES))
    # Content that is not there, or that only its header does not know of, would make it no tar stream.
    return replace(changed, size=None) if changed.kind == "reg" else replace(changed, content=b"")


def _path(dice: random.Random) -> bytes:
    if dice.random() < 0.4:
        return dice.choice(_ODD_NAMES)
    return b"/".join(dice.choice(_NAMES) for _ in range(dice.randint(1, 3)))


def _some_xattrs(dice: random.Random) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(dict(dice.choice(_XATTRS) for _ in range(dice.choice((0, 1, 1, 2)))).items())


def _content(dice: random.Random) -> bytes:
    """Empty, small, of several chunks, with holes, large; often what other files hold, too."""
    number = random.Random(dice.randint(0, 4))
    match dice.randint(0, 11):
        case 0 | 1:
            return b""
        case 2:
            return bytes(dice.choice((5000, 70_000)))
        case 3:
            return b"0123456789abcde\n" * 30_000
        case 4:
            return number.randbytes(90_000)
        case 5:
            pieces = (
                number.randbytes(number.randint(1, 9000)) + bytes(number.randint(1, 9000)) for _ in "abc"
            )
            return b"".join(pieces)
        case _:
            return b"content %d\n" % number.randint(0, 9)


_VALUES: Mapping[str, Callable[[random.Random], Any]] = {
    "kind": lambda dice: dice.choice(list(TYPES)),
    "name": _path,
    "link": _path,
    "mode": lambda dice: dice.choice(_MODES),
    "uid": lambda dice: dice.choice(_IDS),
    "gid": lambda dice: dice.choice(_IDS),
    "mtime": lambda dice: dice.choice(_TIMES),
    "content": _content,
    "xattrs": _some_xattrs,
    "device": lambda dice: dice.choice(_DEVICES),
    "format": lambda dice: dice.choice(FORMATS),
    "size": lambda dice: dice.choice((1, 600)),
}

_ODDITIES: Mapping[str, _Oddity] = {
    "none": _none,
    "none, again": _none,
    "dropped": _dropped,
    "moved": _moved,
    "again": _again,
    "any": _any,
    "linked": _linked,
    "hard link": _hard_link,
    "hard link to a link": _hard_link_to_a_link,
    "root": _root,
    "sticky": _sticky,
    "node": _node,
    "whiteout": _whiteout,
    "another kind": functools.partial(_one, _another_kind),
    "respelled": functools.partial(_one, _respelled_entry),
    **{field: functools.partial(_one, functools.partial(_with_other, field)) for field in _VALUES},
}
