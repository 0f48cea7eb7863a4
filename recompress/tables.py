"""The tables of a zstd:chunked layer, found and fetched from a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO, cast

from recompress.errors import VerificationFailed, about
from recompress.layer import FOOTER_BYTES, Layout, Section, Verdict, in_footer, judge_tables
from recompress.manifest import Compression, Descriptor
from recompress.reference import Digest
from recompress.registry import RepositoryClient

_SPOOLED_BYTES = 4 * 1024 * 1024


def layout_of(client: RepositoryClient, layer: Descriptor) -> Layout | None:
    """Where the tables of a layer are, by its annotations, or by its footer where it has none.

    None where it has neither: a plain zstd layer. Raises VerificationFailed for annotations that are wrong.
    """
    with about(f"layer {layer.digest}", VerificationFailed):
        if layer.compression is Compression.ZSTD_CHUNKED:
            return Layout.of(layer)
    if layer.size <= FOOTER_BYTES:
        return None
    with client.blob_range(layer.digest, layer.size - FOOTER_BYTES, FOOTER_BYTES) as (chunks, _):
        sections = in_footer(b"".join(chunks), layer.size)
    if sections is None:
        return None
    toc, tar_split = sections
    checksum, _ = client.blob_range_sha256(layer.digest, toc.offset, toc.length)
    return Layout(toc, checksum, tar_split)


@contextmanager
def fetched(
    client: RepositoryClient, layer: Descriptor, layout: Layout
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Fetch the table of contents and the tar-split data, to files that are gone in the end.

    Not tried again here.
    """
    with (
        _section(client, layer.digest, layout.toc) as toc,
        _section(client, layer.digest, layout.tar_split) as tar_split,
    ):
        yield toc, tar_split


def with_annotations(layer: Descriptor, layout: Layout) -> Descriptor:
    """The layer with the annotations that its tables have."""
    return replace(layer, annotations={**layer.annotations, **layout.annotations})


def judge(client: RepositoryClient, layer: Descriptor) -> Verdict:
    """How clients have to pull a layer, by its tables, which are trusted.

    Raises VerificationFailed where the table of contents is not the one that the annotations name, or the
    layer does not have the size that its descriptor says.
    """
    size = client.stat_blob(layer.digest)
    if size not in (None, layer.size):
        raise VerificationFailed(f"layer {layer.digest} has {size} bytes, and not {layer.size}")
    layout = layout_of(client, layer)
    if layout is None:
        return Verdict("it is plain zstd", changes_root=False, layout=None)
    if layout.is_too_large:
        return Verdict("its tables are larger than clients read", changes_root=False, layout=layout)
    with (
        about(f"layer {layer.digest}", VerificationFailed),
        fetched(client, layer, layout) as (toc, tar_split),
    ):
        return judge_tables(layout, toc, tar_split)


def _section(client: RepositoryClient, digest: Digest, section: Section) -> BinaryIO:
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))  # noqa: SIM115 the caller closes it
    with client.blob_range(digest, section.offset, section.length) as (chunks, _):
        for chunk in chunks:
            file.write(chunk)
    return file
