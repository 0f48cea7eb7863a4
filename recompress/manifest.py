"""Manifests, indexes and configs, read from bytes that are not trusted.

The words and rules are those of the OCI image specification 1.1 (manifest.md, image-index.md,
config.md) and of Docker's image manifest v2 schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from recompress.errors import Unsupported
from recompress.reference import Digest

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Registries refuse larger manifests (distribution: 4 MiB), so nothing larger is read."""

MAX_CONFIG_BYTES = 32 * 1024 * 1024
"""A config holds the history of an image and its labels; nobody has a larger one."""

_MAX_BLOB_BYTES = 2**63 - 1

CHUNKED_PREFIX = "io.github.containers.zstd-chunked."
TOC_CHECKSUM = CHUNKED_PREFIX + "manifest-checksum"
TOC_POSITION = CHUNKED_PREFIX + "manifest-position"
TARSPLIT_POSITION = CHUNKED_PREFIX + "tarsplit-position"
CHUNKED_ANNOTATIONS = (TOC_CHECKSUM, TOC_POSITION, TARSPLIT_POSITION)
ESTARGZ_TOC = "containerd.io/snapshot/stargz/toc.digest"
"""On a layer without those above, clients look for a table of eStargz in it (toc.GetTOCDigest)."""

INDEX_ZSTD_ANNOTATION = "io.github.containers.compression.zstd"


class MediaType(StrEnum):
    """The media types this project knows by name."""

    OCI_INDEX = "application/vnd.oci.image.index.v1+json"
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
    DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
    DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"


INDEX_TYPES = frozenset({MediaType.OCI_INDEX, MediaType.DOCKER_INDEX})
MANIFEST_TYPES = frozenset({MediaType.OCI_MANIFEST, MediaType.DOCKER_MANIFEST})
SCHEMA1_TYPES = frozenset({MediaType.DOCKER_SCHEMA1, MediaType.DOCKER_SCHEMA1_SIGNED})


