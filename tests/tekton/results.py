"""The results of a TaskRun travel in its container's termination message, which has 4,096 bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

MOST_BYTES = 4096
_STARTED = {"key": "StartedAt", "value": "2026-01-01T00:00:00.000Z", "type": 3}
_RESULT_TYPE = 1


class ResultsTooLarge(Exception):
    """The TaskRun fails, whatever its step did."""


def read(directory: Path, declared: Sequence[str]) -> dict[str, str]:
    """The declared results that were written. Tekton overlooks any other file; here it is a mistake."""
    written = {file.name: file.read_text() for file in directory.iterdir() if not file.name.startswith(".")}
    if unknown := written.keys() - set(declared):
        raise AssertionError(f"written, but not declared as results: {', '.join(sorted(unknown))}")
    return {name: written[name] for name in declared if name in written}


def check_objects(results: Mapping[str, str], objects: Mapping[str, Collection[str]]) -> None:
    """Raise AssertionError for an object result that fails the TaskRun: it must be JSON and have its keys."""
    for name in results.keys() & objects.keys():
        value = json.loads(results[name])
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise AssertionError(f"the result {name} is no object of strings")
        if missing := set(objects[name]) - value.keys():
            raise AssertionError(f"the result {name} lacks the keys {', '.join(sorted(missing))}")


def message(results: Mapping[str, str]) -> bytes:
    """The termination message that Tekton's entrypoint writes; ResultsTooLarge beyond its bytes."""
    entries = [{"key": name, "value": value, "type": _RESULT_TYPE} for name, value in results.items()]
    content = json.dumps([_STARTED, *entries], separators=(",", ":"), ensure_ascii=False).encode()
    for character in b"<>&":  # which Go writes as \u003c and so on
        content = content.replace(bytes([character]), b"\\u%04x" % character)
    if len(content) > MOST_BYTES:
        raise ResultsTooLarge(
            f"Termination message is above max allowed size {MOST_BYTES}, caused by large task result."
        )
    return content
