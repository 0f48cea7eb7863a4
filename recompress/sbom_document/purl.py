"""Package URLs of images (purl-spec, types/oci): `pkg:oci/name@sha256:…?repository_url=…&arch=…`.

Tools write the colon and the slashes of a digest and a repository as they are or percent-encoded. What is
changed keeps the habit of what was there.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from recompress.reference import Digest, Repository

_PURL = re.compile(
    r"(?P<type>pkg:/*[a-z][a-z0-9.+-]*/)(?P<name>[^@?#]*)(?:@(?P<version>[^?#]*))?"
    r"(?:\?(?P<qualifiers>[^#]*))?(?P<subpath>#.*)?",
    re.IGNORECASE | re.DOTALL,
)


def of_image(repository: Repository, digest: Digest, arch: str | None = None) -> str:
    """The purl of an image in a repository."""
    wanted = {"repository_url": str(repository)} | ({"arch": arch} if arch else {})
    query = "&".join(f"{key}={quote(wanted[key], safe='/:')}" for key in sorted(wanted))
    return f"pkg:oci/{name_in(repository)}@{digest}?{query}"


def name_in(repository: Repository) -> str:
    """The name that images of a repository have in a purl: the last part of its path."""
    return repository.path.rpartition("/")[2]


def digest_of(purl: str) -> Digest | None:
    """The SHA-256 digest that a purl of any type has for a version."""
    match = _PURL.fullmatch(purl)
    try:
        return Digest.parse(unquote(match["version"] or "").lower()) if match else None
    except ValueError:
        return None


def is_of_image(purl: str) -> bool:
    """Whether it is of the type of images."""
    return purl.lower().removeprefix("pkg:").lstrip("/").startswith("oci/")


def moved(purl: str, source: Repository, to: Repository, digest: Digest) -> str:
    """The purl of an image in `source` as that of another in `to`; other qualifiers stay."""
    match = _PURL.fullmatch(purl)
    if match is None:
        return purl
    version = quote(str(digest), safe="" if "%3a" in (match["version"] or "").lower() else ":")
    name = name_in(to) if match["name"].lower() == name_in(source) else match["name"]
    qualifiers = match["qualifiers"]
    if qualifiers is not None:
        qualifiers = "?" + "&".join(_moved_qualifier(each, to) for each in qualifiers.split("&"))
    return f"{match['type']}{name}@{version}{qualifiers or ''}{match['subpath'] or ''}"


def _moved_qualifier(qualifier: str, to: Repository) -> str:
    key, _, value = qualifier.partition("=")
    if key.lower() != "repository_url":
        return qualifier
    return f"{key}={quote(str(to), safe='' if '%2f' in value.lower() else '/:')}"
