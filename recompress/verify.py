"""Proof that a twin is the same image for every client: of its structure here, of its content in `proving`.

It needs a client for the repository that holds the twin, the source image and the twin, and raises
VerificationFailed where anything is not as it must be.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence

from recompress import partial_pulls, twin
from recompress.errors import RecompressError, VerificationFailed, about
from recompress.image import Image
from recompress.layer import LayerProof, Layout, Verdict
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    ESTARGZ_TOC,
    Compression,
    Config,
    Descriptor,
    Manifest,
    MediaType,
)
from recompress.printable import counted
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest
from recompress.registry import ByteRange, Connection, RepositoryClient, TwoRangesAnswer
from recompress.threads import mapped
from recompress.verify_report import LayerVerdict, VerifyReport

log = logging.getLogger(__name__)


def compare(
    connection: Connection,
    provers: Provers,
    source: Image,
    result: Image,
    *,
    jobs: int,
    require_partial_pulls: bool,
    reporter: Reporter,
) -> VerifyReport:
    """Prove that `result` is the zstd:chunked twin of `source`; all that is wrong is in the report.

    Raises Unsupported where the registry breaks partial pulls, if these are required.
    """
    failures: list[str] = []
    with connection.client(result.reference.repository) as client:
        try:
            structure(client, source, result, jobs, require_partial_pulls=require_partial_pulls)
        except VerificationFailed as error:
            failures.append(str(error))
    claims = [
        Claim(result.reference.repository, layer, diff_id, is_chunked=False)
        for diff_id, layer in result.layers
        if layer.media_type == MediaType.OCI_LAYER_ZSTD
    ]
    reporter.step(f"verifying the content of {counted(len(claims), 'layer')}")
    outcomes = provers.prove(claims, reporter)
    verdicts = tuple(_verdict(claim, outcomes[claim]) for claim in claims)
    proofs = [verdict.outcome for verdict in verdicts if isinstance(verdict.outcome, LayerProof)]
    if len(proofs) == len(result.manifest.layers):
        failures += wrongly_annotated(result.manifest.layers, proofs)
    return VerifyReport(source, result, verdicts, tuple(failures))


def _verdict(claim: Claim, outcome: LayerProof | RecompressError) -> LayerVerdict:
    if not isinstance(outcome, LayerProof | VerificationFailed):
        # A layer that cannot be read is neither proven nor disproven.
        raise outcome
    return LayerVerdict(claim.diff_id, claim.layer, outcome)


def wrongly_annotated(layers: Sequence[Descriptor], verdicts: Sequence[Verdict]) -> list[str]:
    """What is wrong with the layers of an image that have the annotations for partial pulls, or lack them."""
    wrong = []
    for layer, reason in zip(layers, twin.why_full(verdicts), strict=True):
        if layer.chunked and layer.compression is not Compression.ZSTD_CHUNKED:
            wrong.append(f"layer {layer.digest} has only some of the annotations for partial pulls")
        elif reason and layer.chunked:
            wrong.append(
                f"layer {layer.digest}: {reason}: its annotations let clients pull it partially, "
                "and they get other files"
            )
        elif not reason and not layer.chunked:
            wrong.append(
                f"layer {layer.digest} lacks the annotations for partial pulls, but can be pulled partially"
            )
    return wrong


def structure(
    client: RepositoryClient, source: Image, result: Image, jobs: int, *, require_partial_pulls: bool
) -> None:
    """Prove the structure of the twin `result`, in the repository of `client`, against its source.

    Every layer is zstd, there are as many as the source has and as the config has diff_ids, the config is the
    source's byte for byte, and no annotation of the manifest is lost. The table of contents of every layer
    that has the annotations for partial pulls has the checksum that they say, and it is fetched by the very
    request of a client that pulls partially. Raises Unsupported where the registry's answer breaks such
    pulls, if they are required.
    """
    shape(source.manifest, result.manifest, source.config)
    _same_config(client, source.config, result.manifest)
    _same_annotations(source.manifest, result.manifest)
    for layer in result.manifest.layers:
        if ESTARGZ_TOC in layer.annotations:
            # toc.GetTOCDigest: with both, clients refuse the layer; with this one, they read another table.
            raise VerificationFailed(
                f"layer {layer.digest} has the annotation {ESTARGZ_TOC}, which is for gzip layers"
            )
    chunked = [layer for layer in result.manifest.layers if layer.chunked]
    answers = mapped(lambda layer: _toc_has_its_checksum(client, layer), chunked, jobs)
    # Each kind of answer is reported once, not for each layer.
    for answer in {answer.kind: answer for answer in answers}.values():
        partial_pulls.judge(answer, client.repository.registry, require=require_partial_pulls)


def recompressed(source: Manifest, pushed: Manifest, config: Config, known: Container[Digest]) -> None:
    """Prove that skopeo has recompressed every layer: what it pushes has the annotations on each.

    It leaves a layer of the source that is zstd:chunked as it is, with the annotations or without: those are
    the `known` ones.
    """
    shape(source, pushed, config)
    for number, layer in enumerate(pushed.layers, start=1):
        if not layer.chunked and layer.digest not in known:
            missing = ", ".join(CHUNKED_ANNOTATIONS)
            raise VerificationFailed(
                f"layer {number} of the twin, {layer.digest}, is plain zstd: it lacks {missing}"
            )


def shape(source: Manifest, result: Manifest, config: Config) -> None:
    """Prove that every layer was recompressed, and may be pulled partially, or not, without a doubt."""
    if result.media_type != MediaType.OCI_MANIFEST:
        raise VerificationFailed(
            f"the twin {result.digest} is of type {result.media_type}, not an OCI manifest"
        )
    if not len(source.layers) == len(result.layers) == len(config.diff_ids):
        raise VerificationFailed(
            f"the twin {result.digest} has {counted(len(result.layers), 'layer')}, "
            f"its source has {len(source.layers)} and its config lists {len(config.diff_ids)}"
        )
    for number, layer in enumerate(result.layers, start=1):
        what = f"layer {number} of the twin, {layer.digest},"
        if layer.media_type != MediaType.OCI_LAYER_ZSTD:
            raise VerificationFailed(f"{what} is {layer.media_type}: it was not recompressed")
        if layer.urls or layer.data:
            raise VerificationFailed(
                f"{what} has urls or data in its descriptor: clients can get other bytes"
            )
        if layer.chunked and layer.compression is not Compression.ZSTD_CHUNKED:
            missing = ", ".join(a for a in CHUNKED_ANNOTATIONS if a not in layer.annotations)
            raise VerificationFailed(f"{what} lacks {missing}, but has other annotations that need it")


def _same_config(client: RepositoryClient, config: Config, result: Manifest) -> None:
    if (result.config.digest, result.config.size) != (config.digest, len(config.content)):
        raise VerificationFailed(
            f"the twin {result.digest} has the config {result.config.digest}, its source has "
            f"{config.digest}: the image ID is not kept"
        )
    if client.config(result.config) != config.content:
        raise VerificationFailed(f"the config {config.digest} of the twin is not the source's")


def _same_annotations(source: Manifest, result: Manifest) -> None:
    for name, value in twin.kept_annotations(source.annotations).items():
        if result.annotations.get(name) != value:
            raise VerificationFailed(
                f"the annotation {name!r} of the source, {value!r:.200}, "
                f"is {result.annotations.get(name)!r:.200} in the twin {result.digest}"
            )
    for before, after in zip(source.layers, result.layers, strict=True):
        kept = after.annotations.items()
        if lost := [
            name
            for name, value in twin.kept_annotations(before.annotations).items()
            if (name, value) not in kept
        ]:
            log.warning(
                "layer %s of the twin lacks annotations of its source: %s", after.digest, ", ".join(lost)
            )


def _toc_has_its_checksum(client: RepositoryClient, layer: Descriptor) -> TwoRangesAnswer:
    """Raise VerificationFailed unless it has; returns how the registry answers the request of podman."""
    with about(f"layer {layer.digest}", VerificationFailed):
        layout = Layout.of(layer)
    toc, tar_split = layout.toc, layout.tar_split
    answer = client.two_ranges(
        layer.digest, ByteRange(toc.offset, toc.length), ByteRange(tar_split.offset, tar_split.length)
    )
    if answer.sha256:
        found, _ = answer.sha256
    else:
        found, _ = client.blob_range_sha256(layer.digest, toc.offset, toc.length)
    if found != layout.toc_checksum:
        raise VerificationFailed(
            f"the table of contents of layer {layer.digest} has the digest {found}, "
            f"and its annotation says {layout.toc_checksum}"
        )
    return answer
