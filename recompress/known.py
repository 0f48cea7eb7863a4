"""Layers that need not be compressed: looked for in one place after another, and judged."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from recompress import base, reuse, twin
from recompress.errors import RecompressError
from recompress.image import Image
from recompress.judging import Judge, Known
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient
from recompress.reuse import Offer, Place
from recompress.tables import with_annotations

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """Where layers are looked for: at the destination, in `reuse_from`, in the base that the source names.

    `tag` is that of `--to`, where it has one.
    """

    source: Image
    source_client: RepositoryClient
    destination: RepositoryClient
    connection: Connection
    tag: str | None
    reuse_from: tuple[Reference, ...]
    jobs: int

    def offers(self, known: Container[Digest], *, in_base: bool) -> dict[Digest, Offer]:
        """By diff_id, the first layer that is found for each of the source's that is not `known`.

        The base is looked into last: it alone was not chosen by who runs this.
        """
        wanted = reuse.wanted(self.source, known)
        with ExitStack() as stack:
            found = reuse.find(self.source.platform, self._places(stack), wanted)
        missing = {diff_id: most for diff_id, most in wanted.items() if diff_id not in found}
        if missing and in_base:
            found |= base.find(
                self.source,
                self.source_client,
                self.destination.repository,
                self.connection,
                missing,
                self.jobs,
            )
        return found

    def _places(self, stack: ExitStack) -> list[Place]:
        repository = self.destination.repository
        # Without reuse, a run puts no other tag on its twin than the one that was asked for.
        tags = (twin.default_tag(self.source.manifest), self.tag, reuse.cache_tag(self.source.platform))
        places = [
            Place(self.destination, Reference(repository, tag), False) for tag in dict.fromkeys(tags) if tag
        ]
        for reference in self.reuse_from:
            if reference.repository.registry != repository.registry:
                log.warning("no layers are reused from %s: it is in another registry", reference)
                continue
            client = stack.enter_context(self.connection.client(reference.repository))
            places.append(Place(client, reference, True))
        return places


def judged(judge: Judge, offers: Iterable[Offer]) -> dict[Digest, Known]:
    """By diff_id, those of the layers that clients can pull and that hold what they stand for."""
    known = {}
    for offer, outcome in judge.outcomes(offers):
        if isinstance(outcome, RecompressError):
            level = logging.DEBUG if offer.is_from_base else logging.WARNING
            log.log(level, "not reused from %s: %s", offer.origin, outcome)
        elif outcome.layout:
            full = with_annotations(offer.layer, outcome.layout)
            known[offer.diff_id] = Known(replace(offer, layer=full), outcome)
    return known
