"""What is at the reference: one image, an index to choose from, nothing to do, or no image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from recompress.errors import Artifact, RecompressError, Unsupported, UsageError, about
from recompress.image import Image
from recompress.manifest import (
    INDEX_TYPES,
    INDEX_ZSTD_ANNOTATION,
    MANIFEST_TYPES,
    OCI_EQUIVALENTS,
    SCHEMA1_TYPES,
    Descriptor,
    Index,
    Manifest,
    MediaType,
    Platform,
    parse_config,
    parse_manifest,
)
from recompress.printable import counted
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient

_CONFIG_TYPES = frozenset({MediaType.OCI_CONFIG, MediaType.DOCKER_CONFIG})
_DOCKER_CONFIG_IN_OCI = (MediaType.OCI_MANIFEST, MediaType.DOCKER_CONFIG)

# containerd's platforms.Normalize: the variant that an architecture has when none is written.
_DEFAULT_VARIANT = {"arm": "v7", "arm64": "v8", "amd64": "v1"}

_MOST_CANDIDATES = 16
"""Only reading them all shows which one is meant, and nobody builds so many for one platform."""


def resolve(
    client: RepositoryClient, reference: Reference, platform: Platform | None, *, is_twin: bool = False
) -> Image:
    """Read the image that `reference` names, by its digest.

    An index is looked through for `platform`; a single manifest has to be for it where it is
    given. In an index that mixes both, the gzip image is taken, with `is_twin` the zstd one.
    Raises UsageError without a digest, Unsupported for what has no twin and for an index in which
    more than one image is meant, VerificationFailed for what clients read differently.
    """
    if reference.digest is None:
        raise UsageError(
            f"{reference} has no digest: a tag can move between two reads, so name the image "
            f"as {reference.repository}@sha256:…"
        )
    found = read(client, reference.digest, reference)
    if isinstance(found, Index):
        return _from_index(client, found, reference, platform, is_twin)
    image = check_image(client, found, reference)
    if platform and not is_for(image.platform, platform):
        raise Unsupported(f"{reference} is an image for {image.platform}, not for {platform}")
    return image


def read(client: RepositoryClient, selector: str | Digest, reference: Reference) -> Manifest | Index:
    """Read and parse a manifest; an error names the reference."""
    served = client.manifest(selector)
    with about(str(reference), RecompressError):
        return parse_manifest(served.content, served.content_type)


def candidates(index: Index, platform: Platform) -> tuple[Descriptor, ...]:
    """The entries of an index for a platform, those that say they are zstd last.

    The variant rules are those of the OCI image index: where a variant is asked for, an entry has
    to have it (or have none where that means the same); where none is asked for, an entry without
    one or with the architecture's usual one is taken, or whichever there is if there is only one.
    Attestations and artifacts are never candidates, whatever platform they are listed for.
    """
    same = [
        entry
        for entry in index.manifests
        if is_image(entry)
        and entry.platform
        and _os_and_architecture(entry.platform) == _os_and_architecture(platform)
    ]
    matching = [entry for entry in same if entry.platform and _matches(entry.platform, platform)]
    if not matching and platform.variant is None and len({e.platform for e in same}) == 1:
        matching = same
    return tuple(sorted(matching, key=lambda e: INDEX_ZSTD_ANNOTATION in e.annotations))


def platforms(index: Index) -> tuple[Platform, ...]:
    """The platforms an index has images for, in its order, each once."""
    found = (e.platform for e in index.manifests if e.platform and is_image(e))
    return tuple(dict.fromkeys(replace(p, os_version=None, os_features=()) for p in found))


def normalized(platform: Platform) -> Platform:
    """The platform with the variant that its architecture has when none is written."""
    return replace(platform, variant=_variant(platform))


def is_image(entry: Descriptor) -> bool:
    """Whether an index entry is for an image, as far as it says itself."""
    return not (is_attestation(entry) or is_artifact(entry))


def is_artifact(entry: Descriptor) -> bool:
    """Whether an index entry says that it is for an artifact, such as an SBOM or the SOCI index of an image.

    It does so by its artifactType (OCI descriptor.md). For an image, registries write the type of its config
    there (distribution specification 1.1, listing referrers).
    """
    return not _is_manifest(entry) or bool(entry.artifact_type and entry.artifact_type not in _CONFIG_TYPES)


def is_for_nobody(entry: Descriptor) -> bool:
    """Whether no client chooses an index entry: it is no manifest, or for the platform unknown/unknown."""
    return not _is_manifest(entry) or _is_for_unknown(entry)


def is_attestation(entry: Descriptor) -> bool:
    """Whether an index entry is BuildKit's attestation of another entry, not an image."""
    return "vnd.docker.reference.type" in entry.annotations or _is_for_unknown(entry)


def _is_manifest(entry: Descriptor) -> bool:
    return entry.media_type in INDEX_TYPES | MANIFEST_TYPES | SCHEMA1_TYPES


def _is_for_unknown(entry: Descriptor) -> bool:
    platform = entry.platform
    return platform is not None and _os_and_architecture(platform) == ("unknown", "unknown")


