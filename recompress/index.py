"""An image index that serves old and new clients: gzip entries first, then the annotated zstd ones.

Docker before 23 takes the first entry of its platform and cannot read zstd; podman, CRI-O and
buildah take the entry with the annotation, wherever it stands (docs/design.md, "Who picks what").
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from recompress import attached, bootable, plan, results
from recompress.errors import Artifact, NotFound, Unsupported, UsageError, Vanished, VerificationFailed
from recompress.manifest import (
    INDEX_ZSTD_ANNOTATION,
    Descriptor,
    Index,
    Manifest,
    MediaType,
    Platform,
)
from recompress.printable import printable
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, Served
from recompress.report import EntryKind, IndexEntry, IndexReport
from recompress.sbom_document import SbomFormat, of_index

log = logging.getLogger(__name__)

_KEPT_OF_INDEX = ("annotations", "artifactType", "subject")
"""What an index says of itself, besides its entries (OCI image-index.md)."""

_MADE_ANEW = ("schemaVersion", "mediaType", "manifests")

_Sources = Sequence[tuple[Reference, Manifest | Index]]
"""What is at each reference that was named."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry as it was found, with the config of an image, and the platform that an index lists it for."""

    entry: IndexEntry
    config: Digest | None = None
    listed: Platform | None = None


def assemble(
    client: RepositoryClient,
    to: Reference,
    images: tuple[Reference, ...],
    *,
    is_task: bool,
    has_sbom: bool,
    instead: Mapping[Digest, Digest | None] | None = None,
) -> IndexReport:
    """Push an index of `images` (manifests, or indexes that are flattened) and tag it as `to`.

    `instead` has, by its digest, what takes the place of an image in one of the indexes, None for nothing.
    A variant that only an index has is kept, and what a single index says of itself; a warning names what is
    lost. The same images in the same order give the same digest. With `has_sbom` the index gets an SBOM that
    lists them. Raises UsageError for images without a digest or of another repository; Unsupported for images
    that cannot be in one index. Then nothing is pushed. With `is_task` results that do not fit into a Task's
    are left out.
    """
    tag = checked_tag(to, images)
    sources = [(image, plan.read(client, image.selector, image)) for image in images]
    entries = _ordered(_without_duplicates(_with_all_platforms(list(_found(client, sources, instead or {})))))
    content = _document(_kept_of_index(sources), entries)
    digest = Digest.of(content)
    reference, now = to.with_digest(digest), datetime.now(UTC)
    sbom = of_index(reference, entries, now) if has_sbom else None
    served = Served(content, MediaType.OCI_INDEX)
    _push(client, digest, served, entries)
    if client.manifest(digest).content != content:
        raise VerificationFailed(f"the registry does not return the index {digest} as it was pushed")
    pushed = attached.push(client, digest, sbom, SbomFormat.SPDX, now, is_referrer=False) if sbom else None
    client.tag(tag, served)
    named = _results(reference, entries, pushed.blob.digest if pushed else None)
    handed_out = _that_fit(named) if is_task else named
    return IndexReport(reference, tuple(entries), handed_out, pushed.at if pushed else None)


def _push(client: RepositoryClient, digest: Digest, served: Served, entries: Iterable[IndexEntry]) -> None:
    """Push the index by its digest. Raises NotFound with what is missing where the registry says that."""
    try:
        client.put_manifest(digest, served)
    except Vanished as error:
        digests = (entry.descriptor.digest for entry in entries)
        missing = [str(member) for member in digests if not _is_served(client, member)]
        if not missing:
            raise
        raise NotFound(
            f"{client.repository} lacks {', '.join(missing)}, and the registry refuses an index without it: "
            f"copy it there, or leave it out of the index ({error})"
        ) from None


def _is_served(client: RepositoryClient, digest: Digest) -> bool:
    try:
        client.manifest(digest)
    except NotFound:
        return False
    return True


def checked_tag(to: Reference, images: tuple[Reference, ...]) -> str:
    """The tag of the index. Raises UsageError where there is none, or for images that cannot be in it."""
    if to.tag is None or to.digest is not None:
        raise UsageError(f"--to {to}: name the index by a tag, without a digest")
    for image in images:
        if image.digest is None:
            raise UsageError(f"{image} has no digest: a tag can move between two reads")
        if image.repository != to.repository:
            raise UsageError(
                f"{image} is not in {to.repository}, where all manifests of the index have to be: "
                "copy it there first, or recompress it with --to"
            )
    return to.tag


