"""Layers written entry by entry, for judging whether they may be pulled partially.

Each helper makes the bytes of one entry of a real tar stream, and `judged` reads them as those of images are
read.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from recompress.layer.partial import PartialPull
from recompress.layer.tarstream import TarStream
from tests.data.make_layers import END, archive, header, info

NO_XATTRS: Mapping[str, str] = {}


class Source(io.BytesIO):
    def read_exactly(self, count: int) -> bytes:
        return self.read(count)


def judged(*entries: bytes) -> PartialPull:
    judge = PartialPull()
    source = Source(b"".join(entries) + END)
    stream = TarStream(source)
    while (found := stream.next_header()) is not None:
        judge.see(found)
        source.read(found.size if found.type == "reg" else 0)
    return judge


def verdict(*entries: bytes) -> str | None:
    return judged(*entries).end()


def entry(
    name: str, kind: bytes, content: bytes = b"", *, xattrs: Mapping[str, str] = NO_XATTRS, **fields: Any
) -> bytes:
    records = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
    member = info(name, kind, **{"pax_headers": records, **fields})
    return archive(tarfile.PAX_FORMAT, (member, content), end=b"")


def directory(name: str, mode: int = 0o755, **fields: Any) -> bytes:
    return entry(name, tarfile.DIRTYPE, mode=mode, **fields)


def file(name: str, content: bytes = b"", **fields: Any) -> bytes:
    return entry(name, tarfile.REGTYPE, content, **fields)


def symlink(name: str, target: str = "target", **fields: Any) -> bytes:
    return entry(name, tarfile.SYMTYPE, linkname=target, **fields)


def hard_link(name: str, target: str, **fields: Any) -> bytes:
    return entry(name, tarfile.LNKTYPE, linkname=target, **fields)


def device(name: str, kind: bytes = tarfile.CHRTYPE, major: int = 1, minor: int = 3, **fields: Any) -> bytes:
    return entry(name, kind, devmajor=major, devminor=minor, **fields)


def root(name: bytes, *, mode: int = 0o755, uid: int = 0, gid: int = 0, kind: bytes = b"5") -> bytes:
    return header(name, kind=kind, o100=b"%07o\0" % mode, o108=b"%07o\0" % uid, o116=b"%07o\0" % gid)
