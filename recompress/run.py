"""How a run works, from a gzip image to its proven zstd:chunked twin."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from recompress import blobcache, limits, partial_pulls, plan, reuse, sbom, skopeo, twin, verify
from recompress.blobcache import UnknownCache
from recompress.copying import Copy, check_layers
from recompress.errors import (
    RecompressError,
    Refused,
    Unsupported,
    UsageError,
    Vanished,
    VerificationFailed,
)
from recompress.image import Image
from recompress.layer import LARGE_TOC_BYTES, Verdict
from recompress.log import Warnings
from recompress.manifest import Descriptor, Manifest, MediaType, Platform, normalised
from recompress.placing import check_tag, existing_tag
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient, Served, retrying
from recompress.report import Action, LayerReport, RunReport
from recompress.results import Named, Results
from recompress.reuse import Offer, Place
from recompress.sbom import Policy
from recompress.tables import judge, layout_of, with_annotations
from recompress.workspace import Workspace, workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `recompress run` is asked to do; the names are those of the command line."""

    image: Reference
    platform: Platform | None
    to: Reference | None
    level: int | None
    jobs: int
    reuse: bool
    reuse_from: tuple[Reference, ...]
    oci_twin: bool
    keep_impossible: bool
    require_partial_pulls: bool
    environment: Mapping[str, str]
    sbom: Policy = Policy.AUTO
    sbom_from: frozenset[Digest] = frozenset()


def run(
    options: RunOptions, connection: Connection, provers: Provers | None, reporter: Reporter
) -> RunReport:
    """Push the zstd:chunked twin of an image, prove it, tag it; the report has the results.

    Without `provers` the proof is of the structure alone. Raises a RecompressError.
    """
    began = time.monotonic()
    skopeo.probe()
    _check(options)
    with ExitStack() as stack:
        warnings = stack.enter_context(Warnings())
        reporter.step(f"reading {options.image}")
        source_client = stack.enter_context(connection.client(options.image.repository))
        source = plan.resolve(source_client, options.image, options.platform)
        found = sbom.find(options.sbom, source_client, source, options.image, options.sbom_from)
        repository = options.to.repository if options.to else options.image.repository
        destination = stack.enter_context(connection.client(repository))
        done = _Run(
            options,
            connection,
            provers,
            reporter,
            source_client,
            destination,
            source,
        ).run()
        named, attached = done.named, None
        if found:
            reporter.step("deriving the SBOM")
            at = source_client if named.image.repository == source_client.repository else destination
            attached = sbom.attach(found, options.sbom, source_client, at, source, named)
            named = replace(named, sbom=attached.blob.digest if attached else None)
        return RunReport(
            source=source,
            twin=Reference(named.image.repository, named.image.tag, named.image.digest),
            layers=done.layers,
            why_kept=done.why_kept,
            seconds=time.monotonic() - began,
            results=named.files(),
            warnings=tuple(warnings.texts),
            verified="content" if provers else "structure",
            sbom=attached,
        )


