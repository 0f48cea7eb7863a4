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


def most_compressed(source: Descriptor) -> int:
    """The most bytes that a zstd:chunked layer may have to be reused for a source layer.

    Many small files make it larger than gzip, some three times. Made of endless empty frames it could have
    any size.
    """
    return 16 * source.size + 1024 * 1024