def _found(
    client: RepositoryClient, sources: _Sources, instead: Mapping[Digest, Digest | None]
) -> Iterator[_Found]:
    for reference, source in sources:
        if isinstance(source, Manifest):
            yield _image(client, reference, source, None)
            continue
        written = json.loads(source.content).get("manifests") or []
        lost: dict[str, Digest] = {}
        for member, fields in zip(source.manifests, written, strict=True):
            digest = instead.get(member.digest, member.digest)
            if digest is None:
                continue
            found = _member(client, reference, replace(member, digest=digest))
            names = _lost(fields, _entry_document(found.entry.descriptor))
            lost = dict.fromkeys(names, member.digest) | lost
            yield found
        _warn(reference, (f"{name} (of {digest})" for name, digest in lost.items()))


def _member(client: RepositoryClient, reference: Reference, member: Descriptor) -> _Found:
    """What an entry of the index at `reference` is. What is no image stays as it is, but for its place."""
    at = reference.with_digest(member.digest)
    as_it_is = replace(member, annotations=_without_mark(member.annotations))
    if plan.is_attestation(member):
        return _Found(IndexEntry(as_it_is, EntryKind.ATTESTATION))
    if plan.is_artifact(member):
        return _Found(IndexEntry(as_it_is, EntryKind.ARTIFACT))
    try:
        manifest = plan.read(client, member.digest, at)
        if isinstance(manifest, Index):
            plan.check_no_artifact(manifest, at)
            raise Unsupported(f"{reference} contains an index, {member.digest}: name its manifests")
        return _image(client, at, manifest, member)
    except Artifact:
        return _Found(IndexEntry(as_it_is, EntryKind.ARTIFACT))


def _image(
    client: RepositoryClient, reference: Reference, manifest: Manifest, member: Descriptor | None
) -> _Found:
    """The entry of one image, `member` being what an index that it comes from says of it."""
    if manifest.media_type != MediaType.OCI_MANIFEST:
        raise Unsupported(
            f"{reference} is a Docker v2s2 manifest, and registries refuse those in an index with OCI "
            "manifests: use its OCI twin instead, which `recompress run --oci-twin` pushes"
        )
    image = plan.check_image(client, manifest, reference)
    listed = member.platform if member else None
    if listed and not _is_same_system(listed, image.platform):
        raise Unsupported(f"{reference} is listed for {listed}, but is for {image.platform}")
    annotations = _without_mark(member.annotations if member else {})
    if manifest.has_zstd:
        bootable.warn(image)
        annotations[INDEX_ZSTD_ANNOTATION] = "true"
    descriptor = Descriptor(
        manifest.media_type,
        manifest.digest,
        len(manifest.content),
        annotations,
        replace(image, listed=listed).platform,
        artifact_type=member.artifact_type if member else "",
    )
    kind = EntryKind.ZSTD if manifest.has_zstd else EntryKind.GZIP
    return _Found(IndexEntry(descriptor, kind), image.config.digest, listed)


