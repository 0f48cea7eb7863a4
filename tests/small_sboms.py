"""Small SBOMs in the two formats, as builders write them."""

from __future__ import annotations

import json
from typing import Any

from recompress.reference import Digest


def spdx(*packages: str, digest: Digest | None = None, **more: Any) -> bytes:
    """An SPDX 2.3 document: an image, which says its digest where one is given, and what is in it."""
    image: dict[str, Any] = {
        "SPDXID": "SPDXRef-image",
        "name": "app",
        "versionInfo": "1.0",
        "downloadLocation": "NOASSERTION",
    }
    if digest:
        image["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest.hex}]
    others = [{"SPDXID": f"SPDXRef-{p}", "name": p, "downloadLocation": "NOASSERTION"} for p in packages]
    described = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-image",
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "app",
        "documentNamespace": "https://example.com/app",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: builder"]},
        "packages": [image, *others],
        "relationships": [described],
        **more,
    }
    return json.dumps(document).encode()


def cyclonedx(*components: str, **more: Any) -> bytes:
    """A CycloneDX 1.5 document: an image, and what is in it."""
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 3,
        "metadata": {"component": {"type": "container", "name": "app", "bom-ref": "app"}},
        "components": [{"type": "library", "name": name, "bom-ref": name} for name in components],
        **more,
    }
    return json.dumps(document).encode()
