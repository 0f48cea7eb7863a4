"""Tags of twins whose source is gone: found, and where that is asked for, deleted.

A tag too many costs some storage, and one too few breaks an image. So whatever is not certain ends the
command before anything is deleted, and nothing is deleted except by the name of a tag of our own.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from recompress import attached, twin
from recompress.errors import NotFound, RecompressError, Unavailable, Unsupported, about
from recompress.manifest import INDEX_TYPES, Index, Manifest, parse_manifest
from recompress.printable import counted
from recompress.prune_report import Orphan, PruneReport
from recompress.reference import Digest, Reference, Repository
from recompress.registry import Connection, RepositoryClient, Served, retrying

log = logging.getLogger(__name__)

_WAIT_SECONDS = 5.0
"""A registry with replicas answers 404 for a moment for what is there; after so long it is asked again."""

Places = tuple[RepositoryClient, ...]
"""Where sources are looked for. The first one is the repository whose tags are looked at."""


@dataclass(frozen=True, slots=True)
class _Tags:
    """The manifest of each tag of a repository, which may be twins, or SBOMs, and what indexes hold."""

    digests: dict[str, Digest] = field(default_factory=dict)
    twins: set[str] = field(default_factory=set)
    sboms: set[str] = field(default_factory=set)
    held: set[Digest] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Found:
    orphans: tuple[Orphan, ...]
    kept: int
    digests: Mapping[str, Digest]


def prune(
    connection: Connection, repository: Repository, sources: Iterable[Repository], *, delete: bool
) -> PruneReport:
    """List the orphans among the tags of `repository`, and with `delete` delete them.

    A tag is an orphan if its name is of our scheme (twin.source_of), if the manifest that is named in it is
    in neither `repository` nor `sources`, and if no index that a tag of `repository` names holds the manifest
    of the tag. A tag with a manifest that cannot be a twin is somebody else's, whatever its name. The tag of
    the SBOM of a twin goes with the last tag of the twin. Raises
    Unsupported where not one source is there, and where the registry cannot delete tags;
    NotFound for one of `sources` that is not there; and whatever else is not a clear answer, as it is.
    """
    with ExitStack() as stack:
        names = tuple(dict.fromkeys((repository, *sources)))
        places = tuple(stack.enter_context(connection.client(name)) for name in names)
        found = _find(places)
        if not delete:
            return PruneReport(repository, names, found.orphans, found.kept, False)
        deleted, stay = _delete(places, found, connection.attempts)
        return PruneReport(repository, names, deleted, found.kept + stay, True)


def _find(places: Places) -> _Found:
    repository = places[0]
    first = repository.tags()
    ours = {tag: source for tag in first if (source := twin.source_of(tag))}
    wanted = set(ours.values())
    there = _there(places, wanted)
    if gone := wanted - there.keys():
        for place in places[1:]:
            if place not in there.values():
                _check_is_there(place)
        time.sleep(_WAIT_SECONDS)
        there |= _there(places, gone)
        gone -= there.keys()
    if not gone:
        return _Found((), len(ours), {})
    # The tags are read last, so that what was pushed meanwhile is seen. A list may lack a tag for a moment.
    second = repository.tags()
    lacking = (tag for tag in sorted({*first} - {*second}) if repository.has_manifest(tag))
    tags = _read_tags(repository, (*second, *lacking))
    twins = [tag for tag in sorted(ours) if tag in tags.twins]
    candidates = [tag for tag in twins if ours[tag] in gone]
    if candidates and len(candidates) == len(twins):
        raise Unsupported(
            f"of {counted(len(twins), 'twin')} in {repository.repository} not one has its source in "
            f"{', '.join(str(place.repository) for place in places)}: they seem to have been pushed with "
            "--to from elsewhere; name the repositories of their sources with --source"
        )
    orphaned = [tag for tag in candidates if tags.digests[tag] not in tags.held]
    orphans = tuple(
        Orphan(tag, ours[tag], tags.digests[tag], _sbom_tag(tags, tags.digests[tag], orphaned))
        for tag in orphaned
    )
    kept = sum(twin.source_of(tag) is not None for tag in tags.digests) - len(orphans)
    return _Found(orphans, kept, tags.digests)


def _sbom_tag(tags: _Tags, image: Digest, orphaned: Collection[str]) -> str | None:
    """The tag of the SBOM of an image, where there is one, and no tag of the image stays."""
    if any(digest == image and tag not in orphaned for tag, digest in tags.digests.items()):
        return None
    return tag if (tag := attached.tag_of(image)) in tags.sboms else None


def _there(places: Places, sources: Collection[Digest]) -> dict[Digest, RepositoryClient]:
    """Those of the sources that are somewhere, and where."""
    there: dict[Digest, RepositoryClient] = {}
    for place in places:
        for digest in sorted({*sources} - there.keys()):
            if place.has_manifest(digest):
                there[digest] = place
    return there


def _check_is_there(place: RepositoryClient) -> None:
    """Raise NotFound for a repository without tags: a wrong name must not make orphans of all twins."""
    with about(f"--source {place.repository}", NotFound):
        if not place.tags():
            raise NotFound("it has neither tags nor any of the sources: check its name")


def _read_tags(client: RepositoryClient, names: Sequence[str]) -> _Tags:
    """Read what the tags name. One that is 404 twice holds nothing: it was deleted, or leads nowhere."""
    tags = _Tags()
    missing = [tag for tag in names if not _read_tag(client, tag, tags)]
    if missing:
        time.sleep(_WAIT_SECONDS)
        for tag in missing:
            if not _read_tag(client, tag, tags):
                log.warning("the registry lists %s, but does not have it: it is skipped", tag)
    return tags


def _read_tag(client: RepositoryClient, tag: str, tags: _Tags) -> bool:
    """Add what a tag names to `tags`; False where the registry says that it is not there."""
    with about(f"{Reference(client.repository, tag)}, which the registry lists", RecompressError):
        served = client.find_manifest(tag)
        if served is None:
            return False
        tags.digests[tag] = Digest.of(served.content)
        found = _read(served)
        if isinstance(found, Index):
            tags.held.update(_held(client, found))
        if isinstance(found, Manifest) and twin.may_name(tag, found):
            tags.twins.add(tag)
        if attached.is_tag(tag) and attached.is_sbom(served):
            tags.sboms.add(tag)
        return True


def _held(client: RepositoryClient, index: Index) -> set[Digest]:
    """The digests of all that is in an index, and in the indexes in it."""
    held: set[Digest] = set()
    read: set[Digest] = set()
    left = [index]
    while left:
        for member in left.pop().manifests:
            held.add(member.digest)
            if member.media_type in INDEX_TYPES and member.digest not in read:
                read.add(member.digest)
                found = _read(client.manifest(member.digest))
                left += [found] if isinstance(found, Index) else []
    return held


def _read(served: Served) -> Manifest | Index | None:
    """The manifest or index; None for an artifact and the like, which holds nothing."""
    try:
        return parse_manifest(served.content, served.content_type)
    except Unsupported:
        if _may_be_an_index(served.content):
            raise
        return None


def _may_be_an_index(content: bytes) -> bool:
    """Whether some client could find manifests in it, by whatever spelling of the key."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return True
    return not isinstance(document, dict) or any(key.lower() == "manifests" for key in document)


