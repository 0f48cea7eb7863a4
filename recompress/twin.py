"""The twin's manifest: what skopeo pushed, read back, with the source's config in it."""

from __future__ import annotations

import json

from recompress.errors import Unsupported, VerificationFailed
from recompress.manifest import Config, Index, Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest
from recompress.registry import RepositoryClient, Served


def default_tag(source: Manifest) -> str:
    """The tag under which anyone finds the twin from the digest of its source."""
    return f"sha256-{source.digest.hex}.zstd-chunked"


def read_back(client: RepositoryClient, digest: Digest) -> Manifest:
    """The image manifest that was pushed; VerificationFailed where it is none."""
    served = client.manifest(digest)
    try:
        manifest = parse_manifest(served.content, served.content_type)
    except Unsupported as error:
        raise VerificationFailed(f"{client.repository}@{digest}, which was just pushed: {error}") from None
    if isinstance(manifest, Index):
        raise VerificationFailed(f"{client.repository}@{digest}, which was just pushed, is an index")
    return manifest


def with_config(client: RepositoryClient, pushed: Manifest, config: Config) -> Manifest:
    """The pushed manifest if it has this config, else one that has, pushed by its digest.

    For a Docker v2s2 source skopeo writes a config of its own, without Healthcheck, OnBuild and
    Shell, so that the image ID changes. OCI does not forbid these fields: the original bytes are
    as good a config of an OCI manifest.
    """
    if pushed.config.digest == config.digest:
        return pushed
    try:
        rewritten = parse_config(client.config(pushed.config))
    except Unsupported as error:
        raise VerificationFailed(f"{client.repository}@{pushed.digest}, just pushed: {error}") from None
    if rewritten.diff_ids != config.diff_ids:
        # Seen here, because it is not to be seen any more once the config is put right.
        raise VerificationFailed(
            f"skopeo pushed {client.repository}@{pushed.digest} with other diff_ids than those of its source"
        )
    client.put_config(config.content)
    document = json.loads(pushed.content)
    document["config"] = {
        "mediaType": MediaType.OCI_CONFIG,
        "digest": str(config.digest),
        "size": len(config.content),
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    digest = Digest.of(content)
    client.put_manifest(digest, Served(content, MediaType.OCI_MANIFEST))
    return read_back(client, digest)
