"""How clients have to pull layers: proven by content, or read from their tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from recompress import limits
from recompress.copying import check_layers
from recompress.errors import RecompressError, VerificationFailed
from recompress.image import Image
from recompress.layer import Verdict
from recompress.manifest import Descriptor, Manifest
from recompress.printable import counted
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest
from recompress.registry import Connection, RepositoryClient, retrying
from recompress.reuse import Offer
from recompress.tables import judge
from recompress.threads import mapped


@dataclass(frozen=True, slots=True)
class Known:
    """A layer that exists, with its annotations, and how clients have to pull it."""

    offer: Offer
    verdict: Verdict

    def is_layer(self, layer: Descriptor) -> bool:
        """Whether it is this very layer, with the same tables."""
        own = self.offer.layer
        return (own.digest, own.size) == (layer.digest, layer.size) and (
            not layer.chunked or own.chunked == layer.chunked
        )


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges layers that stand for those of `source`; without `provers`, by their tables."""

    source: Image
    source_client: RepositoryClient
    destination: RepositoryClient
    connection: Connection
    provers: Provers | None
    jobs: int
    reporter: Reporter

    def outcomes(
        self, offers: Iterable[Offer], *, is_new: bool = False
    ) -> list[tuple[Offer, Verdict | RecompressError]]:
        """For each layer how clients have to pull it, or what is wrong with it.

        Those that are new were pushed by this run.
        """
        if self.provers is None:
            return self._by_tables(tuple(offers), is_new=is_new)
        bounds = {diff_id: limits.most_uncompressed(layer) for diff_id, layer in self.source.layers}
        claims = {self._claim(offer, bounds[offer.diff_id], is_new=is_new): offer for offer in offers}
        outcomes = self.provers.prove(claims, self.reporter)
        return [(claims[claim], outcome) for claim, outcome in outcomes.items()]

    def _claim(self, offer: Offer, most: int, *, is_new: bool) -> Claim:
        # A base is read as skopeo mounts from it, see base.find.
        credentials_of = self.destination.repository if offer.is_from_base else None
        return Claim(
            offer.repository,
            offer.layer,
            offer.diff_id,
            most,
            is_new=is_new,
            credentials_of=credentials_of,
        )

    def _by_tables(
        self, offers: Sequence[Offer], *, is_new: bool
    ) -> list[tuple[Offer, Verdict | RecompressError]]:
        with ExitStack() as stack:
            clients = {client.repository: client for client in (self.source_client, self.destination)}
            for repository in {offer.repository for offer in offers} - clients.keys():
                clients[repository] = stack.enter_context(self.connection.client(repository))

            def outcome(offer: Offer) -> Verdict | RecompressError:
                client = clients[offer.repository]
                if is_new:
                    client.expect(offer.layer.digest)
                try:
                    return retrying(self.connection.attempts, partial(judge, client, offer.layer))
                except RecompressError as error:
                    return error

            return list(zip(offers, mapped(outcome, offers, self.jobs), strict=True))

    def verdicts(
        self, pushed: Manifest, known: Mapping[Digest, Known], proven: dict[Digest, Known]
    ) -> list[Verdict]:
        """For each layer of the image that was pushed to the destination how clients have to pull it.

        What was judged before is not judged again. What is judged now is added to `proven`, even where this
        ends because a layer cannot be read. Raises Unsupported for a source layer of which no zstd:chunked
        layer can be made.
        """
        source, repository = self.source, self.destination.repository
        before = {**proven, **known}
        fresh = [
            Offer(diff_id, after, repository, str(source.reference))
            for (diff_id, _), after in zip(source.layers, pushed.layers, strict=True)
            if not (diff_id in before and before[diff_id].is_layer(after))
        ]
        unreadable: RecompressError | None = None
        # Two layers may stand for one diff_id.
        judged: list[Known] = []
        if fresh:
            what = "verifying the content of" if self.provers else "reading the tables of"
            self.reporter.step(f"{what} {counted(len(fresh), 'layer')}")
        for offer, outcome in self.outcomes(fresh, is_new=True):
            if isinstance(outcome, VerificationFailed):
                # skopeo cannot make the same stream of every layer: then there is no twin, and nobody lies.
                check_layers(self.source_client, source, offer.diff_id)
                raise outcome
            if isinstance(outcome, RecompressError):
                unreadable = unreadable or outcome
            else:
                judged.append(Known(offer, outcome))
                proven[offer.diff_id] = judged[-1]
        if unreadable:
            raise unreadable
        verdicts = {layer.offer.layer.digest: layer.verdict for layer in (*before.values(), *judged)}
        return [verdicts[layer.digest] for layer in pushed.layers]
