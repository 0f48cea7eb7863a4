"""The JSON schemas of the reports, closed: a field that they do not have is an error here, not for users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

DOCS = Path(__file__).parents[1] / "docs"


def document(command: str) -> dict[str, Any]:
    """The schema of a command, as it is."""
    schema = json.loads((DOCS / f"{command}.schema.json").read_text())
    assert isinstance(schema, dict)
    return schema


def closed(command: str) -> dict[str, Any]:
    """The schema of a command with no room for other fields."""

    def close(node: Any) -> Any:
        if isinstance(node, list):
            return [close(item) for item in node]
        if not isinstance(node, dict):
            return node
        inner = {name: close(value) for name, value in node.items()}
        return inner | {"additionalProperties": False} if "properties" in inner else inner

    schema = close(document(command))
    assert isinstance(schema, dict)
    return schema


def check(report: dict[str, Any]) -> None:
    """Raise unless the report is as the schema of its command says."""
    jsonschema.validate(report, closed(report["command"]), jsonschema.Draft202012Validator)
