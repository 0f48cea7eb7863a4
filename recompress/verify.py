"""Proof that a twin is the same image: of its structure here, of its content in `proving`.

Usable as a library: it needs a client for the repository that holds the twin, the source image
and the twin's manifest, and raises VerificationFailed where anything is not as it must be.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from recompress.errors import RecompressError, VerificationFailed, about
from recompress.image import Image
from recompress.layer import LayerProof, Layout
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    Compression,
    Config,
    Descriptor,
    Manifest,
    MediaType,
)
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.registry import Connection, RepositoryClient
from recompress.report import LayerVerdict, VerifyReport

log = logging.getLogger(__name__)


def compare(
    connection: Connection, provers: Provers, source: Image, result: Image, *, jobs: int, reporter: Reporter
) -> VerifyReport:
    """Prove that `result` is the zstd:chunked twin of `source`; all that is wrong is in the report."""
    failures: list[str] = []
    with connection.client(result.reference.repository) as client:
        try:
            structure(client, source, result, jobs)
        except VerificationFailed as error:
            failures.append(str(error))
    claims = [
        Claim(result.reference.repository, layer, diff_id)
        for diff_id, layer in result.layers
        if layer.compression is Compression.ZSTD_CHUNKED
    ]
    reporter.step(f"verifying the content of {len(claims)} layers")
    outcomes = provers.prove(claims, reporter)
    verdicts = tuple(_verdict(claim, outcomes[claim]) for claim in claims)
    return VerifyReport(source, result, verdicts, tuple(failures))


def _verdict(claim: Claim, outcome: LayerProof | RecompressError) -> LayerVerdict:
    if not isinstance(outcome, LayerProof | VerificationFailed):
        # A layer that cannot be read is neither proven nor disproven.
        raise outcome
    return LayerVerdict(claim.diff_id, claim.layer, outcome)


def structure(client: RepositoryClient, source: Image, twin: Image, jobs: int) -> None:
    """Prove the structure of `twin`, in the repository of `client`, against its source.

    Every layer is zstd:chunked with all annotations, there are as many as the source has and as
    the config has diff_ids, the config is the source's byte for byte, no annotation of the source
    is lost, and the table of contents of every layer, fetched as a client that pulls partially
    fetches it, has the checksum that its annotation says.
    """
    _same_shape(source.manifest, twin.manifest, source.config)
    _same_config(client, source.config, twin.manifest)
    annotations = twin.manifest.annotations
    for name, value in source.manifest.annotations.items():
        if annotations.get(name) != value:
            raise VerificationFailed(
                f"the annotation {name!r} of the source, {value!r:.200}, "
                f"is {annotations.get(name)!r:.200} in the twin {twin.digest}"
            )
    with ThreadPoolExecutor(jobs) as pool:
        honoured = list(pool.map(lambda layer: _toc_has_its_checksum(client, layer), twin.manifest.layers))
    if not all(honoured):
        log.warning(
            "the registry %s ignores HTTP Range requests: clients cannot pull parts of layers from it, "
            "so zstd:chunked saves them nothing there",
            client.repository.registry,
        )


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
    with about(f"layer {layer.digest}", VerificationFailed):
        layout = Layout.of(layer)
    found, honoured = client.blob_range_sha256(layer.digest, layout.toc.offset, layout.toc.length)
    if found != layout.toc_checksum:
        raise VerificationFailed(
            f"the table of contents of layer {layer.digest} has the digest {found}, "
            f"and its annotation says {layout.toc_checksum}"
        )
    return honoured
