"""zstd:chunked layers that exist already: found in the registry, offered to skopeo once proven.

There is no cache format: the cache is an image, the last twin of the same platform, under a
moving tag. What is found is only a claim of whoever can push to the repository, so it is proven
by content before skopeo may take it (see docs/design.md, "Reuse is only of what was proven").
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from recompress import limits, plan
from recompress.errors import Artifact, NotFound, RecompressError, Unsupported
from recompress.image import Image
from recompress.manifest import Compression, Descriptor, Index, Manifest, MediaType, Platform, parse_config
from recompress.reference import Digest, Reference, Repository, is_tag
from recompress.registry import RepositoryClient

log = logging.getLogger(__name__)

MOST_ENTRIES = 8
"""Of an index, so many images for the platform are looked into: anybody who can push may put it there."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A zstd layer that exists in `repository` and stands for a diff_id, as is claimed there.

    `origin` names the image that it was found in, for the report. Of one that `is_from_base` nothing is said
    unless it is taken: who had it looked for may not be allowed to know of it.
    """

    diff_id: Digest
    layer: Descriptor
    repository: Repository
    origin: str
    is_from_base: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """An image to look in. Where it is one that the user named, it is said if it is not there."""

    client: RepositoryClient
    reference: Reference
    is_named_by_user: bool


def cache_tag(platform: Platform) -> str | None:
    """The moving tag under which the last twin of a platform is found.

    None where the config, which anybody may have written, has a platform that makes no tag.
    """
    tag = "-".join(("zstd-chunked-cache", *str(platform).split("/")))
    return tag if is_tag(tag) else None


def wanted(source: Image, known: Container[Digest]) -> dict[Digest, int]:
    """The diff_ids of layers of `source` to look for, each with the most bytes that such a layer may have.

    Those whose diff_id is `known` need not be looked for.
    """
    return {
        diff_id: limits.most_compressed(layer)
        for diff_id, layer in source.layers
        if layer.compression is not Compression.ZSTD_CHUNKED and diff_id not in known
    }


def find(platform: Platform, places: Iterable[Place], wanted: Mapping[Digest, int]) -> dict[Digest, Offer]:
    """By diff_id, the first zstd layer in `places` for each that is `wanted`.

    Nothing that is wrong with a place stops a run: what cannot be read offers nothing.
    """
    found: dict[Digest, Offer] = {}
    for place in places:
        if wanted.keys() <= found.keys():
            break
        try:
            for offer in _offers(place, platform):
                if offer.diff_id not in wanted:
                    continue
                if offer.layer.size > wanted[offer.diff_id]:
                    log.warning(
                        "not reused from %s: layer %s has %d bytes, far more than the source's",
                        offer.origin,
                        offer.layer.digest,
                        offer.layer.size,
                    )
                    continue
                found.setdefault(offer.diff_id, offer)
        except NotFound as error:
            log.log(logging.WARNING if place.is_named_by_user else logging.DEBUG, "no reuse: %s", error)
        except RecompressError as error:
            log.warning("no layers are reused from %s: %s", place.reference, error)
    return found


def _offers(place: Place, platform: Platform) -> Iterator[Offer]:
    for manifest in manifests(place.client, place.reference, platform):
        config = parse_config(place.client.config(manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise Unsupported("its config does not list as many diff_ids as there are layers")
        for diff_id, layer in Image(place.reference, manifest, config).layers:
            # A layer without the annotations for partial pulls may be zstd:chunked all the same.
            if layer.media_type == MediaType.OCI_LAYER_ZSTD:
                yield Offer(diff_id, layer, place.client.repository, str(place.reference))


def manifests(
    client: RepositoryClient, reference: Reference, platform: Platform, level: int = logging.WARNING
) -> Iterator[Manifest]:
    """The image at a reference; of an index, those for the platform, zstd ones first.

    Where it has more of them than are read, that is logged at `level`.
    """
    found = plan.read(client, reference.selector, reference)
    if isinstance(found, Manifest):
        yield found
        return
    digests = dict.fromkeys(entry.digest for entry in reversed(plan.candidates(found, platform)))
    if len(digests) > MOST_ENTRIES:
        log.log(
            level,
            "%s has %d images for %s: only %d of them are searched for layers to reuse",
            *(reference, len(digests), platform, MOST_ENTRIES),
        )
    for digest in islice(digests, MOST_ENTRIES):
        member = reference.with_digest(digest)
        try:
            manifest = plan.read(client, digest, member)
            if isinstance(manifest, Index):
                continue
            plan.check_no_artifact(manifest, member)
        except Artifact:
            continue
        yield manifest
