"""The JSON of every command begins with what it is, so that programs know by which schema to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

Command = Literal["run", "verify", "inspect", "index", "prune"]

VERSIONS: Mapping[Command, int] = {"run": 1, "verify": 1, "inspect": 1, "index": 1, "prune": 1}
"""The version of docs/<command>.schema.json: a field more leaves it as it is, any other change raises it."""


def as_json(command: Command, fields: Mapping[str, Any]) -> str:
    """The report of a command as one JSON object."""
    return json.dumps({"command": command, "schema_version": VERSIONS[command], **fields}, indent=2)
