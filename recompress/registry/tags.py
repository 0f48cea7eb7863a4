"""The list of a repository's tags, page by page: OCI distribution specification 1.1, "Listing Tags"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from recompress.errors import Unsupported, VerificationFailed
from recompress.reference import is_tag

MAX_PAGE_BYTES = 16 * 1024 * 1024
MAX_TAGS = 100_000
_MAX_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class TagsPage:
    """Some tags, and the query that the next page is asked for with, where there is one."""

    tags: tuple[str, ...]
    next_query: bytes | None


def all_pages(read: Callable[[bytes], TagsPage]) -> tuple[str, ...]:
    """All tags in the registry's order, each once; `read` is given the query of a page, first an empty one.

    Some registries cut a long list without a link to the rest. So what comes after the last tag is asked for
    until there is nothing new. Raises VerificationFailed for a list that leads back to itself, Unsupported
    for one that is too long: half a list is never returned.
    """
    tags: dict[str, None] = {}
    asked: set[bytes] = set()
    query: bytes | None = b""
    while query is not None:
        asked.add(query)
        page = read(query)
        new = [tag for tag in page.tags if tag not in tags]
        tags.update(dict.fromkeys(page.tags))
        if len(tags) > MAX_TAGS or len(asked) > _MAX_PAGES:
            raise Unsupported(f"the repository has more than {MAX_TAGS} tags, which is the limit")
        if page.next_query in asked:
            raise VerificationFailed("the registry's list of tags leads back to a page that was read already")
        query = page.next_query
        if query is None and new:
            rest = f"last={new[-1]}".encode()
            query = None if rest in asked else rest
    return tuple(tags)


def read_page(content: bytes, url: httpx.URL, links: Mapping[str | None, Mapping[str, str]]) -> TagsPage:
    """Read one page, which was asked for at `url`; `links` are those of its Link header (RFC 8288), by `rel`.

    Raises VerificationFailed where it is no list of tags, or where the next page is not of the same list.
    """
    try:
        tags = json.loads(content)["tags"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise VerificationFailed(f"{url.copy_with(query=None)} did not answer with a list of tags") from None
    # Go writes an empty list as null.
    if not isinstance(tags or [], list):
        raise VerificationFailed(f"{url.copy_with(query=None)} did not answer with a list of tags")
    for tag in tags or []:
        if not isinstance(tag, str) or not is_tag(tag):
            raise VerificationFailed(f"the registry lists {tag!r:.200}, which is not a tag")
    following = links.get("next")
    return TagsPage(
        tuple(tags or []), None if following is None else query_of(following, url, "list of tags")
    )


def query_of(link: Mapping[str, str], url: httpx.URL, what: str) -> bytes:
    """What makes the next page: all else of its address has to be as before, but for the scheme.

    Registries behind a proxy that ends TLS write http:// there. Raises VerificationFailed, which names `what`
    is listed.
    """
    try:
        following = url.join(link["url"])
    except (KeyError, httpx.InvalidURL):
        following = httpx.URL("")
    if (following.host, following.port, following.path) != (url.host, url.port, url.path):
        raise VerificationFailed(
            f"the link to the next page of the registry's {what} leads to something else"
        )
    return following.query
