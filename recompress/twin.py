"""The twin's manifest: what skopeo pushed, read back, with the source's config in it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from recompress.errors import Unsupported, VerificationFailed, about
from recompress.image import Image
from recompress.manifest import (
    Config,
    Descriptor,
    Index,
    Manifest,
    MediaType,
    parse_config,
    parse_manifest,
)
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, Served

_OCI_TYPES: Mapping[str, str] = {
    MediaType.DOCKER_CONFIG: MediaType.OCI_CONFIG,
    MediaType.DOCKER_LAYER: MediaType.OCI_LAYER,
    MediaType.DOCKER_LAYER_GZIP: MediaType.OCI_LAYER_GZIP,
    MediaType.DOCKER_LAYER_ZSTD: MediaType.OCI_LAYER_ZSTD,
}


def default_tag(source: Manifest) -> str:
    """The tag under which anyone finds the twin from the digest of its source."""
    return f"sha256-{source.digest.hex}.zstd-chunked"


def oci_tag(source: Manifest) -> str:
    """The tag of the OCI twin of a Docker v2s2 manifest."""
    return f"sha256-{source.digest.hex}.oci"


def push_oci(client: RepositoryClient, source: Manifest) -> Digest:
    """Push a Docker v2s2 manifest as an OCI one: the same layers and config, nothing recompressed.

    Returns its digest; that of the source where that is an OCI manifest already.
    """
    if source.media_type == MediaType.OCI_MANIFEST:
        return source.digest
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": _as_oci(source.config),
        "layers": [_as_oci(layer) for layer in source.layers],
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    served, digest = Served(content, MediaType.OCI_MANIFEST), Digest.of(content)
    client.put_manifest(digest, served)
    read_back(client, digest)
    client.tag(oci_tag(source), served)
    return digest


def read_back(client: RepositoryClient, digest: Digest) -> Manifest:
    """The image manifest that was pushed; VerificationFailed where it is none."""
    served = client.manifest(digest)
    with about(f"{client.repository}@{digest}, which was just pushed", Unsupported, VerificationFailed):
        manifest = parse_manifest(served.content, served.content_type)
    if isinstance(manifest, Index):
        raise VerificationFailed(f"{client.repository}@{digest}, which was just pushed, is an index")
    return manifest


def with_config(client: RepositoryClient, pushed: Manifest, config: Config) -> Image:
    """The image of the pushed manifest if it has this config, else of one that has, pushed by its digest.

    For a Docker v2s2 source skopeo writes a config of its own, without Healthcheck, OnBuild and
    Shell, so that the image ID changes. OCI does not forbid these fields: the original bytes are
    as good a config of an OCI manifest.
    """
    if pushed.config.digest != config.digest:
        with about(f"{client.repository}@{pushed.digest}, just pushed", Unsupported, VerificationFailed):
            rewritten = parse_config(client.config(pushed.config))
        if rewritten.diff_ids != config.diff_ids:
            # Seen here, because it is not to be seen any more once the config is put right.
            raise VerificationFailed(
                f"skopeo pushed {client.repository}@{pushed.digest} with other diff_ids than its source has"
            )
        client.put_config(config.content)
        document = json.loads(pushed.content)
        document["config"] = _as_oci(Descriptor(MediaType.OCI_CONFIG, config.digest, len(config.content)))
        content = json.dumps(document, separators=(",", ":")).encode()
        digest = Digest.of(content)
        client.put_manifest(digest, Served(content, MediaType.OCI_MANIFEST))
        pushed = read_back(client, digest)
    return Image(Reference(client.repository, None, pushed.digest), pushed, config)


def _as_oci(blob: Descriptor) -> dict[str, str | int]:
    media_type = _OCI_TYPES.get(blob.media_type, blob.media_type)
    return {"mediaType": media_type, "digest": str(blob.digest), "size": blob.size}
