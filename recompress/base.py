"""The base image that an image names: its twin has most of the layers of a first run.

Builders leave its name and digest in annotations or labels (OCI image specification 1.1, annotations.md).
Anybody can write these, and a run can read more than the author of an image may. So a layer of a base's twin
is offered only instead of a layer that the source's repository has, and that the base's own manifest lists in
the same place. Nothing is said about a base except what is taken from it (SECURITY.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from recompress import plan, reuse, twin
from recompress.errors import RecompressError, UsageError
from recompress.image import Image
from recompress.manifest import Descriptor, Manifest
from recompress.reference import Digest, Reference, Repository
from recompress.registry import Connection, RepositoryClient
from recompress.reuse import Offer
from recompress.threads import mapped

log = logging.getLogger(__name__)

_NAME = "org.opencontainers.image.base.name"
_DIGEST = "org.opencontainers.image.base.digest"


def named(image: Image) -> Reference | None:
    """The base that the annotations of an image's manifest name, or else its labels, by its digest alone.

    None where neither do, or what they say cannot be a base.
    """
    for said in (image.manifest.annotations, image.config.labels):
        if not (said.get(_NAME) and said.get(_DIGEST)):
            continue
        try:
            return Reference(Reference.parse(said[_NAME]).repository, None, Digest.parse(said[_DIGEST]))
        except (UsageError, ValueError) as error:
            log.debug("the base image cannot be read: %s", error)
    return None


def find(
    source: Image,
    source_client: RepositoryClient,
    destination: Repository,
    connection: Connection,
    wanted: Mapping[Digest, int],
    jobs: int,
) -> dict[Digest, Offer]:
    """By diff_id, layers of the twin of the source's base, in the registry of the destination.

    `wanted` are the diff_ids to look for, each with the most bytes that such a layer may have. The base is
    read with the credentials for the destination, with which skopeo mounts from there. What a registry
    refuses, or does not have, is no error, and is asked for once.
    """
    base = named(source)
    if base is None or base.repository.registry != destination.registry:
        return {}
    found: dict[Digest, tuple[Descriptor, Offer]] = {}
    try:
        with replace(connection, attempts=1).client(base.repository, destination) as client:
            for layer, offer in _offers(client, base, source):
                if offer.layer.size <= wanted.get(offer.diff_id, -1):
                    found.setdefault(offer.diff_id, (layer, offer))
    except RecompressError as error:
        log.debug("no layers are reused from the base image: %s", error)
    are_there = mapped(partial(_has, source_client), [layer for layer, _ in found.values()], jobs)
    return {
        offer.diff_id: offer
        for (_, offer), is_there in zip(found.values(), are_there, strict=True)
        if is_there
    }


def _offers(client: RepositoryClient, base: Reference, source: Image) -> Iterator[tuple[Descriptor, Offer]]:
    """Layers of the source that a base has in the same place, each with that of the base's twin."""
    entries = tuple(reuse.manifests(client, base, source.platform, logging.DEBUG))
    for own in entries:
        pairs = enumerate(zip(own.layers, source.manifest.layers, strict=False))
        shared = {number for number, (theirs, ours) in pairs if theirs.digest == ours.digest}
        if not shared or (packed := _twin(client, base, own, entries)) is None:
            continue
        both = zip(source.layers, packed.layers, strict=False)
        for number, ((diff_id, layer), (their_diff_id, offered)) in enumerate(both):
            if number in shared and diff_id == their_diff_id:
                origin = str(packed.reference)
                yield layer, Offer(diff_id, offered, client.repository, origin, is_from_base=True)


def _twin(
    client: RepositoryClient, base: Reference, own: Manifest, entries: Iterable[Manifest]
) -> Image | None:
    """The twin of a base: it has the base's config and zstd layers alone.

    Looked for in the index that the base is in, then under its tag.
    """
    tag = Reference(base.repository, twin.default_tag(own))
    for entry in entries:
        if _is_twin(entry, own):
            return plan.check_image(client, entry, base.with_digest(entry.digest))
    tagged = plan.read(client, tag.selector, tag)
    if isinstance(tagged, Manifest) and _is_twin(tagged, own):
        return plan.check_image(client, tagged, tag)
    return None


def _is_twin(manifest: Manifest, of: Manifest) -> bool:
    return manifest.is_zstd and manifest.config.digest == of.config.digest


def _has(client: RepositoryClient, layer: Descriptor) -> bool:
    try:
        client.stat_blob(layer.digest)
    except RecompressError as error:
        log.debug("the source's repository does not show that it has a layer of the base: %s", error)
        return False
    return True
