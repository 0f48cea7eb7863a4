"""A manifest as it travels: bytes, and what they are said to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Served:
    """The bytes of a manifest and the media type they were served as."""

    content: bytes
    content_type: str
