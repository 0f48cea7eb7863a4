"""An image index that serves old and new clients: gzip entries first, annotated zstd ones behind.

Docker before 23 takes the first entry of its platform and cannot read zstd; podman, CRI-O and
buildah take the entry with the annotation, wherever it stands (docs/design.md, "Who picks what").
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from recompress import plan
from recompress.errors import NotFound, Unsupported, UsageError, Vanished, VerificationFailed
from recompress.manifest import (
    INDEX_ZSTD_ANNOTATION,
    Descriptor,
    Index,
    Manifest,
    MediaType,
    Platform,
)
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, Served
from recompress.report import IndexEntry, IndexReport

log = logging.getLogger(__name__)

_MOST_RESULT_BYTES = 4096 - 256
"""The termination message of a Task has 4,096 bytes, and Tekton's own entries take some of them."""


def assemble(
    client: RepositoryClient, to: Reference, images: tuple[Reference, ...], *, is_task: bool
) -> IndexReport:
    """Push an index of `images` (manifests, or indexes that are flattened) and tag it as `to`.

    The same images in the same order give the same digest. Raises UsageError for images without
    a digest or of another repository, and where the results would not fit into those of a Task
    that they are for; Unsupported for images that cannot be in one index. Then nothing is pushed.
    """
    tag = _checked_tag(to, images)
    entries = _ordered(_without_duplicates(_entries(client, images)))
    content = _document(entries)
    digest = Digest.of(content)
    results = _results(to, digest, entries)
    if is_task:
        _check_size(results)
    served = Served(content, MediaType.OCI_INDEX)
    _push(client, digest, served, entries)
    if client.manifest(digest).content != content:
        raise VerificationFailed(f"the registry does not give back the index {digest} as it was pushed")
    client.tag(tag, served)
    return IndexReport(to.with_digest(digest), tuple(entries), results)


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
            f"{client.repository} lacks {', '.join(missing)}, and the registry takes no index without: "
            f"copy it there, or leave it out ({error})"
        ) from None


def _is_served(client: RepositoryClient, digest: Digest) -> bool:
    try:
        client.manifest(digest)
    except NotFound:
        return False
    return True


def _check_size(results: Mapping[str, str]) -> None:
    # How Tekton's entrypoint writes them (pkg/result, RunResult), in the order of its fields.
    message = [{"key": name, "value": value, "type": 1} for name, value in results.items()]
    size = len(json.dumps(message, separators=(",", ":")))
    if size > _MOST_RESULT_BYTES:
        raise UsageError(
            f"the results would be {size} bytes, and {_MOST_RESULT_BYTES} fit into a Task's termination "
            "message: make an index of fewer platforms, or use a shorter repository name"
        )


def _checked_tag(to: Reference, images: tuple[Reference, ...]) -> str:
    if to.tag is None or to.digest is not None:
        raise UsageError(f"--to {to}: name a tag, and no digest, for the index")
    for image in images:
        if image.digest is None:
            raise UsageError(f"{image} has no digest: a tag can move between two reads")
        if image.repository != to.repository:
            raise UsageError(
                f"{image} is not in {to.repository}, and an index has all its manifests beside it: "
                "copy it there first, or recompress it with --to"
            )
    return to.tag


def _entries(client: RepositoryClient, images: Iterable[Reference]) -> Iterator[IndexEntry]:
    for reference in images:
        found = plan.read(client, reference.selector, reference)
        if isinstance(found, Manifest):
            yield _entry(client, reference, found, None)
            continue
        for member in found.manifests:
            at = reference.with_digest(member.digest)
            if plan.is_attestation(member):
                yield IndexEntry(replace(member, annotations=_without_mark(member.annotations)), None)
                continue
            manifest = plan.read(client, member.digest, at)
            if isinstance(manifest, Index):
                raise Unsupported(f"{reference} has an index in it, {member.digest}: name its manifests")
            yield _entry(client, at, manifest, member)