def _from_index(
    client: RepositoryClient, index: Index, reference: Reference, platform: Platform | None, is_twin: bool
) -> Image:
    has = ", ".join(map(str, platforms(index))) or "none"
    if platform is None:
        raise Unsupported(f"{reference} is an index: choose an image with --platform; it has {has}")
    entries = candidates(index, platform)
    if not entries:
        raise Unsupported(f"{reference} has no image for {platform}; it has {has}")
    digests = dict.fromkeys(entry.digest for entry in entries)
    if len(digests) > _MOST_CANDIDATES:
        raise Unsupported(f"{reference} has {len(digests)} images for {platform}: name the manifest")
    read_entries = (_entry_image(client, digest, entries, reference, platform) for digest in digests)
    images = [image for image in read_entries if image]
    if not images:
        raise Unsupported(f"{reference} has no image for {platform}, only artifacts; it has {has}")
    # Whatever the order and the annotations: the content decides which one is meant.
    zstd = [image for image in images if image.manifest.has_zstd]
    gzip = [image for image in images if not image.manifest.has_zstd]
    if is_twin and not zstd:
        return images[0]
    meant = zstd if is_twin or not gzip else gzip
    if len(meant) > 1:
        # Clients take one of them by rules of their own.
        raise Unsupported(
            f"{reference} has two {'zstd' if meant is zstd else 'gzip'} images for {platform} "
            f"({meant[0].digest}, {meant[1].digest}): name the manifest"
        )
    return meant[0]


def _entry_image(
    client: RepositoryClient,
    digest: Digest,
    entries: Iterable[Descriptor],
    reference: Reference,
    platform: Platform,
) -> Image | None:
    """The image at a digest, with all that `entries` say of its platform; None where it is an artifact."""
    member = reference.with_digest(digest)
    try:
        manifest = read(client, digest, member)
        if isinstance(manifest, Index):
            check_no_artifact(manifest, member)
            raise Unsupported(f"{reference}: its entry for {platform} is an index itself")
        image = check_image(client, manifest, member)
    except Artifact:
        # Not all artifacts say in the index what they are.
        return None
    if _os_and_architecture(image.platform) != _os_and_architecture(platform):
        raise Unsupported(f"{member} is listed for {platform}, but is for {image.platform}")
    listed = (entry.platform for entry in entries if entry.digest == digest and entry.platform)
    return replace(image, listed=reduce(Platform.completed, listed))


def check_image(client: RepositoryClient, manifest: Manifest, reference: Reference) -> Image:
    """The image of a manifest, with its config.

    Raises Unsupported for what is not an image (Artifact where its config says so), VerificationFailed where
    clients read the config differently.
    """
    check_no_artifact(manifest, reference)
    with about(str(reference), Unsupported):
        content = client.config(manifest.config)
    with about(str(reference), RecompressError):
        config = parse_config(content)
    if len(config.diff_ids) != len(manifest.layers):
        raise Unsupported(
            f"{reference} has {counted(len(manifest.layers), 'layer')}, "
            f"but its config lists {len(config.diff_ids)}"
        )
    return Image(reference, manifest, config)


def check_no_artifact(found: Manifest | Index, reference: Reference) -> None:
    """Raise Artifact where the config is of another type than an image's, or an index says that it is one."""
    kind = found.artifact_type if isinstance(found, Index) else found.config.media_type
    if kind and kind not in _CONFIG_TYPES:
        raise Artifact(f"{reference} is an artifact ({kind!r:.200}), not an image")


def check_possible(image: Image) -> None:
    """Raise Unsupported for an image that can have no twin, for what its manifest says.

    Where OCI and Docker media types are mixed, what counts is what podman and skopeo make of it. They take a
    Docker manifest with an OCI config, and an OCI manifest with Docker layers (see manifest.normalised).
    """
    manifest = image.manifest
    with about(str(image.reference), Unsupported):
        if (manifest.media_type, manifest.config.media_type) == _DOCKER_CONFIG_IN_OCI:
            raise Unsupported(
                "it is an OCI manifest with a Docker config, which podman cannot pull: "
                f"build it with a config of type {MediaType.OCI_CONFIG}, or as a Docker v2s2 manifest"
            )
        for layer in manifest.layers:
            _check_layer(manifest, layer)


def _check_layer(manifest: Manifest, layer: Descriptor) -> None:
    if layer.compression is None:
        raise Unsupported(
            f"the layer {layer.digest} is of type {layer.media_type!r:.200}, "
            "which cannot be recompressed (encrypted, foreign and unknown layers cannot)"
        )
    if layer.urls or layer.data:
        raise Unsupported(
            f"the layer {layer.digest} has {'urls' if layer.urls else 'data'} in its descriptor, so that "
            "clients can get it from elsewhere: build the image without that"
        )
    if manifest.media_type != MediaType.DOCKER_MANIFEST:
        return
    if layer.media_type not in OCI_EQUIVALENTS:
        raise Unsupported(
            f"it is a Docker v2s2 manifest with an OCI layer ({layer.digest}), which podman cannot pull: "
            "build it as an OCI image, or on a base image of its own format (`crane rebase` mixes them)"
        )
    if layer.media_type == MediaType.DOCKER_LAYER_ZSTD:
        raise Unsupported(
            f"it is a Docker v2s2 manifest with a zstd layer ({layer.digest}), which that format does not "
            "have: build it as an OCI image"
        )


def _os_and_architecture(platform: Platform) -> tuple[str, str]:
    return platform.os, platform.architecture


def _variant(platform: Platform) -> str | None:
    return platform.variant or _DEFAULT_VARIANT.get(platform.architecture)


def is_for(has: Platform, guard: Platform) -> bool:
    """Whether an image for the platform `has` is one for `guard`, which need not name the variant."""
    # Nobody had to choose between variants here, so one that is not asked for may be any.
    return _matches(has, guard if guard.variant else replace(guard, variant=has.variant))


def _matches(has: Platform, wanted: Platform) -> bool:
    return _os_and_architecture(has) == _os_and_architecture(wanted) and _variant(has) == _variant(wanted)
