"""How clients have to pull a layer, judged by its tables alone, where the layer is not read."""

from __future__ import annotations

import base64
import binascii
from typing import BinaryIO

from recompress.errors import VerificationFailed
from recompress.layer.attributes import GO_ZERO_TIME
from recompress.layer.frames import decompressed
from recompress.layer.layout import Layout
from recompress.layer.partial import PartialPull, Verdict
from recompress.layer.tarsplit import has_usual_end
from recompress.layer.tarstream import TYPES, TarHeader
from recompress.layer.toc import CHUNK, Toc, TocEntry
from recompress.printable import printable

_TYPES = frozenset(TYPES.values())


def judge_tables(layout: Layout, toc: BinaryIO, tar_split: BinaryIO) -> Verdict:
    """Judge a layer by its table of contents and tar-split data, as it is judged by its tar stream else.

    `toc` and `tar_split` are the sections that `layout` names. Raises VerificationFailed for what is no such
    table, or not the one that `layout` has the checksum of. A table that does not tell the truth makes this
    verdict false; only `prove_layer` finds that.
    """
    layout.check_toc(toc)
    judge = PartialPull()
    table = Toc(decompressed(toc, layout.toc.uncompressed, "the table of contents"))
    while (entry := table.next_entry()) is not None:
        if entry.type == CHUNK:
            continue
        judge.see(_header(entry))
    if not has_usual_end(decompressed(tar_split, layout.tar_split.uncompressed, "the tar-split data")):
        judge.full_pull("there are bytes behind the end of its archive")
    return Verdict(judge.end(), judge.changes_root, layout)


def _header(entry: TocEntry) -> TarHeader:
    """The entry in the words of a tar header."""
    if entry.type not in _TYPES:
        raise VerificationFailed(f"{printable(entry.name)}: its type in the table is {entry.type!r:.100}")
    try:
        xattrs = {n.encode(): base64.b64decode(value, validate=True) for n, value in entry.xattrs.items()}
        return TarHeader(
            entry.type,
            entry.name.encode(),
            entry.link_name.encode(),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size,
            GO_ZERO_TIME if entry.modtime is None else entry.modtime,
            entry.accesstime,
            entry.changetime,
            entry.dev_major,
            entry.dev_minor,
            xattrs,
            b"",
        )
    except (UnicodeEncodeError, binascii.Error):
        raise VerificationFailed("its table of contents has a name or an xattr that cannot be read") from None
