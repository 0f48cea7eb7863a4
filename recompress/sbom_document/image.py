"""Which image an SBOM is of, and what of that changes for its twin: in both formats the same."""

from __future__ import annotations

import re
import uuid
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recompress import __version__
from recompress.errors import Unsupported, UsageError
from recompress.reference import Digest, Reference, Repository
from recompress.sbom_document import purl

TOOL = "recompress"
VERSION = __version__

_DIGEST = re.compile(r"sha256(?::|%3a)([0-9a-f]{64})(?![0-9a-z])", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_NAMESPACE = uuid.UUID("9d9306a9-1c16-4432-ab3e-a52b72d78d29")


@dataclass(frozen=True, slots=True)
class Subject:
    """An image by its digest."""

    repository: Repository
    digest: Digest

    @classmethod
    def of(cls, reference: Reference) -> Subject:
        """What a reference with a digest names. Raises UsageError where it has none."""
        if reference.digest is None:
            raise UsageError(f"{reference} has no digest: name the image by its digest")
        return cls(reference.repository, reference.digest)

    @property
    def purl(self) -> str:
        """Its purl, where nothing more is known of it."""
        return purl.of_image(self.repository, self.digest)

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and its twin, and the time of now."""

    source: Subject
    twin: Subject
    now: datetime

    def renamed(self, text: str) -> str:
        """The text with the twin's digest where it has the source's, and the twin's repository beside it."""
        if text == str(self.source.repository):
            return str(self.twin.repository)
        return _DIGEST.sub(self._renamed, text.replace(str(self.source), str(self.twin)))

    def purl(self, old: str) -> str:
        """The purl with the twin's digest and repository, where it is one of the source."""
        if purl.is_of_image(old) or purl.digest_of(old) == self.source.digest:
            return purl.moved(old, self.source.repository, self.twin.repository, self.twin.digest)
        return old

    def _renamed(self, found: re.Match[str]) -> str:
        whole, hex_digits = found[0], found[1]
        is_source = hex_digits.lower() == self.source.digest.hex
        return whole.removesuffix(hex_digits) + self.twin.digest.hex if is_source else whole


def identifier(*digests: Digest) -> uuid.UUID:
    """A UUID 5 (RFC 9562) of digests: always the same one for the same."""
    return uuid.uuid5(_NAMESPACE, " ".join(map(str, digests)))


def timestamp(now: datetime) -> str:
    """A time as both formats write it: in UTC, to the second."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digests_in(texts: Iterable[object]) -> Iterator[Digest]:
    """The digests in names and versions, such as `repo@sha256:…`."""
    for text in texts:
        if isinstance(text, str):
            yield from (Digest(found[1].lower()) for found in _DIGEST.finditer(text))


def digests_of_purls(purls: Iterable[object]) -> Iterator[Digest]:
    """The digests that are the versions of purls."""
    for each in purls:
        if isinstance(each, str) and (digest := purl.digest_of(each)):
            yield digest


def digests_of_hashes(hashes: list[dict[str, Any]], algorithm: str, value: str) -> Iterator[Digest]:
    """The SHA-256 digests in a list of hashes; `algorithm` and `value` are how the format calls them."""
    for each in hashes:
        if str(each.get(algorithm)).upper().replace("-", "") == "SHA256":
            text = each.get(value)
            if not isinstance(text, str) or not _HEX.fullmatch(text):
                raise Unsupported(f"its SBOM has a SHA-256 checksum that is not 64 hex digits: {text!r:.100}")
            yield Digest(text.lower())


def refuse_another(digests: Iterable[Digest], source: Subject) -> None:
    """Raise Unsupported where an SBOM is of an image with another digest than the source's."""
    for digest in sorted(digests):
        if digest != source.digest:
            raise Unsupported(f"its SBOM describes another image, {digest}, not {source.digest}")


def items(parent: dict[str, Any], key: str) -> list[Any]:
    """The items of a list, none where it is missing or null. Raises Unsupported for anything else."""
    found = parent.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Unsupported(f"its SBOM has a {key!r} that is not a list")
    return found


def objects(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The same for a list of JSON objects."""
    found = items(parent, key)
    if not all(isinstance(each, dict) for each in found):
        raise Unsupported(f"its SBOM has something in {key!r} that is not a JSON object")
    return found


def fields(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The fields of an object, none where it is missing or null. Raises Unsupported for anything else."""
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unsupported(f"its SBOM has a {key!r} that is not a JSON object")
    return found


def unused(wanted: str, taken: Container[str]) -> str:
    """The identifier that is wanted, with a number behind it where it is taken."""
    found, number = wanted, 1
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    return found
