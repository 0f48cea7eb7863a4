"""How large a layer may be, by the source layer that it stands for: no bomb keeps a run busy."""

from __future__ import annotations

from recompress.layer import MAX_UNCOMPRESSED
from recompress.manifest import Compression, Descriptor


def most_uncompressed(source: Descriptor) -> int:
    """The most bytes that what is in a source layer can be: deflate packs no more than 1032 into one."""
    match source.compression:
        case Compression.UNCOMPRESSED:
            return source.size
        case Compression.GZIP:
            return min(MAX_UNCOMPRESSED, 1032 * source.size)
        case _:
            return MAX_UNCOMPRESSED
