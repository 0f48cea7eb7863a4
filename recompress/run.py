"""How a run works, from a gzip image to its proven zstd:chunked twin."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from recompress import blobcache, bootable, outcome, partial_pulls, plan, reuse, sbom, skopeo, twin, verify
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
from recompress.judging import Judge, Known
from recompress.known import Search, judged
from recompress.layer import Verdict
from recompress.log import Warnings
from recompress.manifest import Descriptor, MediaType, Platform, normalised
from recompress.placing import check_tag, existing_tag
from recompress.printable import counted
from recompress.progress import Reporter
from recompress.proving import Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient, Served
from recompress.report import LayerReport, RunReport
from recompress.results import Named, Results
from recompress.reuse import Offer
from recompress.sbom import Policy
from recompress.tables import layout_of, with_annotations
from recompress.workspace import Workspace, accepts_everything, workspace

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
    options: RunOptions,
    connection: Connection,
    provers: Provers | None,
    reporter: Reporter,
    source: Image | None = None,
) -> RunReport:
    """Push the zstd:chunked twin of an image, prove it, tag it; the report has the results.

    Without `provers` the proof is of the structure alone. `source` is the image, where it has been read
    already. Raises a RecompressError.
    """
    began = time.monotonic()
    _check(options)
    with ExitStack() as stack:
        check_skopeo = stack.enter_context(skopeo.probing())
        warnings = stack.enter_context(Warnings())
        reporter.step(f"reading {options.image}")
        source_client = stack.enter_context(connection.client(options.image.repository))
        source = source or plan.resolve(source_client, options.image, options.platform)
        check_skopeo()
        bootable.warn(source)
        found = sbom.find(options.sbom, source_client, source, options.image, options.sbom_from)
        destination = source_client
        if options.to and options.to.repository != options.image.repository:
            destination = stack.enter_context(connection.client(options.to.repository))
        done = _Run(options, connection, provers, reporter, source_client, destination, source).run()
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
            level=options.level,
        )


def _check(options: RunOptions) -> None:
    """Raise UsageError for what can be seen to fail before any request."""
    for reference in (options.image, options.to or options.image):
        skopeo.check_repository(reference.repository)
    if options.oci_twin and options.to and options.to.repository != options.image.repository:
        raise UsageError(
            f"--oci-twin needs the gzip layers, which are not in {options.to.repository}: "
            "leave out --to, or choose another tag in the source's repository"
        )


@dataclass(frozen=True, slots=True)
class _Done:
    """The image that the results name, with its layers, and why it is not a twin, where it is not."""

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
        layers = outcome.layers(source, source, twin.why_full(verdicts), {}, {})
        return _Done(Results(named, named if self.options.oci_twin else None), layers)

    def _copied(self) -> Image:
        """The source as it is, pushed to the destination by its digest and read back."""
        source, destination = self.source, self.destination
        destination.check_push()
        with self._workspace() as space:
            self.reporter.step(f"copying {counted(len(source.manifest.layers), 'layer')} with skopeo")
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
        layers = outcome.layers(self.source, self.source, (None,) * len(self.source.manifest.layers), {}, {})
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

    def _own_layers(self) -> dict[Digest, Known] | None:
        """The layers of a source that is zstd, judged; None where they cannot be left as they are.

        That is so where one of them is plain zstd, or where two different ones stand for one diff_id: those
        are judged as what skopeo has pushed.
        """
        source, client = self.source, self.source_client
        found: dict[Digest, Offer] = {}
        for diff_id, layer in source.layers:
            layout = layout_of(client, layer)
            if layout is None:
                return None
            full = with_annotations(layer, layout)
            offer = Offer(diff_id, full, client.repository, str(source.reference))
            if found.setdefault(diff_id, offer) != offer:
                return None
        known = {}
        for offer, verdict in self._judge.outcomes(found.values()):
            if isinstance(verdict, RecompressError):
                raise verdict
            known[offer.diff_id] = Known(offer, verdict)
        return known

    def _recompress(self, own: Mapping[Digest, Known]) -> _Done:
        """Push the twin, prove it, tag it."""
        source, options, destination = self.source, self.options, self.destination
        if source.manifest.is_zstd:
            self._check_tag(may_be_source=False)
        destination.check_push()
        self._ask_for_two_ranges()
        known = {**self._reusable(own), **own} if options.reuse else dict(own)
        made = self._put_together(known)
        if made is None:
            with self._workspace() as space:
                known = self._offered(space, known, own)
                proven: dict[Digest, Known] = {}
                try:
                    made = self._make(space, known, proven)
                except Vanished as error:
                    # Until the proof ends nothing has a tag, and a registry may collect that at any time.
                    log.warning("the twin is made once more: %s", error)
                    made = self._make(space, known, proven)
        if options.reuse:
            self._move_cache_tag(made.twin)
        layers = outcome.layers(source, made.twin, twin.why_full(made.verdicts), known, made.seconds)
        outcome.warn(source, layers, made.verdicts, known)
        named = Named(destination.repository, made.tag, made.twin.digest)
        oci_image = self._oci_image() if options.oci_twin else None
        return _Done(Results(named, oci_image, self._source_by_digest), layers)

    @property
    def _judge(self) -> Judge:
        return Judge(
            source=self.source,
            source_client=self.source_client,
            destination=self.destination,
            connection=self.connection,
            provers=self.provers,
            jobs=self.options.jobs,
            reporter=self.reporter,
        )

    def _reusable(self, own: Mapping[Digest, Known]) -> dict[Digest, Known]:
        """Layers that exist already, proven, but for the source's own."""
        options = self.options
        search = Search(
            source=self.source,
            source_client=self.source_client,
            destination=self.destination,
            connection=self.connection,
            tag=options.to.tag if options.to else None,
            reuse_from=options.reuse_from,
            jobs=options.jobs,
        )
        # Who names a base may be able to push to it: nothing is taken from there that is not proven.
        offers = search.offers(own, in_base=self.provers is not None).values()
        # What there is in a base is nothing to tell.
        if count := sum(not offer.is_from_base for offer in offers):
            what = "proving" if self.provers else "reading the tables of"
            self.reporter.step(f"{what} {counted(count, 'layer')} already in the registry")
        return judged(self._judge, offers)

    def _offered(
        self, space: Workspace, known: Mapping[Digest, Known], own: Mapping[Digest, Known]
    ) -> dict[Digest, Known]:
        """Offer skopeo the layers that are known. Returns those that it may take."""
        if not known:
            return {}
        try:
            database = blobcache.create(space)
            offers = {diff_id: layer.offer for diff_id, layer in known.items()}
            blobcache.fill(database, ((b.digest, offers[d]) for d, b in self.source.layers if d in offers))
        except UnknownCache as error:
            log.warning("no layers are reused: %s", error)
            return dict(own)
        return dict(known)

    def _put_together(self, known: Mapping[Digest, Known]) -> _Made | None:
        """The twin, where its layers are in the destination's repository, so that there is nothing to copy.

        None where one is not, or a policy of skopeo's may not accept the source.
        """
        repository, source = self.destination.repository, self.source
        offers = [known[diff_id].offer for diff_id, _ in source.layers if diff_id in known]
        here = [offer.layer for offer in offers if offer.repository == repository]
        if len(here) < len(source.manifest.layers) or not accepts_everything(self.options.environment):
            return None
        self.destination.expect(*(layer.digest for layer in here))
        verdicts = [known[diff_id].verdict for diff_id, _ in source.layers]
        self.reporter.step(f"nothing to copy: {counted(len(here), 'layer')} already in the registry")
        try:
            return self._finish(here, verdicts, {})
        except Vanished as error:
            # skopeo looks for each, and compresses what is gone.
            log.warning("the twin is made once more: %s", error)
            return None

    def _make(self, space: Workspace, known: Mapping[Digest, Known], proven: dict[Digest, Known]) -> _Made:
        """Have skopeo push the layers, prove them, and finish the twin.

        What was `proven` need not be again; what is now is added. Raises Vanished where something that was
        pushed is not there any more.
        """
        source, destination = self.source, self.destination
        self.reporter.step(f"recompressing {counted(len(source.manifest.layers), 'layer')} with skopeo")
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
        verdicts = self._judge.verdicts(pushed, known, proven)
        return self._finish(pushed.layers, verdicts, copied.seconds)

    def _finish(
        self, layers: Sequence[Descriptor], verdicts: Sequence[Verdict], seconds: Mapping[str, float]
    ) -> _Made:
        """Push the manifest of the twin that has these layers, verify it, and only then put the tag on it."""
        source, options, destination = self.source, self.options, self.destination
        result = twin.push(destination, source, layers, verdicts)
        self._verify_structure(destination, result)
        tag = (options.to and options.to.tag) or twin.default_tag(source.manifest)
        destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        return _Made(result, tag, verdicts, seconds)

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

    def _move_cache_tag(self, result: Image) -> None:
        tag = reuse.cache_tag(self.source.platform)
        if tag is None:
            return
        try:
            self.destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        except RecompressError as error:
            # The twin is there and proven; that the next run finds fewer layers fails nothing.
            log.warning("the tag %s for later runs could not be moved: %s", tag, error)
