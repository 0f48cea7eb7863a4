"""The images on which the rules and podman once disagreed, each as small as it was still wrong."""

from __future__ import annotations

from pathlib import Path

from tests.differential.pulls import Stack

_DIRECTORY = Path(__file__).parent.parent / "data/differential"


def _found() -> dict[str, Stack]:
    names = dict.fromkeys(file.name.partition(".")[0] for file in sorted(_DIRECTORY.iterdir()))
    return {
        name: tuple(file.read_bytes() for file in sorted(_DIRECTORY.glob(f"{name}.*.tar"))) for name in names
    }


FOUND = _found()
"""Their layers as tar streams, by what is odd in them."""
