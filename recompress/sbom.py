"""The SBOM of a twin: derived from that of its source, and attached as that is.

The source's is found before any work, and read when all else is done, for it may need much memory.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from recompress import attached, sbom_search
from recompress.attached import Pushed
from recompress.errors import NotFound, Unsupported, VerificationFailed, about
from recompress.image import Image
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient
from recompress.results import Results
from recompress.sbom_document import Derived, derive
from recompress.sbom_report import SbomAction, SbomReport
from recompress.sbom_search import Found, Unusable

log = logging.getLogger(__name__)


class Policy(StrEnum):
    """Whether an image has to have an SBOM, may have one, or no SBOM is looked for."""

    AUTO = "auto"
    REQUIRE = "require"
    NONE = "none"


def find(
    policy: Policy, client: RepositoryClient, source: Image, named: Reference, pins: Collection[Digest]
) -> Found | None:
    """Find the source's SBOM, before any work (see sbom_search.find).

    One that cannot be used is a warning. REQUIRE raises Unsupported for that, and where the source has no
    SBOM; the SBOM is read to know.
    """
    if policy is Policy.NONE:
        return None
    found = sbom_search.find(client, source, named, pins)
    if policy is Policy.REQUIRE:
        if not isinstance(found, Found):
            why = found.why if found else f"{source.reference} has no SBOM"
            raise Unsupported(f"{why}; --sbom require needs one that can be used")
        _check(client, found, source)
    if isinstance(found, Unusable):
        log.warning("no SBOM is derived: %s", found.why)
        return None
    return found


def attach(
    found: Found,
    policy: Policy,
    source_client: RepositoryClient,
    client: RepositoryClient,
    source: Image,
    named: Results,
) -> SbomReport | None:
    """Attach the SBOM of the image that the results name, which is in the repository of `client`.

    Where that is the source, its SBOM is its own, and is copied where the source was. The OCI twin gets one,
    too. Returns None, with a warning, where the source's cannot be used after all; REQUIRE raises that.
    """
    image, oci_image = named.image.digest, named.oci_image and named.oci_image.digest
    try:
        step = _Step(found, _content(source_client, found), source, datetime.now(UTC))
        derived = step.derived(Reference(client.repository, None, image))
    except Unsupported as error:
        if policy is Policy.REQUIRE:
            raise
        log.warning("no SBOM is derived: %s", error)
        return None
    for warning in derived.warnings:
        log.warning("the SBOM of %s@%s: %s", client.repository, image, warning)
    pushed = step.push(client, image, derived)
    oci_blob = None
    if oci_image and oci_image not in (image, source.digest):
        derived_of_oci = step.derived(Reference(client.repository, digest=oci_image))
        oci_blob = step.push(client, oci_image, derived_of_oci).blob
    return SbomReport(
        found=found.at,
        source_blob=found.blob,
        format=str(derived.format),
        packages=derived.packages,
        is_pinned=found.is_pinned,
        action=step.action(image, pushed),
        attached=pushed.at,
        blob=pushed.blob,
        oci_blob=oci_blob,
    )


def _check(client: RepositoryClient, found: Found, source: Image) -> None:
    """Raise what stands in the way of deriving an SBOM, for a twin that is not known yet."""
    content = _content(client, found)
    step = _Step(found, content, source, datetime.now(UTC))
    step.derived(Reference(client.repository, None, Digest.of(content)))


def _content(client: RepositoryClient, found: Found) -> bytes:
    """The document. Raises Unsupported where it is gone, or is not that of its digest."""
    with about(f"the SBOM {found.at} cannot be used", (VerificationFailed, NotFound), Unsupported):
        return client.whole_blob(found.attached.blob)


@dataclass(frozen=True, slots=True)
class _Step:
    """The SBOM of the source, and what is made of it."""

    found: Found
    content: bytes
    source: Image
    now: datetime

    def derived(self, image: Reference) -> Derived:
        """The SBOM for an image; that of the source as it is. Raises Unsupported where it cannot be used."""
        with about(str(self.source.reference), Unsupported):
            is_own = image.digest == self.source.digest
            # That it is one that can be used, and how many packages it has, is known by deriving one.
            twin = image.with_digest(Digest.of(self.content)) if is_own else image
            source = replace(self.source.reference, tag=None)
            derived = derive(self.content, source, twin, self.now)
            if derived.format is not self.found.attached.format:
                said = self.found.attached.format
                raise Unsupported(
                    f"its SBOM {self.found.at} is {derived.format}, but its media type says {said}"
                )
            return replace(derived, content=self.content, warnings=()) if is_own else derived

    def push(self, client: RepositoryClient, image: Digest, derived: Derived) -> Pushed:
        """Attach the SBOM of an image to it, where it is not that already."""
        if image == self.source.digest and client.repository == self.found.at.repository:
            return Pushed(self.found.at, self.found.blob, is_new=False)
        is_referrer = self.found.is_referrer
        return attached.push(
            client, image, derived.content, derived.format, self.now, is_referrer=is_referrer
        )

    def action(self, image: Digest, pushed: Pushed) -> SbomAction:
        """How the SBOM of an image came to be."""
        if image == self.source.digest:
            return SbomAction.OWN
        return SbomAction.DERIVED if pushed.is_new else SbomAction.THERE
