"""Manifests, indexes and configs, read from bytes that are not trusted.

The words and rules are those of the OCI image specification 1.1 (manifest.md, image-index.md,
config.md) and of Docker's image manifest v2 schema 2, and they are read as Go clients read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from recompress import gojson, structs
from recompress.errors import Artifact, Unsupported, VerificationFailed, about
from recompress.reference import Digest

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Registries refuse larger manifests (distribution: 4 MiB), so nothing larger is read."""

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""podman and skopeo read no larger config (containers/image, internal/iolimits)."""

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

_SCHEMA1_FIELDS = ("fsLayers", "history")


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

OCI_EQUIVALENTS: Mapping[str, MediaType] = {
    MediaType.DOCKER_CONFIG: MediaType.OCI_CONFIG,
    MediaType.DOCKER_LAYER: MediaType.OCI_LAYER,
    MediaType.DOCKER_LAYER_GZIP: MediaType.OCI_LAYER_GZIP,
    MediaType.DOCKER_LAYER_ZSTD: MediaType.OCI_LAYER_ZSTD,
}
"""Docker's media types within a manifest, and what OCI calls the same."""


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

    def completed(self, other: Platform) -> Platform:
        """This platform, with what only `other` says of the same system: variant, version and features."""
        if (other.os, other.architecture) != (self.os, self.architecture):
            return self
        return replace(
            self,
            variant=self.variant or other.variant,
            os_version=self.os_version or other.os_version,
            os_features=self.os_features or other.os_features,
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob or of another manifest.

    `size` is in bytes. `urls` and `data` (Base64) are other ways to the content than by its digest.
    `artifact_type` is that of an artifact, where it is said (OCI descriptor.md).
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    data: str = ""
    artifact_type: str = ""

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
    def has_zstd(self) -> bool:
        """Whether any layer is zstd, so that old clients cannot pull the image."""
        return any(layer.compression in (Compression.ZSTD, Compression.ZSTD_CHUNKED) for layer in self.layers)

    @property
    def is_zstd(self) -> bool:
        """Whether it is an OCI manifest all of whose layers are zstd, so that it may be a twin itself."""
        return self.media_type == MediaType.OCI_MANIFEST and all(
            layer.media_type == MediaType.OCI_LAYER_ZSTD for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class Index:
    """An image index (or Docker manifest list) with the exact bytes it was read from.

    `artifact_type` is that of an artifact which is an index (OCI image-index.md), where it is said.
    """

    content: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    artifact_type: str = ""

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
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> Digest:
        """The digest of the bytes: the image ID."""
        return Digest.of(self.content)


def parse_manifest(content: bytes, content_type: str) -> Manifest | Index:
    """Read a manifest or an index.

    `content_type` is what the registry served it as; the manifest's own `mediaType`, where there
    is one, has to agree. Raises Unsupported for anything that is no image manifest or index:
    schema 1, and bytes that are not such a document at all; Artifact for a manifest that says that it is
    one. Raises VerificationFailed for a document that clients read differently.
    """
    document = gojson.parse(content, structs.MANIFEST_OR_INDEX, "manifest")
    media_type = _media_type(document, content_type.partition(";")[0].strip())
    if media_type in SCHEMA1_TYPES or document.get("schemaVersion") == 1:
        raise Unsupported(
            "it is a schema 1 manifest, which cannot carry zstd layers: rebuild or convert the image"
        )
    if media_type not in INDEX_TYPES | MANIFEST_TYPES:
        raise Unsupported(f"its media type {media_type!r:.200} is neither an image manifest nor an index")
    is_index = media_type in INDEX_TYPES
    others = ("config", "layers", *_SCHEMA1_FIELDS) if is_index else ("manifests", *_SCHEMA1_FIELDS)
    if found := [name for name in others if name in document]:
        # podman and skopeo refuse it too (containers/image, ValidateUnambiguousManifestFormat).
        raise VerificationFailed(
            f"it is {'an index' if is_index else 'an image manifest'} with {', '.join(found)}: "
            "clients can take it for something else"
        )
    annotations = document.get("annotations", {})
    if is_index:
        entries = tuple(map(_descriptor, document.get("manifests", [])))
        return Index(content, media_type, entries, annotations, document.get("artifactType", ""))
    if artifact_type := document.get("artifactType"):
        raise Artifact(f"it is an artifact of type {artifact_type!r:.200}, not an image")
    return Manifest(
        content,
        media_type,
        _descriptor(document.get("config", {})),
        tuple(map(_descriptor, document.get("layers", []))),
        annotations,
    )


def parse_config(content: bytes) -> Config:
    """Read an image config.

    Raises Unsupported where it is not an image config or clients cannot read it, VerificationFailed where
    they read it differently.
    """
    document = gojson.parse(content, structs.CONFIG, "config")
    if not document.keys() >= {"os", "architecture", "rootfs"}:
        raise Unsupported("its config is not an image config (os, architecture or rootfs is missing)")
    with about("its config has a bad diff_id", ValueError, Unsupported):
        diff_ids = tuple(map(Digest.parse, document["rootfs"].get("diff_ids", [])))
    settings = document.get("config", {})
    # The fields of Docker's config that the OCI specification has no word for. skopeo drops them
    # when it converts, and podman ignores Healthcheck in any manifest of an OCI type.
    docker_only = tuple(name for name in ("Healthcheck", "OnBuild", "Shell") if settings.get(name))
    return Config(content, _platform(document), diff_ids, docker_only, settings.get("Labels", {}))


def normalised(manifest: Manifest) -> bytes | None:
    """An OCI manifest that has layers of Docker's media types, with OCI's instead; None for any other.

    Clients pull the image as it is, but skopeo recompresses only layers of the manifest's own kind. All else
    stays, except that the result is no referrer: it has no `subject`.
    """
    if manifest.media_type != MediaType.OCI_MANIFEST or not any(
        layer.media_type in OCI_EQUIVALENTS for layer in manifest.layers
    ):
        return None
    document = json.loads(manifest.content)
    for layer in document["layers"]:
        layer["mediaType"] = OCI_EQUIVALENTS.get(layer["mediaType"], layer["mediaType"])
    document.pop("subject", None)
    return json.dumps(document, separators=(",", ":")).encode()


def _media_type(document: Mapping[str, Any], content_type: str) -> str:
    own: str = document.get("mediaType", "")
    if not own and content_type != MediaType.DOCKER_MANIFEST:
        # OCI 1.0 manifests need not say; then the registry's word is all there is. Docker v2s2 manifests
        # have to: clients refuse those that do not.
        return content_type
    if content_type.startswith("application/vnd.") and own != content_type:
        raise Unsupported(
            f"its mediaType {own!r:.200} is not the media type {content_type!r:.200} it is served as"
        )
    return own


def _descriptor(fields: Mapping[str, Any]) -> Descriptor:
    if "mediaType" not in fields:
        raise Unsupported("its manifest has a descriptor without a media type")
    size = fields.get("size")
    if size is None or size < 0:
        raise Unsupported(f"its manifest has a descriptor with the size {size}")
    with about("its manifest has a descriptor with a bad digest", ValueError, Unsupported):
        digest = Digest.parse(fields.get("digest"))
    platform = fields.get("platform", {})
    return Descriptor(
        fields["mediaType"],
        digest,
        size,
        fields.get("annotations", {}),
        _platform(platform) if platform.keys() >= {"os", "architecture"} else None,
        tuple(fields.get("urls", [])),
        fields.get("data", ""),
        fields.get("artifactType", ""),
    )


def _platform(fields: Mapping[str, Any]) -> Platform:
    return Platform(
        fields["os"],
        fields["architecture"],
        fields.get("variant") or None,
        fields.get("os.version") or None,
        tuple(fields.get("os.features", [])),
    )