def _lost(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What an entry said and no longer says. Of the annotations, only the mark is removed, or set again."""
    for name, value in before.items():
        if name == "platform":
            yield from _lost(value or {}, after.get(name, {}), f"{name}.")
        elif value and name != "annotations" and (name not in after or (path and after[name] != value)):
            yield f"{path}{name}"


def _warn(reference: Reference, lost: Iterable[str]) -> None:
    if names := ", ".join(sorted(lost)):
        log.warning("%s has fields that the new index does not have: %s", reference, printable(names))


def _with_all_platforms(found: Sequence[_Found]) -> Iterator[IndexEntry]:
    """Each entry for each of its platforms.

    A gzip image that an index lists has that platform. A twin has those of the gzip image with its config,
    and so has an image that was named by itself: it may be that only an index knows the variant.
    """
    for each in found:
        for platform in _platforms(each, found):
            yield replace(each.entry, descriptor=replace(each.entry.descriptor, platform=platform))


def _platforms(of: _Found, found: Iterable[_Found]) -> list[Platform | None]:
    own = of.entry.descriptor.platform
    if of.config is None or (of.listed and of.entry.kind is EntryKind.GZIP):
        return [own]
    listed = [each.entry for each in found if each.config == of.config and each.listed]
    gzip = [entry for entry in listed if entry.kind is EntryKind.GZIP]
    platforms = dict.fromkeys(entry.descriptor.platform for entry in gzip or listed)
    return [p for p in platforms if p and (of.listed is None or of.listed.completed(p) == p)] or [own]


def _without_mark(annotations: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in annotations.items() if name != INDEX_ZSTD_ANNOTATION}


def _is_same_system(one: Platform, other: Platform) -> bool:
    return (one.os, one.architecture) == (other.os, other.architecture)


def _without_duplicates(entries: Iterable[IndexEntry]) -> list[IndexEntry]:
    """Each image once for a platform, with the annotations of all its entries; what is no image as it is."""
    once: dict[IndexEntry | tuple[Digest, Platform | None], IndexEntry] = {}
    for entry in entries:
        key = (entry.descriptor.digest, _platform(entry)) if entry.is_image else entry
        first = once.setdefault(key, entry)
        annotations = {**entry.descriptor.annotations, **first.descriptor.annotations}
        once[key] = replace(first, descriptor=replace(first.descriptor, annotations=annotations))
        if lost := [n for n, value in entry.descriptor.annotations.items() if annotations[n] != value]:
            log.warning(
                "%s is listed twice with different annotations; the first ones are kept: %s",
                *(entry.descriptor.digest, printable(", ".join(sorted(lost)))),
            )
    by_kind: dict[tuple[EntryKind, Platform], IndexEntry] = {}
    for entry in once.values():
        platform = _platform(entry)
        if not entry.is_image or platform is None:
            continue
        other = by_kind.setdefault((entry.kind, platform), entry)
        if other is not entry:
            raise Unsupported(
                f"{other.descriptor.digest} and {entry.descriptor.digest} are two different "
                f"{entry.kind} images for {entry.descriptor.platform}: name one of them"
            )
    return list(once.values())


def _ordered(entries: list[IndexEntry]) -> list[IndexEntry]:
    """gzip, zstd, what is no image; within each, platforms in the order in which they were first named."""
    platforms = list(dict.fromkeys(map(_platform, entries)))
    has_gzip = {_platform(entry) for entry in entries if entry.kind is EntryKind.GZIP}
    for entry in entries:
        if entry.kind is EntryKind.ZSTD and _platform(entry) not in has_gzip:
            log.warning(
                "there is no gzip image for %s: Docker before 23 cannot pull it", entry.descriptor.platform
            )
    groups = {EntryKind.GZIP: 0, EntryKind.ZSTD: 1}
    return sorted(entries, key=lambda entry: (groups.get(entry.kind, 2), platforms.index(_platform(entry))))


def _platform(entry: IndexEntry) -> Platform | None:
    """What clients compare: linux/arm64 and linux/arm64/v8 are one platform to them."""
    platform = entry.descriptor.platform
    return platform and plan.normalized(platform)


def _kept_of_index(sources: _Sources) -> dict[str, Any]:
    """What the single index among the sources says of itself, as it says it.

    Of several, nothing is kept: they are not what the new one is.
    """
    indexes = {source.digest: (at, source) for at, source in sources if isinstance(source, Index)}
    kept: dict[str, Any] = {}
    for reference, source in indexes.values():
        fields = {n: v for n, v in json.loads(source.content).items() if v and n not in _MADE_ANEW}
        if len(indexes) == 1:
            kept = {name: fields[name] for name in _KEPT_OF_INDEX if name in fields}
        _warn(reference, fields.keys() - kept.keys())
    return kept


def _document(kept: Mapping[str, Any], entries: Iterable[IndexEntry]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_INDEX,
        "manifests": [_entry_document(entry.descriptor) for entry in entries],
        **kept,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _entry_document(descriptor: Descriptor) -> dict[str, Any]:
    document: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    others = {
        "artifactType": descriptor.artifact_type,
        "annotations": dict(sorted(descriptor.annotations.items())),
        "urls": list(descriptor.urls),
        "data": descriptor.data,
    }
    document |= {name: value for name, value in others.items() if value}
    if (platform := descriptor.platform) is not None:
        fields = {
            "architecture": platform.architecture,
            "os": platform.os,
            "os.version": platform.os_version,
            "os.features": list(platform.os_features),
            "variant": platform.variant,
        }
        document["platform"] = {name: value for name, value in fields.items() if value}
    return document


def _results(index: Reference, entries: Iterable[IndexEntry], sbom: Digest | None) -> dict[str, str]:
    # A manifest may be listed for several platforms.
    digests = dict.fromkeys(entry.descriptor.digest for entry in entries if entry.is_image)
    named = {
        "IMAGE_URL": f"{index.repository}:{index.tag}",
        "IMAGE_DIGEST": str(index.digest),
        "IMAGE_REF": f"{index.repository}@{index.digest}",
        "IMAGES": ",".join(f"{index.repository}@{digest}" for digest in digests),
    }
    return named | {"SBOM_BLOB_URL": f"{index.repository}@{sbom}"} if sbom else named


def _that_fit(named: Mapping[str, str]) -> Mapping[str, str]:
    """The results but for IMAGES, which grows with the index, where a Task cannot hand out all of them."""
    if results.fit(named):
        return named
    log.warning(
        "the result IMAGES is left out: with its %s images the results would not fit into a Task's "
        "termination message. Tekton Chains signs the index here, and each image only in the TaskRun that "
        "pushed it",
        named["IMAGES"].count("@"),
    )
    return {name: value for name, value in named.items() if name != "IMAGES"}
