"""The SBOM of a twin, derived from that of its source; and the one of an index. Bytes in, bytes out.

The twin has the config of the source, so it has the same files, and what the build knew of them holds. Only
what the document is about changes. Nothing is scanned, executed or fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from recompress.errors import Unsupported
from recompress.reference import Digest, Reference
from recompress.report import IndexEntry
from recompress.sbom_document import cyclonedx, spdx, values
from recompress.sbom_document.image import Pair, Subject
from recompress.sbom_document.index import document_of_index

MAX_SBOM_BYTES = 64 * 2**20
"""The largest SBOM that is read."""

_SAY_WHAT = ("spdxVersion", "bomFormat", "specVersion", "_type", "@context")
"""Where documents say what they are; in-toto statements by `_type`, SPDX 3 by `@context`."""


class SbomFormat(StrEnum):
    """The formats, by the media type that cosign gives to the layer with the document."""

    SPDX = "text/spdx+json"
    CYCLONEDX = "application/vnd.cyclonedx+json"

    @property
    def artifact_type(self) -> str:
        """The artifact type of a referrer with such a document: its registered media type."""
        return "application/spdx+json" if self is SbomFormat.SPDX else str(self)


@dataclass(frozen=True, slots=True)
class Derived:
    """The twin's SBOM; `packages` is how many packages or components it lists beside the image itself."""

    content: bytes
    format: SbomFormat
    packages: int
    warnings: tuple[str, ...]


def derive(content: bytes, source: Reference, twin: Reference, now: datetime) -> Derived:
    """Make the SBOM of the twin out of that of the source; both references have a digest.

    What is not about the image itself stays as it is, also what is not known here. The same content makes the
    same SBOM, but for the times. Raises Unsupported, with a sentence about "its SBOM", for what is not an
    SBOM in SPDX 2.2 or 2.3 or CycloneDX 1.4 to 1.6, or not one of the source.
    """
    document = _parse(content)
    pair = Pair(Subject.of(source), Subject.of(twin), now)
    found = _format(document)
    warnings: tuple[str, ...] = ()
    if found is SbomFormat.SPDX:
        packages = spdx.derive(document, Digest.of(content), pair)
    else:
        packages, was_signed = cyclonedx.derive(document, Digest.of(content), pair)
        if was_signed:
            warnings = ("the signature in the source's SBOM is not valid for the twin's, and is left out",)
    return Derived(values.write(document), found, packages, warnings)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two SBOMs say the same, but for the time and the version of this tool when they were made."""
    if one == other:
        return True
    try:
        return _timeless(one) == _timeless(other)
    except Unsupported:
        return False


def of_index(index: Reference, entries: Sequence[IndexEntry], now: datetime) -> bytes:
    """The SPDX 2.3 document of an image index, which has a digest: a package for it and for each image in it.

    The package of an image has its platform and SHA256 checksum, and is VARIANT_OF that of the index. The
    name of one with zstd layers ends with `_zstd`, and its comment has the annotation of its entry.
    """
    return values.write(document_of_index(index, entries, now))


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_SBOM_BYTES:
        raise Unsupported(f"its SBOM has {len(content)} bytes, more than {MAX_SBOM_BYTES}")
    return values.parse(content)


def _format(document: dict[str, Any]) -> SbomFormat:
    is_spdx = document.get("spdxVersion") in spdx.VERSIONS
    is_cyclonedx = (
        document.get("bomFormat") == "CycloneDX" and document.get("specVersion") in cyclonedx.VERSIONS
    )
    if is_spdx == is_cyclonedx:
        says = " ".join(str(document[key]) for key in _SAY_WHAT if isinstance(document.get(key), str))
        raise Unsupported(
            f"its SBOM is {f'of the kind {says!r:.200}' if says else 'of no known kind'}: "
            "only SPDX 2.2 and 2.3 and CycloneDX 1.4 to 1.6 can be derived"
        )
    return SbomFormat.SPDX if is_spdx else SbomFormat.CYCLONEDX


def _timeless(content: bytes) -> Digest:
    document = _parse(content)
    for key, time in (("creationInfo", "created"), ("metadata", "timestamp")):
        if isinstance(part := document.get(key), dict):
            part.pop(time, None)
    spdx.drop_creator(document)
    cyclonedx.drop_tool(document)
    return Digest.of(values.write(document))
