"""The SPDX document of an image index: which images are in it.

The shape is that of Konflux's mobster, which looks there for a package with the SHA256 of each image.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recompress.manifest import INDEX_ZSTD_ANNOTATION, Platform
from recompress.reference import Reference
from recompress.report import EntryKind, IndexEntry
from recompress.sbom_document import purl
from recompress.sbom_document.image import Subject, identifier, timestamp
from recompress.sbom_document.spdx import DOCUMENT, checksum, creator, namespace, purl_reference, relationship

_INDEX = "SPDXRef-image-index"


def document_of_index(index: Reference, entries: Sequence[IndexEntry], now: datetime) -> dict[str, Any]:
    """An SPDX 2.3 document with a package for the index, and one for each image among its entries."""
    described = Subject.of(index)
    images = [_image(entry, number, index) for number, entry in enumerate(entries, 1) if entry.is_image]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": str(described),
        "documentNamespace": namespace(identifier(described.digest)),
        "creationInfo": {"created": timestamp(now), "creators": [creator()]},
        "packages": [_package(_INDEX, described, index.tag), *images],
        "relationships": [
            relationship(DOCUMENT, "DESCRIBES", _INDEX),
            *(relationship(image["SPDXID"], "VARIANT_OF", _INDEX) for image in images),
        ],
    }


def _image(entry: IndexEntry, number: int, index: Reference) -> dict[str, Any]:
    # An image can be in an index twice, for two platforms.
    name = f"SPDXRef-image-{number}-{entry.descriptor.digest.hex}"
    platform = entry.descriptor.platform
    image = Subject(index.repository, entry.descriptor.digest)
    package = _package(name, image, index.tag, platform.architecture if platform else None)
    suffixes = [platform.architecture, platform.variant] if platform else []
    comments = [_described(platform)] if platform else []
    if entry.kind is EntryKind.ZSTD:
        suffixes.append("zstd")
        comments.append(f"{INDEX_ZSTD_ANNOTATION}=true")
    package["name"] = "_".join((package["name"], *filter(None, suffixes)))
    return package | ({"comment": ", ".join(comments)} if comments else {})


def _described(platform: Platform) -> str:
    return " ".join(filter(None, (str(platform), platform.os_version, *platform.os_features)))


def _package(name: str, image: Subject, version: str | None, arch: str | None = None) -> dict[str, Any]:
    return {
        "SPDXID": name,
        "name": purl.name_in(image.repository),
        "versionInfo": version or str(image.digest),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "supplier": "NOASSERTION",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [checksum(image.digest)],
        "externalRefs": [purl_reference(purl.of_image(image.repository, image.digest, arch))],
    }
