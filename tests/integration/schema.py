"""The JSON schema of the reports, closed: a field that it does not have is an error here, not for users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

FILE = Path(__file__).parents[2] / "docs/report.schema.json"


def closed() -> dict[str, Any]:
    """The schema with no room for other fields."""

    def close(node: Any) -> Any:
        if isinstance(node, list):
            return [close(item) for item in node]
        if not isinstance(node, dict):
            return node
        inner = {name: close(value) for name, value in node.items()}
        return inner | {"additionalProperties": False} if "properties" in inner else inner

    schema = close(json.loads(FILE.read_text()))
    assert isinstance(schema, dict)
    return schema


def check(report: dict[str, Any]) -> None:
    """Raise unless the report is as the schema says."""
    jsonschema.validate(report, closed(), jsonschema.Draft202012Validator)