class Compression(StrEnum):
    """How a layer is packed, in the words of containers/image."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"
    ZSTD_CHUNKED = "zstd:chunked"


_LAYER_COMPRESSION: Mapping[str, Compression] = {
    MediaType.OCI_LAYER: Compression.UNCOMPRESSED,
    MediaType.OCI_LAYER_GZIP: Compression.GZIP,
    MediaType.OCI_LAYER_ZSTD: Compression.ZSTD,
    MediaType.DOCKER_LAYER: Compression.UNCOMPRESSED,
    MediaType.DOCKER_LAYER_GZIP: Compression.GZIP,
    MediaType.DOCKER_LAYER_ZSTD: Compression.ZSTD,
}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, as a config or an index entry names it."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/arch[/variant]`; ValueError for anything else."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(part.strip() == part and part for part in parts):
            raise ValueError(f"{text!r} is not a platform of the form os/arch or os/arch/variant")
        return cls(parts[0], parts[1], parts[2] if len(parts) == 3 else None)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob or of another manifest. `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None

    @property
    def compression(self) -> Compression | None:
        """How the layer is packed; None where the media type is no layer known here.

        zstd:chunked is zstd with all the annotations that a client needs to pull a part of it
        (containers/storage, docs/containers-storage-zstd-chunked.md).
        """
        compression = _LAYER_COMPRESSION.get(self.media_type)
        if compression is Compression.ZSTD and all(a in self.annotations for a in CHUNKED_ANNOTATIONS):
            return Compression.ZSTD_CHUNKED
        return compression

    @property
    def chunked(self) -> Mapping[str, str]:
        """The annotations that make the layer zstd:chunked, as far as it has them."""
        return {name: self.annotations[name] for name in CHUNKED_ANNOTATIONS if name in self.annotations}


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest with the exact bytes it was read from."""

    content: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return Digest.of(self.content)

    @property
    def is_zstd(self) -> bool:
        """Whether it is an OCI manifest all of whose layers are zstd, so that it may be a twin itself."""
        return self.media_type == MediaType.OCI_MANIFEST and all(
            layer.media_type == MediaType.OCI_LAYER_ZSTD for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class Index:
    """An image index (or Docker manifest list) with the exact bytes it was read from."""

    content: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return Digest.of(self.content)


@dataclass(frozen=True, slots=True)
class Config:
    """An image config with the exact bytes it was read from; its digest is the image ID."""

    content: bytes
    platform: Platform
    diff_ids: tuple[Digest, ...]
    docker_only_fields: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the bytes: the image ID."""
        return Digest.of(self.content)


def parse_manifest(content: bytes, content_type: str) -> Manifest | Index:
    """Read a manifest or an index.

    `content_type` is what the registry served it as; the manifest's own `mediaType`, where there
    is one, has to agree. Raises Unsupported for anything that is no image manifest or index:
    schema 1, artifacts, and bytes that are not such a document at all.
    """
    document = _json_object(content, "manifest")
    media_type = _media_type(document, content_type.partition(";")[0].strip())
    if media_type in INDEX_TYPES:
        return Index(
            content,
            media_type,
            tuple(_descriptor(entry) for entry in _array(document, "manifests")),
            _annotations(document),
        )
    if media_type in SCHEMA1_TYPES or document.get("schemaVersion") == 1:
        raise Unsupported(
            "it is a schema 1 manifest, which cannot carry zstd layers: rebuild or convert the image"
        )
    if media_type not in MANIFEST_TYPES:
        raise Unsupported(f"its media type {media_type!r:.200} is neither an image manifest nor an index")
    artifact_type = document.get("artifactType")
    if artifact_type:
        raise Unsupported(f"it is an artifact of type {artifact_type!r:.200}, not an image")
    return Manifest(
        content,
        media_type,
        _descriptor(document.get("config")),
        tuple(_descriptor(layer) for layer in _array(document, "layers")),
        _annotations(document),
    )


def parse_config(content: bytes) -> Config:
    """Read an image config. Raises Unsupported where it is none."""
    document = _json_object(content, "config")
    operating_system, architecture = document.get("os"), document.get("architecture")
    variant = document.get("variant") or None
    rootfs = document.get("rootfs")
    if not (
        isinstance(operating_system, str)
        and isinstance(architecture, str)
        and isinstance(variant, str | None)
        and isinstance(rootfs, dict)
    ):
        raise Unsupported("its config is not an image config (os, architecture or rootfs is missing)")
    try:
        diff_ids = tuple(Digest.parse(diff_id) for diff_id in _array(rootfs, "diff_ids"))
    except ValueError as error:
        raise Unsupported(f"its config has a bad diff_id: {error}") from None
    os_version = document.get("os.version")
    os_features = document.get("os.features")
    platform = Platform(
        operating_system,
        architecture,
        variant,
        os_version if isinstance(os_version, str) and os_version else None,
        tuple(f for f in os_features if isinstance(f, str)) if isinstance(os_features, list) else (),
    )
    return Config(content, platform, diff_ids, _docker_only_fields(document.get("config")))


def _docker_only_fields(settings: object) -> tuple[str, ...]:
    # The fields of Docker's config that the OCI specification has no word for. skopeo drops them
    # when it converts, and podman ignores Healthcheck in any manifest of an OCI type.
    if not isinstance(settings, dict):
        return ()
    return tuple(name for name in ("Healthcheck", "OnBuild", "Shell") if settings.get(name))


def _json_object(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise Unsupported(f"its {what} is not JSON") from None
    if not isinstance(document, dict):
        raise Unsupported(f"its {what} is not a JSON object")
    return document


def _media_type(document: dict[str, Any], content_type: str) -> str:
    own = document.get("mediaType")
    if own is None:
        # OCI 1.0 manifests need not say; then the registry's word is all there is.
        return content_type
    if not isinstance(own, str) or (content_type.startswith("application/vnd.") and own != content_type):
        raise Unsupported(
            f"its mediaType {own!r:.200} is not the media type {content_type!r:.200} it is served as"
        )
    return own


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise Unsupported("its manifest has a descriptor that is not an object")
    media_type, size = value.get("mediaType"), value.get("size")
    if not isinstance(media_type, str):
        raise Unsupported("its manifest has a descriptor without a media type")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_BLOB_BYTES:
        raise Unsupported(f"its manifest has a descriptor with the size {size!r:.100}")
    try:
        digest = Digest.parse(value.get("digest"))
    except ValueError as error:
        raise Unsupported(f"its manifest has a descriptor with a bad digest: {error}") from None
    return Descriptor(media_type, digest, size, _annotations(value), _platform(value.get("platform")))


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    os_name, architecture = value.get("os"), value.get("architecture")
    if not isinstance(os_name, str) or not isinstance(architecture, str):
        return None
    variant, version, features = (value.get(k) for k in ("variant", "os.version", "os.features"))
    return Platform(
        os_name,
        architecture,
        variant if isinstance(variant, str) and variant else None,
        version if isinstance(version, str) and version else None,
        tuple(f for f in features if isinstance(f, str)) if isinstance(features, list) else (),
    )


def _array(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unsupported(f"its {name} is not an array")
    return value


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise Unsupported("its annotations are not an object of strings")
    return value
