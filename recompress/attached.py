"""An SBOM as it is attached to an image: a manifest with one layer, which is the document itself.

`cosign attach sbom` puts a tag on it that is made of the image's digest, and says in the layer's media type
what it is. `oras attach` makes it a referrer instead, and says so in `artifactType` (OCI image specification
1.1, "Guidelines for Artifact Usage").
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recompress import gojson, structs
from recompress.errors import NotFound, RecompressError, Refused, Unsupported, VerificationFailed, about
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, Served, referrers
from recompress.sbom_document import MAX_SBOM_BYTES, SbomFormat, is_same

log = logging.getLogger(__name__)

CREATED = "org.opencontainers.image.created"
ARTIFACT_TYPES: Mapping[str, SbomFormat] = {kind.artifact_type: kind for kind in SbomFormat}

_LAYER_TYPES: Mapping[str, SbomFormat] = {kind.value: kind for kind in SbomFormat}
_TAG = re.compile(r"sha256-[0-9a-f]{64}\.sbom")
_UNREADABLE = (Unsupported, VerificationFailed)
_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Attached:
    """The manifest of an SBOM: its layer, and where it says so, of which image it is and when it was made."""

    digest: Digest
    blob: Descriptor
    format: SbomFormat
    subject: Digest | None
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where an SBOM is attached, its blob, and whether it was not there before."""

    at: Reference
    blob: Reference
    is_new: bool


def tag_of(image: Digest) -> str:
    """The tag that `cosign attach sbom` puts on the SBOM of an image."""
    return f"sha256-{image.hex}.sbom"


def is_tag(tag: str) -> bool:
    """Whether a tag is of this form."""
    return _TAG.fullmatch(tag) is not None


def is_sbom(served: Served) -> bool:
    """Whether a manifest is that of an SBOM, as far as it says itself."""
    try:
        read(served)
    except _UNREADABLE:
        return False
    return True


def read(served: Served) -> Attached:
    """Read the manifest of an SBOM.

    Raises Unsupported for what is not such a manifest, and for an SBOM that is too large to be read;
    VerificationFailed for a document that clients read differently.
    """
    document = gojson.parse(served.content, structs.MANIFEST_OR_INDEX, "manifest")
    media_type = document.get("mediaType", "") or served.content_type.partition(";")[0].strip()
    layers = document.get("layers", [])
    if media_type != MediaType.OCI_MANIFEST or "manifests" in document or len(layers) != 1:
        raise Unsupported("it is not an OCI manifest with exactly one layer, as an attached SBOM has to be")
    blob = layers[0]
    with about("its manifest has a bad digest", ValueError, Unsupported):
        digest = Digest.parse(blob.get("digest"))
        subject = Digest.parse(document["subject"].get("digest")) if "subject" in document else None
    size = blob.get("size", -1)
    if not 0 <= size <= MAX_SBOM_BYTES:
        raise Unsupported(f"it has {size} bytes, but the limit for SBOMs is {MAX_SBOM_BYTES} bytes")
    return Attached(
        Digest.of(served.content),
        Descriptor(blob.get("mediaType", ""), digest, size),
        _format(document, blob.get("mediaType", "")),
        subject,
        _time(document.get("annotations", {}).get(CREATED, "")),
    )


def push(
    client: RepositoryClient,
    image: Digest,
    content: bytes,
    kind: SbomFormat,
    now: datetime,
    *,
    is_referrer: bool,
) -> Pushed:
    """Attach an SBOM to an image in the repository of `client`: at its tag, and as a referrer where asked.

    One manifest is both. What is there already and says the same, the time and the tool's version aside,
    stays: so a run that is repeated leaves one.
    """
    there = _there(client, image, kind)
    is_new = there is None or not is_same(there.content, content)
    if there and not is_new:
        content = there.content
    served = there.served if there and not is_new and (there.is_referrer or not is_referrer) else None
    if served is None:
        subject = _subject(client, image) if is_referrer else None
        client.put_blob(content)
        client.put_blob(config(content))
        served = Served(manifest(content, kind, subject, now), MediaType.OCI_MANIFEST)
        client.tag(tag_of(image), served)
    if is_referrer:
        _refer(client, image, served)
    blob = Reference(client.repository, None, Digest.of(content))
    return Pushed(Reference(client.repository, tag_of(image)), blob, is_new)


@dataclass(frozen=True, slots=True)
class _There:
    """What is at the tag of an SBOM already."""

    served: Served
    content: bytes
    is_referrer: bool


def _there(client: RepositoryClient, image: Digest, kind: SbomFormat) -> _There | None:
    """The SBOM at the tag; None where it cannot be what was attached before."""
    try:
        served = client.find_manifest(tag_of(image))
        if served is None:
            return None
        found = read(served)
        if found.format is not kind or found.subject not in (None, image):
            return None
        return _There(served, client.whole_blob(found.blob), found.subject is not None)
    except (*_UNREADABLE, NotFound, Refused) as error:
        # Some registries refuse a tag that is not there.
        log.debug("%s:%s is pushed again: %s", client.repository, tag_of(image), error)
        return None


def _refer(client: RepositoryClient, image: Digest, served: Served) -> None:
    try:
        referrers.add(client, image, _listed(served))
    except RecompressError as error:
        # It is at its tag, and so is the image: that a list cannot be completed fails nothing.
        log.warning("the SBOM %s:%s is not listed as a referrer: %s", client.repository, tag_of(image), error)


def _subject(client: RepositoryClient, image: Digest) -> Descriptor:
    served = client.manifest(image)
    return Descriptor(served.content_type.partition(";")[0].strip(), image, len(served.content))


def _listed(served: Served) -> Descriptor:
    """How a referrer stands in the list of its image's referrers: with its type and its annotations."""
    document = json.loads(served.content)
    return Descriptor(
        MediaType.OCI_MANIFEST,
        Digest.of(served.content),
        len(served.content),
        document.get("annotations") or {},
        artifact_type=document.get("artifactType") or document["config"]["mediaType"],
    )


def config(content: bytes) -> bytes:
    """The config that cosign gives a file: that of an image without a platform, whose layer is the file."""
    document = {
        "architecture": "",
        "created": _NEVER,
        "history": [{"created": _NEVER}],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(content))]},
        "config": {},
    }
    return _json(document)


def manifest(content: bytes, kind: SbomFormat, subject: Descriptor | None, created: datetime) -> bytes:
    """The manifest for an SBOM, as cosign makes it; a referrer of `subject` as well, where there is one.

    Then `created` stands in it, by which the newest of several is found.
    """
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": _descriptor(MediaType.OCI_CONFIG, config(content)),
        "layers": [_descriptor(kind.value, content)],
    }
    if subject:
        document["artifactType"] = kind.artifact_type
        document["subject"] = {
            "mediaType": subject.media_type,
            "digest": str(subject.digest),
            "size": subject.size,
        }
        document["annotations"] = {CREATED: created.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return _json(document)


def _format(document: Mapping[str, Any], layer_type: str) -> SbomFormat:
    kind = document.get("artifactType", "") or document.get("config", {}).get("mediaType", "")
    said = {found for found in (ARTIFACT_TYPES.get(kind), _LAYER_TYPES.get(layer_type)) if found}
    if len(said) != 1:
        raise Unsupported(
            f"it is of type {layer_type!r:.200}, not clearly JSON of SPDX ({SbomFormat.SPDX}) or of "
            f"CycloneDX ({SbomFormat.CYCLONEDX})"
        )
    return said.pop()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(content), "digest": str(Digest.of(content))}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