def _check(options: RunOptions) -> None:
    """Raise UsageError for what can be seen to fail before any request."""
    for reference in (options.image, options.to or options.image):
        skopeo.check_repository(reference.repository)
    if options.oci_twin and options.to and options.to.repository != options.image.repository:
        raise UsageError(
            f"--oci-twin goes beside the gzip layers, which are not in {options.to.repository}: "
            "leave --to away, or choose a tag only"
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """A layer that exists already, with its annotations, and how clients have to pull it."""

    offer: Offer
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Done:
    """The image that the results name, with its layers, and why it is not a twin where it is none."""

    named: Results
    layers: tuple[LayerReport, ...]
    why_kept: str | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """The twin, its tag, how clients have to pull its layers, and what each took skopeo."""

    twin: Image
    tag: str
    verdicts: Sequence[Verdict]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: `source` is read by `source_client`, `destination` takes the twin."""

    options: RunOptions
    connection: Connection
    provers: Provers | None
    reporter: Reporter
    source_client: RepositoryClient
    destination: RepositoryClient
    source: Image

    def run(self) -> _Done:
        """Make the twin; leave a source alone that is one, or that can have none and may be kept."""
        # A source that is zstd:chunked goes where it is already.
        self._check_tag(may_be_source=self.source.manifest.is_zstd)
        try:
            plan.check_possible(self.source)
            own = self._own_layers() if self.source.manifest.is_zstd else None
            if own is None:
                return self._recompress({})
            verdicts = [own[diff_id].verdict for diff_id, _ in self.source.layers]
            if verify.wrongly_annotated(self.source.manifest.layers, verdicts):
                return self._recompress(own)
            return self._leave(verdicts)
        except Unsupported as error:
            if not self.options.keep_impossible:
                raise
            log.warning("there is no twin, and the results name the source: %s", error)
            return self._keep(str(error))

    def _check_tag(self, *, may_be_source: bool) -> None:
        if self.options.to:
            check_tag(self.destination, self.options.to, self.source, may_be_source=may_be_source)

    def _leave(self, verdicts: Sequence[Verdict]) -> _Done:
        """Hand out the digest of a source that is zstd:chunked; it is copied where it is wanted elsewhere."""
        source, to, destination = self.source, self.options.to, self.destination
        result = source if destination.repository == source.reference.repository else self._copied()
        self._verify_structure(destination, result)
        if to is None:
            tag = existing_tag(self.source_client, self.options.image, source.digest)
        else:
            tag = to.tag or twin.default_tag(source.manifest)
            destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        named = Named(destination.repository, tag, source.digest)
        layers = self._layers(source, twin.why_full(verdicts), {}, {})
        return _Done(Results(named, named if self.options.oci_twin else None), layers)

    def _copied(self) -> Image:
        """The source as it is, pushed to the destination by its digest and read back."""
        source, destination = self.source, self.destination
        destination.check_push()
        with self._workspace() as space:
            self.reporter.step(f"copying {len(source.manifest.layers)} layers with skopeo")
            self._skopeo(space, source.reference, is_exact=True)
        destination.expect(source.digest)
        return replace(source, manifest=twin.read_back(destination, source.digest))

    def _workspace(self) -> AbstractContextManager[Workspace]:
        repositories = (self.source_client.repository, self.destination.repository)
        return workspace(self.connection, repositories, self.options.environment)

    def _skopeo(self, space: Workspace, reference: Reference, *, is_exact: bool = False) -> skopeo.Copied:
        return Copy(
            source=self.source,
            reference=reference,
            source_client=self.source_client,
            destination=self.destination,
            reporter=self.reporter,
            level=self.options.level,
            jobs=self.options.jobs,
            is_exact=is_exact,
        ).run(space, self.connection.attempts)

    def _keep(self, reason: str) -> _Done:
        """The source takes the place of the twin that it cannot have."""
        named = self._oci_image() if self.options.oci_twin else self._named_source()
        layers = self._layers(self.source, (None,) * len(self.source.manifest.layers), {}, {})
        made_of = None if named.digest == self.source.digest else self._source_by_digest
        results = Results(named, named if self.options.oci_twin else None, made_of)
        return _Done(results, layers, reason)

    @property
    def _source_by_digest(self) -> Named:
        """The source's manifest, of an index that of the platform."""
        return Named(self.source_client.repository, None, self.source.digest)

    def _named_source(self) -> Named:
        tag = existing_tag(self.source_client, self.options.image, self.source.digest)
        return Named(self.source_client.repository, tag, self.source.digest)

    def _oci_image(self) -> Named:
        """The gzip image as an OCI manifest, pushed beside the source unless that is one."""
        digest = twin.push_oci(self.source_client, self.source.manifest)
        if digest == self.source.digest:
            return self._named_source()
        return Named(self.source_client.repository, twin.oci_tag(self.source.manifest), digest)

    def _own_layers(self) -> dict[Digest, _Known] | None:
        """The layers of a source that is zstd, judged; None where one of them is plain zstd."""
        source, client = self.source, self.source_client
        found: dict[Digest, Offer] = {}
        for diff_id, layer in source.layers:
            layout = layout_of(client, layer)
            if layout is None:
                return None
            full = with_annotations(layer, layout)
            found[diff_id] = Offer(diff_id, full, client.repository, str(source.reference))
        known = {}
        for offer, outcome in self._judge(found.values()):
            if isinstance(outcome, RecompressError):
                raise outcome
            known[offer.diff_id] = _Known(offer, outcome)
        return known

    def _recompress(self, own: Mapping[Digest, _Known]) -> _Done:
        """Push the twin, prove it, tag it."""
        source, options, destination = self.source, self.options, self.destination
        if source.manifest.is_zstd:
            self._check_tag(may_be_source=False)
        destination.check_push()
        self._ask_for_two_ranges()
        with self._workspace() as space:
            known = {**self._reusable(own, space), **own} if options.reuse else dict(own)
            proven: dict[Digest, _Known] = {}
            try:
                made = self._make(space, known, proven)
            except Vanished as error:
                # Until the proof ends nothing has a tag, and a registry may collect that at any time.
                log.warning("the twin is made once more: %s", error)
                made = self._make(space, known, proven)
        if options.reuse:
            self._move_cache_tag(made.twin)
        layers = self._layers(made.twin, twin.why_full(made.verdicts), known, made.seconds)
        self._warn(layers, made.verdicts, known)
        named = Named(destination.repository, made.tag, made.twin.digest)
        oci_image = self._oci_image() if options.oci_twin else None
        return _Done(Results(named, oci_image, self._source_by_digest), layers)

    def _make(self, space: Workspace, known: Mapping[Digest, _Known], proven: dict[Digest, _Known]) -> _Made:
        """Have skopeo push the layers, prove them, push the twin's manifest, and only then put the tag on it.

        What was `proven` need not be again; what is now is added. Raises Vanished where something that was
        pushed is not there any more.
        """
        source, options, destination = self.source, self.options, self.destination
        self.reporter.step(f"recompressing {len(source.manifest.layers)} layers with skopeo")
        copied = self._skopeo(space, self._readable_by_skopeo())
        destination.expect(copied.digest)
        pushed = twin.read_back(destination, copied.digest)
        destination.expect(pushed.config.digest, *(layer.digest for layer in pushed.layers))
        try:
            known_digests = {layer.offer.layer.digest for layer in known.values()}
            verify.recompressed(source.manifest, pushed, source.config, known_digests)
        except VerificationFailed:
            # skopeo ends well with some layers that are cut short, and pushes what there is of them.
            check_layers(self.source_client, source)
            raise
        twin.check_diff_ids(destination, pushed, source.config)
        verdicts = self._verdicts(pushed, known, proven)
        result = twin.push(destination, source, pushed.layers, verdicts)
        self._verify_structure(destination, result)
        tag = (options.to and options.to.tag) or twin.default_tag(source.manifest)
        destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        return _Made(result, tag, verdicts, copied.seconds)

    def _ask_for_two_ranges(self) -> None:
        """Raise Unsupported where the registry breaks partial pulls, before any work is done.

        It is asked of the source's largest layer, where the twin goes to the same registry.
        """
        client, layers = self.source_client, self.source.manifest.layers
        is_same_registry = client.repository.registry == self.destination.repository.registry
        if not (self.options.require_partial_pulls and is_same_registry and layers):
            return
        largest = max(layers, key=lambda layer: layer.size)
        if ranges := partial_pulls.ranges_like_podmans(largest.size):
            partial_pulls.check(client, largest.digest, ranges)

    def _readable_by_skopeo(self) -> Reference:
        """The source, or what is the same to clients where skopeo does not recompress its media types.

        Raises Unsupported where that cannot be pushed beside the source.
        """
        source = self.source
        content = normalised(source.manifest)
        if content is None:
            return source.reference
        digest = Digest.of(content)
        try:
            self.source_client.put_manifest(digest, Served(content, MediaType.OCI_MANIFEST))
        except Refused as error:
            raise Unsupported(
                f"{source.reference} is an OCI manifest with Docker layers: skopeo needs one with OCI layers "
                f"beside it, which cannot be pushed there ({error})"
            ) from None
        return source.reference.with_digest(digest)

    def _verify_structure(self, client: RepositoryClient, result: Image) -> None:
        self.reporter.step("verifying the structure of the result")
        require = self.options.require_partial_pulls
        verify.structure(client, self.source, result, self.options.jobs, require_partial_pulls=require)

    def _reusable(self, own: Mapping[Digest, _Known], space: Workspace) -> dict[Digest, _Known]:
        """Find layers that exist already, judge them, and tell skopeo of them and of the source's own."""
        with ExitStack() as stack:
            found = reuse.find(self.source, self._places(stack), own)
        if not found and not own:
            return {}
        known: dict[Digest, _Known] = {}
        try:
            database = blobcache.create(space)
            if found:
                what = "proving" if self.provers else "reading the tables of"
                self.reporter.step(f"{what} {len(found)} layers that exist already")
            for offer, outcome in self._judge(found.values()):
                if isinstance(outcome, RecompressError):
                    log.warning("not reused from %s: %s", offer.origin, outcome)
                elif outcome.layout:
                    full = with_annotations(offer.layer, outcome.layout)
                    known[offer.diff_id] = _Known(replace(offer, layer=full), outcome)
            offers = {diff_id: layer.offer for diff_id, layer in {**known, **own}.items()}
            blobcache.fill(database, ((b.digest, offers[d]) for d, b in self.source.layers if d in offers))
        except UnknownCache as error:
            log.warning("no layers are reused: %s", error)
            return {}
        return known

    def _places(self, stack: ExitStack) -> list[Place]:
        repository, source = self.destination.repository, self.source
        # Without reuse, a run puts no other tag on its twin than the one that it is told to.
        to = self.options.to.tag if self.options.to else None
        tags = dict.fromkeys((twin.default_tag(source.manifest), to, reuse.cache_tag(source.platform)))
        places = [Place(self.destination, Reference(repository, tag), False) for tag in tags if tag]
        for reference in self.options.reuse_from:
            if reference.repository.registry != repository.registry:
                log.warning("no layers are reused from %s: it is in another registry", reference)
                continue
            client = stack.enter_context(self.connection.client(reference.repository))
            places.append(Place(client, reference, True))
        return places

    def _judge(
        self, offers: Iterable[Offer], *, is_new: bool = False
    ) -> Iterator[tuple[Offer, Verdict | RecompressError]]:
        """Prove layers, or without provers read their tables: how clients have to pull each, or an error.

        Those that are new were pushed by this run.
        """
        if self.provers is None:
            for offer in offers:
                with self.connection.client(offer.repository) as client:
                    if is_new:
                        client.expect(offer.layer.digest)
                    try:
                        yield offer, retrying(self.connection.attempts, partial(judge, client, offer.layer))
                    except VerificationFailed as error:
                        yield offer, error
            return
        bounds = {diff_id: limits.most_uncompressed(layer) for diff_id, layer in self.source.layers}
        claims = {
            Claim(o.repository, o.layer, o.diff_id, bounds[o.diff_id], is_new=is_new): o for o in offers
        }
        for claim, outcome in self.provers.prove(claims, self.reporter).items():
            yield claims[claim], outcome

    def _verdicts(
        self, pushed: Manifest, known: Mapping[Digest, _Known], proven: dict[Digest, _Known]
    ) -> list[Verdict]:
        """Prove what skopeo pushed, but for what was proven before: how clients have to pull each layer.

        What is proven now is added, also where this ends for a layer that cannot be read.
        """
        repository, source = self.destination.repository, self.source
        before = {**proven, **known}
        fresh = [
            Offer(diff_id, after, repository, str(source.reference))
            for (diff_id, _), after in zip(source.layers, pushed.layers, strict=True)
            if not _is_known(before.get(diff_id), after)
        ]
        unreadable: RecompressError | None = None
        if fresh:
            what = "verifying the content of" if self.provers else "reading the tables of"
            self.reporter.step(f"{what} {len(fresh)} layers")
        for offer, outcome in self._judge(fresh, is_new=True):
            if isinstance(outcome, VerificationFailed):
                # skopeo cannot make the same stream of every layer: then there is no twin, and nobody lies.
                check_layers(self.source_client, source, offer.diff_id)
                raise outcome
            if isinstance(outcome, RecompressError):
                unreadable = unreadable or outcome
            else:
                proven[offer.diff_id] = _Known(offer, outcome)
        if unreadable:
            raise unreadable
        verdicts = {layer.offer.layer.digest: layer.verdict for layer in (*proven.values(), *known.values())}
        return [verdicts[layer.digest] for layer in pushed.layers]

    def _move_cache_tag(self, result: Image) -> None:
        tag = reuse.cache_tag(self.source.platform)
        if tag is None:
            return
        try:
            self.destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        except RecompressError as error:
            # The twin is there and proven; that the next run finds fewer layers fails nothing.
            log.warning("the tag %s for later runs could not be moved: %s", tag, error)

    def _layers(
        self,
        result: Image,
        reasons: Sequence[str | None],
        known: Mapping[Digest, _Known],
        seconds: Mapping[str, float],
    ) -> tuple[LayerReport, ...]:
        layers = []
        for (diff_id, before), (_, after), reason in zip(
            self.source.layers, result.layers, reasons, strict=True
        ):
            if before.digest == after.digest:
                action, origin = Action.KEPT, None
            elif (exists := known.get(diff_id)) and exists.offer.layer.digest == after.digest:
                action, origin = Action.REUSED, exists.offer.origin
            else:
                action, origin = Action.COMPRESSED, None
            took = seconds.get(before.digest.short)
            layers.append(LayerReport(diff_id, before, after, action, origin, took, reason))
        return tuple(layers)

    def _warn(
        self, layers: Sequence[LayerReport], verdicts: Sequence[Verdict], known: Mapping[Digest, _Known]
    ) -> None:
        for layer, verdict in zip(layers, verdicts, strict=True):
            if layer.why_full:
                log.warning("clients pull layer %s in full: %s", layer.twin.digest, layer.why_full)
            elif verdict.layout and verdict.layout.toc.uncompressed > LARGE_TOC_BYTES:
                log.warning(
                    "layer %s has a table of contents of %d bytes: podman from before 2025 fails to pull it",
                    layer.twin.digest,
                    verdict.layout.toc.uncompressed,
                )
        if layers and all(layer.why_full for layer in layers):
            log.warning("no layer of the twin can be pulled partially: it saves clients nothing")
        compressed = {layer.diff_id for layer in layers if layer.action is Action.COMPRESSED}
        if ignored := compressed & known.keys():
            taken = len(known) - len(ignored)
            log.warning("skopeo took %d of %d layers that it could have reused", taken, len(known))
        source = self.source
        fields = ", ".join(source.config.docker_only_fields)
        if fields and source.manifest.media_type == MediaType.DOCKER_MANIFEST:
            log.warning(
                "the config has %s: the twin keeps that and Docker uses it, "
                "but podman ignores Healthcheck in any OCI manifest",
                fields,
            )


def _is_known(known: _Known | None, layer: Descriptor) -> bool:
    if known is None:
        return False
    exists = known.offer.layer
    return (exists.digest, exists.size) == (layer.digest, layer.size) and (
        not layer.chunked or exists.chunked == layer.chunked
    )
