"""Where the twin of an image is, or the source of a twin: found by tags and digests, and not proven."""

from __future__ import annotations

import logging
from itertools import islice

from recompress import plan, sbom_search, twin
from recompress.errors import NOTHING_THERE
from recompress.inspect_report import Sbom
from recompress.manifest import Index, Manifest
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient
from recompress.sbom_search import Found

log = logging.getLogger(__name__)

_MOST_TAGS = 256
"""So many tags of twins are read to find one that names a digest."""


def named_index(client: RepositoryClient, reference: Reference) -> Index | None:
    """The index at the tag that an image is named with, beside its digest; None where no index is there."""
    if reference.tag is None or reference.digest is None:
        return None
    found = _manifest(client, reference.tag)
    return found if isinstance(found, Index) else None


def is_in(index: Index | None, digest: Digest) -> bool | None:
    """Whether an index has a manifest; None without an index."""
    return None if index is None else any(entry.digest == digest for entry in index.manifests)


def twin_at_tag(client: RepositoryClient, source: Manifest) -> Digest | None:
    """The twin that `run` has left under the tag that is made of the source's digest."""
    tag = twin.default_tag(source)
    found = _manifest(client, tag)
    if not isinstance(found, Manifest) or not twin.may_name(tag, found):
        return None
    return found.digest if found.config.digest == source.config.digest else None


def source_by_tag(client: RepositoryClient, reference: Reference, of: Manifest) -> tuple[Digest | None, bool]:
    """The source of a twin, and whether the repository has it, by the tag that has the source's digest in it.

    That is the tag of `reference`, or it is looked for among all tags.
    """
    for tag in _tags_of_twins(client, reference.tag):
        found, source = _manifest(client, tag), twin.source_of(tag)
        if source is None or found is None or found.digest != of.digest or not twin.may_name(tag, of):
            continue
        there = _manifest(client, source)
        if not isinstance(there, Manifest):
            return source, False
        if there.config.digest == of.config.digest:
            return source, True
    return None, False


def sbom_of(client: RepositoryClient, of: Manifest, reference: Reference) -> Sbom:
    """The SBOM of a twin: at its tag, or the newest of those that refer to it."""
    try:
        found = sbom_search.find(client, plan.check_image(client, of, reference), reference, ())
    except NOTHING_THERE as error:
        return Sbom(None, str(error))
    if isinstance(found, Found):
        return Sbom(found.at)
    return Sbom(None, found.why if found else "")


def _tags_of_twins(client: RepositoryClient, named: str | None) -> list[str]:
    if named is not None and twin.source_of(named):
        return [named]
    try:
        ours = (tag for tag in client.tags() if tag.endswith(".zstd-chunked") and twin.source_of(tag))
    except NOTHING_THERE as error:
        log.debug("could not list the tags of twins: %s", error)
        return []
    tags = list(islice(ours, _MOST_TAGS + 1))
    if len(tags) > _MOST_TAGS:
        log.warning("there are many tags of twins: only %d of them are searched for the source", _MOST_TAGS)
    return tags[:_MOST_TAGS]


def _manifest(client: RepositoryClient, selector: str | Digest) -> Manifest | Index | None:
    at = Reference(client.repository, None, selector) if isinstance(selector, Digest) else None
    reference = at or Reference(client.repository, str(selector))
    try:
        return plan.read(client, selector, reference)
    except NOTHING_THERE as error:
        log.debug("%s is not there: %s", reference, error)
        return None
