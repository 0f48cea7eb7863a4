"""What is at a reference, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from recompress import plan, whereabouts
from recompress.errors import NotFound, Unsupported
from recompress.inspect_report import InspectedImage, InspectReport, OwnTwin, TwinOf
from recompress.manifest import Descriptor, Index, Manifest, parse_config
from recompress.reference import Reference
from recompress.registry import RepositoryClient

_MOST_ENTRIES = 1024


@dataclass(frozen=True, slots=True)
class _Shown:
    """An image as it is shown, with its manifest; None where it is no image."""

    image: InspectedImage
    manifest: Manifest | None = None


def inspect(client: RepositoryClient, reference: Reference) -> InspectReport:
    """Read a manifest, or an index with all its manifests, and say how their layers are packed.

    Of a twin it is said whose it is, and where its SBOM is; of a gzip image, which is its twin.
    """
    found = plan.read(client, reference.selector, reference)
    at_digest = reference.with_digest(found.digest)
    if isinstance(found, Manifest):
        shown = [_inspected(client, found, None)]
        index = whereabouts.named_index(client, reference)
    else:
        if len(found.manifests) > _MOST_ENTRIES:
            raise Unsupported(f"{reference} has more than {_MOST_ENTRIES} entries: name one of its manifests")
        shown = [_entry(client, entry, reference) for entry in found.manifests]
        index = found
    related = partial(_related, client, at_digest, index, shown)
    return InspectReport(at_digest, isinstance(found, Index), tuple(map(related, shown)))


def _related(
    client: RepositoryClient, reference: Reference, index: Index | None, shown: Sequence[_Shown], one: _Shown
) -> InspectedImage:
    """The image with what is known of its twin, or of its source where it is one itself."""
    if one.manifest is None:
        return one.image
    other = _partner(one.image, one.manifest, shown)
    if not one.manifest.has_zstd:
        twin = other.digest if other else whereabouts.twin_at_tag(client, one.manifest)
        own = OwnTwin(twin, whereabouts.is_in(index, twin)) if twin else None
        return replace(one.image, twin=own)
    source, is_here = (
        (other.digest, True) if other else whereabouts.source_by_tag(client, reference, one.manifest)
    )
    at = replace(reference, tag=None, digest=one.manifest.digest)
    sbom = whereabouts.sbom_of(client, one.manifest, at)
    twin_of = TwinOf(source, is_here, whereabouts.is_in(index, one.manifest.digest), sbom)
    return replace(one.image, twin_of=twin_of)


def _partner(image: InspectedImage, manifest: Manifest, shown: Sequence[_Shown]) -> Manifest | None:
    """The image in the same index with the same config that is packed the other way."""
    same = [
        each
        for each in shown
        if each.manifest
        and each.manifest.config.digest == manifest.config.digest
        and each.manifest.has_zstd != manifest.has_zstd
    ]
    same.sort(key=lambda each: each.image.platform != image.platform)
    return same[0].manifest if same else None


def _entry(client: RepositoryClient, entry: Descriptor, reference: Reference) -> _Shown:
    none = partial(InspectedImage, entry.digest, entry.media_type, entry.platform, ())
    if plan.is_attestation(entry):
        return _Shown(none("attestation"))
    if plan.is_artifact(entry):
        return _Shown(none("artifact"))
    at_digest = reference.with_digest(entry.digest)
    try:
        manifest = plan.read(client, entry.digest, at_digest)
        plan.check_no_artifact(manifest, at_digest)
    except Unsupported:
        return _Shown(none("not an image"))
    except NotFound:
        # A mirror can have an index without all of its manifests (distribution specification 1.1).
        return _Shown(none("missing"))
    if isinstance(manifest, Index):
        return _Shown(none("index"))
    return _inspected(client, manifest, entry)


def _inspected(client: RepositoryClient, manifest: Manifest, entry: Descriptor | None) -> _Shown:
    platform = entry.platform if entry else None
    shown = InspectedImage(manifest.digest, manifest.media_type, platform, manifest.layers)
    if platform is not None:
        return _Shown(shown, manifest)
    try:
        return _Shown(
            replace(shown, platform=parse_config(client.config(manifest.config)).platform), manifest
        )
    except Unsupported:
        return _Shown(replace(shown, note=f"not an image: {manifest.config.media_type}"))
