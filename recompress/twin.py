"""The twin's manifest: made from the source's and the layers' blobs alone, whoever made those, and when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recompress.errors import Unsupported, VerificationFailed, about
from recompress.image import Image
from recompress.layer import Verdict
from recompress.manifest import (
    CHUNKED_PREFIX,
    ESTARGZ_TOC,
    OCI_EQUIVALENTS,
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

_TAG = re.compile(r"sha256-([0-9a-f]{64})\.(?:zstd-chunked|oci)")
_NO_SUCH_DOCUMENT = (Unsupported, VerificationFailed)
_OF_COMPRESSED_BYTES = (
    CHUNKED_PREFIX,
    "io.containers.zstd-chunked.",
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
    "com.amazon.soci.",
)
"""How annotations begin that speak of the compressed bytes of a layer, and hold for no other bytes."""


def default_tag(source: Manifest) -> str:
    """The tag under which anyone finds the twin from the digest of its source."""
    return f"sha256-{source.digest.hex}.zstd-chunked"


def oci_tag(source: Manifest) -> str:
    """The tag of the OCI twin of a Docker v2s2 manifest."""
    return f"sha256-{source.digest.hex}.oci"


def source_of(tag: str) -> Digest | None:
    """The source that is named in a tag of one of these two forms; None for any other tag."""
    named = _TAG.fullmatch(tag)
    return Digest(named[1]) if named else None


def may_name(tag: str, manifest: Manifest) -> bool:
    """Whether a manifest is of the kind that `run` puts a tag of one of these two forms on as a twin.

    A source that is zstd:chunked already is no twin: it has the digest in its tag, and was copied.
    """
    if manifest.media_type != MediaType.OCI_MANIFEST or manifest.config.media_type != MediaType.OCI_CONFIG:
        return False
    is_packed = not manifest.has_zstd if tag.endswith(".oci") else manifest.is_zstd
    return is_packed and manifest.digest != source_of(tag)


def push_oci(client: RepositoryClient, source: Manifest) -> Digest:
    """Push a Docker v2s2 manifest as an OCI one: the same layers, config and annotations.

    Returns its digest; that of the source where that is an OCI manifest already.
    """
    content = as_oci(source)
    if content == source.content:
        return source.digest
    pushed = _push(client, content)
    client.tag(oci_tag(source), Served(pushed.content, pushed.media_type))
    return pushed.digest


def as_oci(source: Manifest) -> bytes:
    """A Docker v2s2 manifest as an OCI one; an OCI manifest as it is."""
    if source.media_type == MediaType.OCI_MANIFEST:
        return source.content
    layers = [_document(layer, _oci_type(layer), layer.annotations) for layer in source.layers]
    return _manifest(_document(source.config, _oci_type(source.config)), layers, source.annotations)


def read_back(client: RepositoryClient, digest: Digest) -> Manifest:
    """The image manifest that was pushed; VerificationFailed where it is not an image manifest."""
    served = client.manifest(digest)
    with about(f"{client.repository}@{digest}, which was just pushed", _NO_SUCH_DOCUMENT, VerificationFailed):
        manifest = parse_manifest(served.content, served.content_type)
    if isinstance(manifest, Index):
        raise VerificationFailed(f"{client.repository}@{digest}, which was just pushed, is an index")
    return manifest


def check_diff_ids(client: RepositoryClient, pushed: Manifest, config: Config) -> None:
    """Raise VerificationFailed where skopeo pushed a config with other diff_ids than those of `config`.

    For a Docker v2s2 source it writes a config of its own, which the twin does not take.
    """
    if pushed.config.digest == config.digest:
        return
    with about(f"{client.repository}@{pushed.digest}, just pushed", _NO_SUCH_DOCUMENT, VerificationFailed):
        rewritten = parse_config(client.config(pushed.config))
    if rewritten.diff_ids != config.diff_ids:
        raise VerificationFailed(
            f"skopeo pushed {client.repository}@{pushed.digest} with other diff_ids than its source has"
        )


def why_full(verdicts: Iterable[Verdict]) -> tuple[str | None, ...]:
    """Why clients have to pull each layer of an image in full, lowest first; None where they need not."""
    reasons: list[str | None] = []
    root_changed = False
    for verdict in verdicts:
        handed_on = "a layer below sets the mode of the root directory" if root_changed else None
        reasons.append(verdict.why_full or handed_on)
        root_changed = root_changed or verdict.changes_root
    return tuple(reasons)


def push(
    client: RepositoryClient, source: Image, blobs: Sequence[Descriptor], verdicts: Sequence[Verdict]
) -> Image:
    """Push the manifest of the twin whose layers are `blobs`, by its digest, without a tag.

    A layer has the zstd-chunked annotations where its verdict is that clients may pull it partially. The
    config is the source's, byte for byte: OCI does not forbid the fields that only Docker knows. Annotations
    are the source's, but for those that speak of the compressed bytes. A subject is not carried over: it
    would make the twin a referrer of what the source refers to.
    """
    reasons = why_full(verdicts)
    layers = [
        _document(after, MediaType.OCI_LAYER_ZSTD, _annotations(before, after, verdict, reason))
        for before, after, verdict, reason in zip(
            source.manifest.layers, blobs, verdicts, reasons, strict=True
        )
    ]
    client.put_blob(source.config.content)
    config = Descriptor(MediaType.OCI_CONFIG, source.config.digest, len(source.config.content))
    content = _manifest(
        _document(config, config.media_type), layers, kept_annotations(source.manifest.annotations)
    )
    pushed = _push(client, content)
    return Image(Reference(client.repository, None, pushed.digest), pushed, source.config, source.listed)


def kept_annotations(of_source: Mapping[str, str]) -> dict[str, str]:
    """Those annotations of a source's manifest, or of a layer, that hold for other compressed bytes, too."""
    return {n: value for n, value in of_source.items() if not n.startswith(_OF_COMPRESSED_BYTES)}


def _annotations(
    before: Descriptor, after: Descriptor, verdict: Verdict, reason: str | None
) -> dict[str, str]:
    if before.digest == after.digest:
        # They speak of these very bytes, but nobody pulls a zstd layer by a table of eStargz.
        own = {n: v for n, v in before.annotations.items() if not n.startswith(CHUNKED_PREFIX)}
        own.pop(ESTARGZ_TOC, None)
    else:
        own = kept_annotations(before.annotations)
    if reason is None and verdict.layout:
        own.update(verdict.layout.annotations)
    return own


def _push(client: RepositoryClient, content: bytes) -> Manifest:
    digest = Digest.of(content)
    client.put_manifest(digest, Served(content, MediaType.OCI_MANIFEST))
    return read_back(client, digest)


def _manifest(
    config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], of_manifest: Mapping[str, str]
) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": config,
        "layers": layers,
    }
    if of_manifest:
        document["annotations"] = dict(sorted(of_manifest.items()))
    return json.dumps(document, separators=(",", ":")).encode()


def _document(
    blob: Descriptor, media_type: str, of_blob: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    document: dict[str, Any] = {"mediaType": media_type, "digest": str(blob.digest), "size": blob.size}
    if of_blob:
        document["annotations"] = dict(sorted(of_blob.items()))
    return document


def _oci_type(blob: Descriptor) -> str:
    return OCI_EQUIVALENTS.get(blob.media_type, blob.media_type)
