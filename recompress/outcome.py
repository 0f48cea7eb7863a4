"""What became of each layer, for the report, and what there is to warn of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from recompress.image import Image
from recompress.judging import Known
from recompress.layer import LARGE_TOC_BYTES, Verdict
from recompress.manifest import MediaType
from recompress.printable import counted
from recompress.reference import Digest
from recompress.report import Action, LayerReport

log = logging.getLogger(__name__)


def layers(
    source: Image,
    result: Image,
    reasons: Sequence[str | None],
    known: Mapping[Digest, Known],
    seconds: Mapping[str, float],
) -> tuple[LayerReport, ...]:
    """Each layer of the source with that of the result, and why clients have to pull it in full.

    `seconds` are those that skopeo worked on a layer, by its short digest. It has none for one that it took
    from elsewhere; what it compresses can be the same bytes as what it could have taken.
    """
    reported = []
    for (diff_id, before), (_, after), reason in zip(source.layers, result.layers, reasons, strict=True):
        took = seconds.get(before.digest.short)
        exists = known.get(diff_id)
        if before.digest == after.digest:
            action, origin = Action.KEPT, None
        elif took is None and exists and exists.offer.layer.digest == after.digest:
            action, origin = Action.REUSED, exists.offer.origin
        else:
            action, origin = Action.COMPRESSED, None
        reported.append(LayerReport(diff_id, before, after, action, origin, took, reason))
    return tuple(reported)


def warn(
    source: Image,
    reported: Sequence[LayerReport],
    verdicts: Sequence[Verdict],
    known: Mapping[Digest, Known],
) -> None:
    """Warn of what a twin does not give its clients."""
    for layer, verdict in zip(reported, verdicts, strict=True):
        if layer.why_full:
            log.warning("clients pull layer %s in full: %s", layer.twin.digest, layer.why_full)
        elif verdict.layout and verdict.layout.toc.uncompressed > LARGE_TOC_BYTES:
            log.warning(
                "layer %s has a table of contents of %d bytes: podman from before 2025 fails to pull it",
                layer.twin.digest,
                verdict.layout.toc.uncompressed,
            )
    if reported and all(layer.why_full for layer in reported):
        log.warning("no layer of the twin can be pulled partially: it saves clients nothing")
    compressed = {layer.diff_id for layer in reported if layer.action is Action.COMPRESSED}
    # A registry that does not mount layers of a base says nothing of it.
    offered = {diff_id for diff_id, layer in known.items() if not layer.offer.is_from_base}
    if ignored := compressed & offered:
        taken = len(offered) - len(ignored)
        log.warning("skopeo took %d of %s that could be reused", taken, counted(len(offered), "layer"))
    fields = ", ".join(source.config.docker_only_fields)
    if fields and source.manifest.media_type == MediaType.DOCKER_MANIFEST:
        log.warning(
            "the config has %s: the twin keeps that and Docker uses it, "
            "but podman ignores Healthcheck in any OCI manifest",
            fields,
        )
