"""Which SBOM is the source's: the one at its tag, or the newest of those that refer to it.

What is found is what the registry says now, and whoever may push there may have put it there. So it can be
pinned by its digest, which a build task hands out in its signed results.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from recompress import attached, gojson, plan, structs
from recompress.attached import ARTIFACT_TYPES, Attached
from recompress.errors import NOTHING_THERE, Refused, Unsupported, VerificationFailed
from recompress.image import Image
from recompress.manifest import Descriptor, Index
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, Served, referrers

log = logging.getLogger(__name__)

_MOST_CANDIDATES = 16
"""Each is read before the newest is known, and no build attaches so many."""

_PREDICATES = ("https://spdx.dev/Document", "https://cyclonedx.org/bom")
_PREDICATE_ANNOTATIONS = ("predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType")
"""Where cosign, BuildKit and cosign's bundles say what is attested."""

_BUILDKIT_REFERENCE = "vnd.docker.reference.digest"
_UNREADABLE = (Unsupported, VerificationFailed)


@dataclass(frozen=True, slots=True)
class Found:
    """An SBOM of the source that was found, but not read yet, and the manifest that it hangs on."""

    at: Reference
    attached: Attached
    is_pinned: bool

    @property
    def blob(self) -> Reference:
        """The document itself."""
        return Reference(self.at.repository, None, self.attached.blob.digest)

    @property
    def is_referrer(self) -> bool:
        """Whether it was found as a referrer, and not by its tag."""
        return self.at.tag is None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is no SBOM to derive one from, though there is one."""

    why: str


def find(
    client: RepositoryClient, source: Image, named: Reference, pins: Collection[Digest]
) -> Found | Unusable | None:
    """Find the SBOM of `source`, an image in the repository of `client`; None where it has none.

    `named` is what the run was given: that image, or an index that has it. With `pins` only an SBOM with one
    of these digests is taken. Raises Unavailable as the registry answers, and Refused where it refuses more
    than a tag: some do so where there is none.
    """
    try:
        return _find(client, source, named, pins)
    except _UNREADABLE as error:
        return Unusable(str(error))


def _find(
    client: RepositoryClient, source: Image, named: Reference, pins: Collection[Digest]
) -> Found | Unusable | None:
    reasons: list[str] = []
    if found := list(_usable(_at_tag(client, source, reasons), source, pins, reasons)):
        return found[0]
    referring = referrers.find(client, source.digest, _is_wanted)
    if found := list(_usable(_read(client, referring), source, pins, reasons)):
        return _newest(found)
    if reasons:
        return Unusable(reasons[0])
    if _is_attested(client, source, named, referring):
        return Unusable(
            f"the SBOM of {source.reference} is in an attestation: only its signer can make one for the twin"
        )
    return None


def _at_tag(client: RepositoryClient, source: Image, reasons: list[str]) -> list[tuple[Reference, Served]]:
    """The manifest at the tag, where there is one; `reasons` gets that the registry refuses it."""
    tag = attached.tag_of(source.digest)
    at = Reference(client.repository, tag)
    try:
        served = client.find_manifest(tag)
    except Refused as error:
        # The image itself was read with these credentials.
        reasons.append(f"whether there is an SBOM at {at} is not known: {error}")
        return []
    return [(at, served)] if served else []


def _is_wanted(referrer: Descriptor) -> bool:
    return referrer.artifact_type in ARTIFACT_TYPES or _is_predicate(referrer.annotations)


def _read(client: RepositoryClient, referring: Iterable[Descriptor]) -> Iterator[tuple[Reference, Served]]:
    """The manifests of the SBOMs among the referrers."""
    digests = dict.fromkeys(r.digest for r in referring if r.artifact_type in ARTIFACT_TYPES)
    if len(digests) > _MOST_CANDIDATES:
        raise Unsupported(
            f"{len(digests)} SBOMs refer to the image, more than the limit of {_MOST_CANDIDATES}"
        )
    for digest in digests:
        served = client.find_manifest(digest)
        if served:
            yield Reference(client.repository, None, digest), served


def _usable(
    candidates: Iterable[tuple[Reference, Served]],
    source: Image,
    pins: Collection[Digest],
    reasons: list[str],
) -> Iterator[Found]:
    """The candidates that are an SBOM of the source and may be taken; `reasons` gets why others may not."""
    for at, served in candidates:
        try:
            sbom = attached.read(served)
        except _UNREADABLE as error:
            reasons.append(f"the SBOM {at} cannot be used: {error}")
            continue
        is_referrer = at.tag is None
        if sbom.subject != source.digest and (sbom.subject or is_referrer):
            reasons.append(f"the SBOM {at} is of another image: its subject is {sbom.subject}")
        elif pins and sbom.blob.digest not in pins:
            reasons.append(f"the SBOM {at} ({sbom.blob.digest}) is not one of those that --sbom-from names")
        else:
            yield Found(at, sbom, bool(pins))


def _newest(found: list[Found]) -> Found | Unusable:
    """The newest by what their manifests say; several manifests of one document are one."""
    by_time = sorted(
        found, key=lambda each: each.attached.created.timestamp() if each.attached.created else 0.0
    )
    newest = by_time[-1]
    for other in by_time[:-1]:
        dates = newest.attached.created, other.attached.created
        is_told_apart = None not in dates and dates[0] != dates[1]
        if other.attached.blob.digest != newest.attached.blob.digest and not is_told_apart:
            return Unusable(
                f"the image has two SBOMs, {other.at} and {newest.at}, and neither is the newer "
                f"one by its {attached.CREATED}: name the right one with --sbom-from"
            )
    return newest


def _is_attested(
    client: RepositoryClient, source: Image, named: Reference, referring: Iterable[Descriptor]
) -> bool:
    """Whether there is an attestation with an SBOM: cosign's, at its tag or a referrer, or BuildKit's."""
    if any(_is_predicate(referrer.annotations) for referrer in referring):
        return True
    buildkit = _buildkit_attestations(client, source, named)
    selectors: list[str | Digest] = [f"sha256-{source.digest.hex}.att", *buildkit]
    return any(_holds_predicate(client, selector) for selector in selectors)


def _buildkit_attestations(client: RepositoryClient, source: Image, named: Reference) -> list[Digest]:
    if named.digest in (None, source.digest):
        return []
    try:
        index = plan.read(client, named.selector, named)
    except NOTHING_THERE as error:
        log.debug("whether %s lists attestations is not known: %s", named, error)
        return []
    entries = index.manifests if isinstance(index, Index) else ()
    own = (e.digest for e in entries if e.annotations.get(_BUILDKIT_REFERENCE) == str(source.digest))
    return list(dict.fromkeys(own))[:_MOST_CANDIDATES]


def _holds_predicate(client: RepositoryClient, selector: str | Digest) -> bool:
    try:
        served = client.find_manifest(selector)
        if served is None:
            return False
        document = gojson.parse(served.content, structs.MANIFEST_OR_INDEX, "manifest")
    except NOTHING_THERE as error:
        log.debug("whether %s is an attestation is not known: %s", selector, error)
        return False
    return any(_is_predicate(layer.get("annotations", {})) for layer in document.get("layers", []))


def _is_predicate(annotations: Mapping[str, str]) -> bool:
    return any(annotations.get(name, "").startswith(_PREDICATES) for name in _PREDICATE_ANNOTATIONS)
