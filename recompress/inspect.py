"""What is at a reference, without changing anything."""

from __future__ import annotations

from recompress import plan
from recompress.errors import NotFound, Unsupported
from recompress.manifest import Descriptor, Index, Manifest, parse_config
from recompress.reference import Reference
from recompress.registry import RepositoryClient
from recompress.report import InspectedImage, InspectReport


def inspect(client: RepositoryClient, reference: Reference) -> InspectReport:
    """Read a manifest, or an index with all its manifests, and say how their layers are packed."""
    found = plan.read(client, reference.selector, reference)
    at_digest = reference.with_digest(found.digest)
    if isinstance(found, Manifest):
        return InspectReport(at_digest, False, (_inspected(client, found, None),))
    return InspectReport(
        at_digest, True, tuple(_entry(client, entry, reference) for entry in found.manifests)
    )


def _entry(client: RepositoryClient, entry: Descriptor, reference: Reference) -> InspectedImage:
    if plan.is_attestation(entry):
        return InspectedImage(entry.digest, entry.media_type, entry.platform, (), "attestation")
    if plan.is_artifact(entry):
        return InspectedImage(entry.digest, entry.media_type, entry.platform, (), "artifact")
    at_digest = reference.with_digest(entry.digest)
    try:
        manifest = plan.read(client, entry.digest, at_digest)
        plan.check_no_artifact(manifest, at_digest)
    except Unsupported:
        return InspectedImage(entry.digest, entry.media_type, entry.platform, (), "not an image")
    except NotFound:
        # A mirror can have an index without all of its manifests (distribution specification 1.1).
        return InspectedImage(entry.digest, entry.media_type, entry.platform, (), "missing")
    if isinstance(manifest, Index):
        return InspectedImage(entry.digest, entry.media_type, entry.platform, (), "index")
    return _inspected(client, manifest, entry)


def _inspected(client: RepositoryClient, manifest: Manifest, entry: Descriptor | None) -> InspectedImage:
    platform = entry.platform if entry else None
    note = ""
    if platform is None:
        try:
            platform = parse_config(client.config(manifest.config)).platform
        except Unsupported:
            note = f"not an image: {manifest.config.media_type}"
    return InspectedImage(manifest.digest, manifest.media_type, platform, manifest.layers, note)
