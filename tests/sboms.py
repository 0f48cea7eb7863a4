"""SBOMs to derive from, in the forms of the tools that write them, and a judge of what comes out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from recompress.reference import Digest, Reference

FILES = sorted((Path(__file__).parent / "data" / "sbom").glob("*.json"))
SPDX = [file for file in FILES if file.name.endswith(".spdx.json")]
CYCLONEDX = [file for file in FILES if file.name.endswith(".cdx.json")]

SOURCE = Reference.parse(f"quay.io/org/app:v1@sha256:{'a' * 64}")
"""The image that all of them are of."""

TWIN = SOURCE.with_digest(Digest("b" * 64))
NOW = datetime(2026, 11, 28, 12, 30, 59, 123456, UTC)


def problems(content: bytes) -> list[str]:
    """What the libraries of SPDX and of CycloneDX have against a document; nothing where it is valid."""
    document = json.loads(content)
    if "spdxVersion" not in document:
        version = SchemaVersion.from_version(document["specVersion"])
        error = JsonStrictValidator(version).validate_str(content.decode())
        return [str(error)] if error else []
    try:
        parsed = JsonLikeDictParser().parse(document)  # type: ignore[no-untyped-call]
    except SPDXParsingError as wrong:
        return [str(wrong)]
    return [message.validation_message for message in validate_full_spdx_document(parsed)]
