"""A manifest as it travels: bytes, and the media type they are served as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Served:
    """The bytes of a manifest and the media type they were served as."""

    content: bytes
    content_type: str