def _delete(places: Places, found: _Found, attempts: int) -> tuple[tuple[Orphan, ...], int]:
    """Delete the orphans; returns those, and how many stay."""
    repository = places[0]
    deleted: list[Orphan] = []
    stay = 0
    for orphan in found.orphans:
        done = f"deleted {len(deleted)} of {counted(len(found.orphans), 'orphan')}, failed at"
        with about(f"{done} {Reference(repository.repository, orphan.tag)}", RecompressError):
            others = _others(repository, found, orphan.tag, orphan.twin)
            served = repository.find_manifest(orphan.tag)
            if served is None:
                log.warning("%s is gone already: somebody else deleted it", orphan.tag)
                continue
            if Digest.of(served.content) != orphan.twin or any(p.has_manifest(orphan.source) for p in places):
                log.warning("%s stays: it was moved, or its source was pushed again", orphan.tag)
                stay += 1
                continue
            # First, for a twin that is gone leads to no SBOM any more.
            sbom = orphan.sbom if not others and _delete_sbom(repository, found, orphan, attempts) else None
            _delete_tag(repository, orphan.tag, served, others, attempts)
            deleted.append(replace(orphan, sbom=sbom))
    return tuple(deleted), stay


def _delete_sbom(repository: RepositoryClient, found: _Found, orphan: Orphan, attempts: int) -> bool:
    """Delete the tag of a twin's SBOM; False where there is none, or no longer the one that was found."""
    if orphan.sbom is None:
        return False
    digest = found.digests[orphan.sbom]
    with about(f"{Reference(repository.repository, orphan.sbom)}, its SBOM", RecompressError):
        others = _others(repository, found, orphan.sbom, digest)
        served = repository.find_manifest(orphan.sbom)
        if served is None or Digest.of(served.content) != digest:
            log.warning("%s is not deleted: it was moved, or it is gone already", orphan.sbom)
            return False
        _delete_tag(repository, orphan.sbom, served, others, attempts)
    return True


def _delete_tag(
    client: RepositoryClient, tag: str, served: Served, others: Iterable[str], attempts: int
) -> None:
    client.delete_tag(tag)
    _expect_gone(client, tag, attempts)
    _expect_there(client, others, served)


def _others(client: RepositoryClient, found: _Found, but: str, digest: Digest) -> list[str]:
    """The other tags of a manifest, as far as they are there still."""
    same = (tag for tag, named in found.digests.items() if named == digest and tag != but)
    return [tag for tag in same if _names(client, tag, digest)]


def _names(client: RepositoryClient, tag: str, digest: Digest) -> bool:
    served = client.find_manifest(tag)
    return served is not None and Digest.of(served.content) == digest


class _StillThere(Unavailable):
    """A tag that was deleted, and may be gone in a moment."""


def _expect_gone(client: RepositoryClient, tag: str, attempts: int) -> None:
    def look() -> None:
        if client.has_manifest(tag):
            raise _StillThere("it is still there", temporary=True)

    try:
        retrying(attempts, look)
    except _StillThere as error:
        raise Unsupported(
            f"the registry cannot delete a tag by its name: it took the request, and {error}"
        ) from None


def _expect_there(client: RepositoryClient, tags: Iterable[str], served: Served) -> None:
    """Put back the tags of a manifest that a registry has deleted with another one of its tags."""
    lost = [tag for tag in tags if not client.has_manifest(tag)]
    if not lost:
        return
    for tag in lost:
        with about(f"the registry deleted its manifest, and {tag} could not be put back", RecompressError):
            client.tag(tag, served)
    raise Unsupported(
        f"the registry deleted its manifest with all its tags, and {', '.join(lost)} were put back: "
        "it cannot delete a tag by its name"
    )