def _entry(
    client: RepositoryClient, reference: Reference, manifest: Manifest, member: Descriptor | None
) -> IndexEntry:
    """The entry of one image, `member` being what an index that it comes from says of it."""
    if manifest.media_type != MediaType.OCI_MANIFEST:
        raise Unsupported(
            f"{reference} is a Docker v2s2 manifest, and registries refuse those in an index with OCI "
            "manifests: use its OCI twin instead, which `recompress run --oci-twin` pushes"
        )
    platform = plan.check_image(client, manifest, reference).platform
    if member and member.platform and not _is_same_system(member.platform, platform):
        raise Unsupported(f"{reference} is listed for {member.platform}, but is for {platform}")
    annotations = _without_mark(member.annotations if member else {})
    if manifest.has_zstd:
        annotations[INDEX_ZSTD_ANNOTATION] = "true"
    descriptor = Descriptor(
        manifest.media_type, manifest.digest, len(manifest.content), annotations, platform
    )
    return IndexEntry(descriptor, manifest.has_zstd)


def _without_mark(annotations: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in annotations.items() if name != INDEX_ZSTD_ANNOTATION}


def _is_same_system(one: Platform, other: Platform) -> bool:
    return (one.os, one.architecture) == (other.os, other.architecture)


def _without_duplicates(entries: Iterable[IndexEntry]) -> list[IndexEntry]:
    """Each manifest once, with the annotations of all its entries."""
    by_digest: dict[Digest, IndexEntry] = {}
    for entry in entries:
        digest = entry.descriptor.digest
        first = by_digest.setdefault(digest, entry)
        annotations = {**entry.descriptor.annotations, **first.descriptor.annotations}
        by_digest[digest] = replace(first, descriptor=replace(first.descriptor, annotations=annotations))
    by_kind: dict[tuple[bool, Platform], IndexEntry] = {}
    for entry in by_digest.values():
        platform = _platform(entry)
        if entry.is_zstd is None or platform is None:
            continue
        other = by_kind.setdefault((entry.is_zstd, platform), entry)
        if other is not entry:
            raise Unsupported(
                f"{other.descriptor.digest} and {entry.descriptor.digest} are two different "
                f"{entry.kind} images for {entry.descriptor.platform}: name one of them"
            )
    return list(by_digest.values())


def _ordered(entries: list[IndexEntry]) -> list[IndexEntry]:
    """gzip, zstd, attestations; within each, platforms in the order in which they were first named."""
    platforms = list(dict.fromkeys(map(_platform, entries)))
    has_gzip = {_platform(entry) for entry in entries if entry.is_zstd is False}
    for entry in entries:
        if entry.is_zstd and _platform(entry) not in has_gzip:
            log.warning(
                "there is no gzip image for %s: Docker before 23 cannot pull it", entry.descriptor.platform
            )
    kinds = (False, True, None)
    return sorted(entries, key=lambda entry: (kinds.index(entry.is_zstd), platforms.index(_platform(entry))))


def _platform(entry: IndexEntry) -> Platform | None:
    """What clients compare: linux/arm64 and linux/arm64/v8 are one platform to them."""
    platform = entry.descriptor.platform
    return platform and plan.normalized(platform)


def _document(entries: Iterable[IndexEntry]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_INDEX,
        "manifests": [_entry_document(entry.descriptor) for entry in entries],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _entry_document(descriptor: Descriptor) -> dict[str, Any]:
    document: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.annotations:
        document["annotations"] = dict(sorted(descriptor.annotations.items()))
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


def _results(to: Reference, digest: Digest, entries: Iterable[IndexEntry]) -> dict[str, str]:
    images = [replace(to, tag=None, digest=entry.descriptor.digest) for entry in entries if entry.is_image]
    return {
        "IMAGE_URL": str(to),
        "IMAGE_DIGEST": str(digest),
        "IMAGES": ",".join(map(str, images)),
    }
