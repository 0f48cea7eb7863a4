"""Image references, parsed once; nothing deeper in the package takes a string.

The grammar is that of the distribution reference (github.com/distribution/reference) as the
containers tools read it, with one difference: a registry has to be named. `ubuntu` meaning
`docker.io/library/ubuntu` is a habit of one client, and signing what a habit resolved to is
not what a pipeline wants.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from recompress.errors import UsageError, about

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# That of distribution/reference has no bound, but DNS has one (RFC 1035, 2.3.4).
_DOMAIN_NAME = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_DOMAIN_NAME}(?:\.{_DOMAIN_NAME})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256 digest. Other algorithms are not used by any registry or builder in this field."""

    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read `sha256:<64 lower-case hex digits>`; ValueError for anything else."""
        if not isinstance(text, str) or not _DIGEST.fullmatch(text):
            raise ValueError(f"{text!r:.100} is not a digest of the form sha256:<64 hex digits>")
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of these bytes."""
        return cls(hashlib.sha256(content).hexdigest())

    @property
    def short(self) -> str:
        """The twelve hex digits that tables and skopeo's progress show."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository in a registry, such as `quay.io/org/app`."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository with an optional tag and an optional digest."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `registry/repository[:tag][@sha256:…]`.

        Raises UsageError with a sentence that names the part that is wrong.
        """
        name, at, digest_text = text.partition("@")
        digest: Digest | None = None
        if at:
            with about(repr(text), ValueError, UsageError):
                digest = Digest.parse(digest_text)
        registry, slash, rest = name.partition("/")
        if not slash or not _looks_like_registry(registry):
            raise UsageError(
                f"{text!r} has no registry: write it out, as in quay.io/org/app or docker.io/library/app"
            )
        if not _REGISTRY.fullmatch(registry) or not _port_is_possible(registry):
            raise UsageError(f"{text!r}: {registry!r} is not a registry host with an optional port")
        path, colon, tag_text = rest.partition(":")
        if path != path.lower():
            raise UsageError(f"{text!r}: the repository name must be lower case: {path.lower()!r}")
        if not _REPOSITORY.fullmatch(path) or len(registry) + 1 + len(path) > _MAX_NAME:
            raise UsageError(f"{text!r}: {path!r} is not a repository name")
        if colon and not _TAG.fullmatch(tag_text):
            raise UsageError(f"{text!r}: {tag_text!r} is not a tag")
        return cls(_as_docker_names_it(registry, path), tag_text if colon else None, digest)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository and tag, at this digest."""
        return replace(self, digest=digest)

    @property
    def selector(self) -> Digest | str:
        """What the manifests endpoint is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def is_tag(text: str) -> bool:
    """Whether this can be a tag."""
    return _TAG.fullmatch(text) is not None


def _as_docker_names_it(registry: str, path: str) -> Repository:
    # distribution/reference normalizes Docker Hub's names, so skopeo would read another repository.
    if registry not in ("docker.io", "index.docker.io"):
        return Repository(registry, path)
    return Repository("docker.io", path if "/" in path else f"library/{path}")


def _looks_like_registry(part: str) -> bool:
    # distribution/reference: a first component is a host where it has a dot, a colon or an upper
    # case letter, or is localhost; otherwise it is the first part of a docker.io repository.
    return part == "localhost" or any(c in part for c in ".:[") or part != part.lower()


def _port_is_possible(registry: str) -> bool:
    port = re.search(r":([0-9]+)$", registry)
    return port is None or registry.endswith("]") or 0 < int(port[1]) < 65536
