"""SBOMs to derive from, in the forms of the tools that write them, and a judge of what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from recompress.reference import Digest, Reference
from recompress.sbom_document import Derived, derive

FILES = sorted((Path(__file__).parent / "data" / "sbom").glob("*.json"))
SPDX = [file for file in FILES if file.name.endswith(".spdx.json")]
CYCLONEDX = [file for file in FILES if file.name.endswith(".cdx.json")]

SOURCE = Reference.parse(f"quay.io/org/app:v1@sha256:{'a' * 64}")
"""The image that all of them are of."""

TWIN = SOURCE.with_digest(Digest("b" * 64))
ELSEWHERE = replace(TWIN, repository=Reference.parse("registry.example:5000/other/app-z").repository)
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


def load(file: Path | str) -> Any:
    """One of the SBOMs, by its name."""
    path = next(each for each in FILES if each.name == file) if isinstance(file, str) else file
    return json.loads(path.read_bytes())


def derived(document: Any, twin: Reference = TWIN) -> Derived:
    return derive(json.dumps(document).encode(), SOURCE, twin, NOW)


def result(document: Any, twin: Reference = TWIN) -> Any:
    """What is derived, read by another parser."""
    return json.loads(derived(document, twin).content)


def changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ, with lists cut to the length of the shorter."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key not in before or key not in after:
                yield f"{path}.{key}"
            else:
                yield from changes(before[key], after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from changes(one, other, f"{path}[{number}]")
        if len(before) != len(after):
            yield f"{path}[]"
    elif before != after:
        yield path
