"""What refers to a manifest: OCI distribution specification 1.1, "Listing Referrers", "Referrers Tag Schema".

Where a registry has no referrers API, clients keep the list themselves, in an index under a tag that is made
of the digest of what is referred to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from recompress.errors import RecompressError, Refused, Unavailable, Unsupported, VerificationFailed, about
from recompress.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, MediaType, parse_manifest
from recompress.reference import Digest
from recompress.registry.served import Served
from recompress.registry.tags import query_of
from recompress.registry.transport import retrying

if TYPE_CHECKING:
    from recompress.registry.client import RepositoryClient

log = logging.getLogger(__name__)

MAX_PAGES = 100
MAX_REFERRERS = 1000
"""Of those that are wanted. Others are passed over, page by page."""


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Some referrers, and the query that the next page is asked for with, where there is one."""

    entries: tuple[Descriptor, ...]
    next_query: bytes | None


def fallback_tag(subject: Digest) -> str:
    """The tag of the list that clients keep where there is no referrers API."""
    return f"sha256-{subject.hex}"


def read_page(
    content: bytes, content_type: str, url: httpx.URL, links: Mapping[str | None, Mapping[str, str]]
) -> ReferrersPage | None:
    """Read one page, which was asked for at `url`; `links` are those of its Link header (RFC 8288), by `rel`.

    None for what is no index: some registries answer 200 with something else where they have no such API.
    Raises Unsupported or VerificationFailed for an index that cannot be read.
    """
    if content_type.partition(";")[0].strip() != MediaType.OCI_INDEX:
        return None
    with about("the registry's list of referrers", RecompressError):
        index = parse_manifest(content, MediaType.OCI_INDEX)
    following = links.get("next")
    query = None if following is None else query_of(following, url, "list of referrers")
    return ReferrersPage(index.manifests if isinstance(index, Index) else (), query)


def find(
    client: RepositoryClient, subject: Digest, wanted: Callable[[Descriptor], bool]
) -> tuple[Descriptor, ...]:
    """The referrers of a manifest for which `wanted` is true, by the API, or else by the fallback tag.

    A fallback tag on something else is no list. Raises Unsupported where there are too many of them, or a
    page is not served, or the registry refuses that tag, VerificationFailed for a list that leads back to
    itself, and both for one that cannot be read.
    """
    asked: set[bytes] = set()
    found: list[Descriptor] = []
    query: bytes | None = b""
    while query is not None:
        asked.add(query)
        page = client.referrers_page(subject, query)
        if page is None and query:
            raise Unsupported("the registry's list of referrers breaks off before its last page")
        if page is None:
            return tuple(filter(wanted, _fallback_entries(client, subject)))
        found += filter(wanted, page.entries)
        if len(found) > MAX_REFERRERS or len(asked) > MAX_PAGES:
            raise Unsupported("the registry's list of referrers is too long to be read")
        if page.next_query in asked:
            raise VerificationFailed(
                "the registry's list of referrers leads back to a page that was read already"
            )
        query = page.next_query
    return tuple(found)


def add(client: RepositoryClient, subject: Digest, referrer: Descriptor) -> None:
    """Make sure that a referrer that was pushed is in the list of those of `subject`.

    Where there is a referrers API, the registry does so itself. Else the list under the fallback tag is read,
    completed, put back, and read again: somebody else may do so at the same time, and some registries show
    what was put only after a while. Raises Unsupported where something else has that tag or the list would be
    too large, Unavailable where it lacks the referrer after all tries.
    """
    if client.referrers_page(subject, b"") is None:
        retrying(client.attempts, lambda: _complete(client, subject, referrer))


def _complete(client: RepositoryClient, subject: Digest, referrer: Descriptor) -> None:
    """Put the list with the referrer in it, where it is not. Raises Unavailable where that is not shown."""
    before = _fallback_list(client, subject)
    if _has(before, referrer):
        return
    at = f"{client.repository}:{fallback_tag(subject)}, a list of referrers,"
    content = _with(before, referrer)
    if len(content) > MAX_MANIFEST_BYTES:
        raise Unsupported(f"{at} has no room for one more")
    client.put_manifest(fallback_tag(subject), Served(content, MediaType.OCI_INDEX))
    if not _has(_fallback_list(client, subject), referrer):
        raise Unavailable(f"{at} does not show {referrer.digest}, which was just put into it", temporary=True)


def _has(listed: Index | None, referrer: Descriptor) -> bool:
    return listed is not None and any(entry.digest == referrer.digest for entry in listed.manifests)


def _fallback_entries(client: RepositoryClient, subject: Digest) -> tuple[Descriptor, ...]:
    try:
        listed = _fallback_list(client, subject)
    except Refused as error:
        # Some registries refuse a tag that is not there.
        at = f"{client.repository}:{fallback_tag(subject)}"
        raise Unsupported(f"whether there is a list of referrers at {at} is not known: {error}") from None
    except Unsupported as error:
        log.debug("could not list the referrers of %s: %s", subject, error)
        return ()
    return listed.manifests if listed else ()


def _fallback_list(client: RepositoryClient, subject: Digest) -> Index | None:
    tag = fallback_tag(subject)
    served = client.find_manifest(tag)
    if served is None:
        return None
    with about(f"{client.repository}:{tag}", RecompressError):
        found = parse_manifest(served.content, served.content_type)
        if not isinstance(found, Index) or found.media_type != MediaType.OCI_INDEX:
            raise Unsupported("it is not a list of referrers, for which this tag is reserved")
        return found


def _with(before: Index | None, referrer: Descriptor) -> bytes:
    empty = {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX}
    document: dict[str, Any] = json.loads(before.content) if before else empty
    entry = {
        "mediaType": referrer.media_type,
        "digest": str(referrer.digest),
        "size": referrer.size,
        "artifactType": referrer.artifact_type,
        "annotations": dict(referrer.annotations),
    }
    document["manifests"] = [*(document.get("manifests") or ()), entry]
    return json.dumps(document, separators=(",", ":")).encode()
