"""How a run works, from a gzip image to its proven zstd:chunked twin."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recompress import blobcache, limits, plan, results, reuse, signals, skopeo, twin, verify
from recompress.blobcache import UnknownCache
from recompress.errors import RecompressError, Unsupported, UsageError, about
from recompress.image import Image
from recompress.log import Warnings
from recompress.manifest import Descriptor, MediaType, Platform
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient, Served, retrying
from recompress.report import Action, LayerReport, RunReport
from recompress.results import Results
from recompress.reuse import Offer, Place
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
    results_dir: Path | None
    environment: Mapping[str, str]


def run(
    options: RunOptions, connection: Connection, provers: Provers | None, reporter: Reporter
) -> RunReport:
    """Push the zstd:chunked twin of an image, prove it, tag it, write the results.

    Without `provers` the proof is of the structure alone. Raises a RecompressError, and then there
    are no results.
    """
    began = time.monotonic()
    skopeo.probe()
    _check(options)
    with ExitStack() as stack:
        warnings = stack.enter_context(Warnings())
        reporter.step(f"reading {options.image}")
        source_client = stack.enter_context(connection.client(options.image.repository))
        source = plan.resolve(source_client, options.image, options.platform)
        destination = options.to.repository if options.to else options.image.repository
        this = _Run(
            options,
            connection,
            provers,
            reporter,
            source_client,
            stack.enter_context(connection.client(destination)),
            source,
        )
        named, layers = this.keep() if source.manifest.is_zstd_chunked else this.recompress()
        files = named.files()
        if options.results_dir:
            signals.too_late_to_end()
            results.write(options.results_dir, files)
        return RunReport(
            source=source,
            twin=Reference(named.repository, named.tag, named.digest),
            layers=layers,
            seconds=time.monotonic() - began,
            results=files,
            warnings=tuple(warnings.texts),
            verified="content" if provers else "structure",
        )


def _check(options: RunOptions) -> None:
    """Raise UsageError for what can be seen to fail before any request."""
    for reference in (options.image, options.to or options.image):
        skopeo.check_repository(reference.repository)
    if options.results_dir:
        results.check_directory(options.results_dir)
    if options.oci_twin and options.to and options.to.repository != options.image.repository:
        raise UsageError(
            f"--oci-twin goes beside the gzip layers, which are not in {options.to.repository}: "
            "leave --to away, or choose a tag only"
        )


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

    def keep(self) -> tuple[Results, tuple[LayerReport, ...]]:
        """There is nothing to do for a source that is zstd:chunked, but its digest is handed out too."""
        source = self.source
        self._prove(self.source_client, source, {})
        oci_twin = source.digest if self.options.oci_twin else None
        named = Results(self.source_client.repository, self.options.image.tag, source.digest, oci_twin)
        return named, self._layers(source, {}, {})

    def recompress(self) -> tuple[Results, tuple[LayerReport, ...]]:
        """Push the twin, prove it, tag it."""
        source, options, destination = self.source, self.options, self.destination
        destination.check_push()
        repositories = (self.source_client.repository, destination.repository)
        with workspace(self.connection, repositories, options.environment) as space:
            offers = self._offer(space) if options.reuse else {}
            self.reporter.step(f"recompressing {len(source.manifest.layers)} layers with skopeo")
            copied = self._copy(space)
        pushed = twin.read_back(destination, copied.digest)
        result = twin.with_config(destination, pushed, source.config)
        self._prove(destination, result, offers)
        tag = (options.to and options.to.tag) or twin.default_tag(source.manifest)
        destination.tag(tag, Served(result.manifest.content, result.manifest.media_type))
        if options.reuse:
            self._move_cache_tag(result)
        layers = self._layers(result, offers, copied.seconds)
        self._warn(offers, layers)
        oci_twin = twin.push_oci(destination, source.manifest) if options.oci_twin else None
        return Results(destination.repository, tag, result.digest, oci_twin), layers

    def _offer(self, space: Workspace) -> dict[Digest, Offer]:
        """Find layers that exist already, prove them, and tell skopeo of them; returns the proven ones."""
        with ExitStack() as stack:
            found = reuse.find(self.source, self._places(stack))
        if not found:
            return {}
        try:
            database = blobcache.create(space.directory, space.environment)
            proven = self._proven(found)
            known = ((layer.digest, proven[d]) for d, layer in self.source.layers if d in proven)
            blobcache.fill(database, known)
        except UnknownCache as error:
            log.warning("no layers are reused: %s", error)
            return {}
        return proven

    def _places(self, stack: ExitStack) -> list[Place]:
        repository, source = self.destination.repository, self.source
        tags = (twin.default_tag(source.manifest), reuse.cache_tag(source.platform))
        places = [Place(self.destination, Reference(repository, tag), False) for tag in tags if tag]
        for reference in self.options.reuse_from:
            if reference.repository.registry != repository.registry:
                log.warning("no layers are reused from %s: it is in another registry", reference)
                continue
            client = stack.enter_context(self.connection.client(reference.repository))
            places.append(Place(client, reference, True))
        return places

    def _proven(self, found: Mapping[Digest, Offer]) -> dict[Digest, Offer]:
        if self.provers is None:
            return dict(found)
        self.reporter.step(f"proving {len(found)} layers that exist already")
        bounds = self._most_uncompressed()
        claims = {
            Claim(offer.repository, offer.layer, diff_id, bounds[diff_id]): offer
            for diff_id, offer in found.items()
        }
        proven: dict[Digest, Offer] = {}
        for claim, outcome in self.provers.prove(claims, self.reporter).items():
            if isinstance(outcome, RecompressError):
                log.warning("not reused from %s: %s", claims[claim].origin, outcome)
            else:
                proven[claim.diff_id] = claims[claim]
        return proven

    def _most_uncompressed(self) -> dict[Digest, int]:
        """By diff_id, the most bytes that a layer can be uncompressed."""
        return {diff_id: limits.most_uncompressed(layer) for diff_id, layer in self.source.layers}

    def _copy(self, space: Workspace) -> skopeo.Copied:
        options, source = self.options, self.source
        command = skopeo.copy_command(
            source.reference, self.destination.repository, space, options.level, options.jobs
        )
        on_layer = _layer_progress(source, self.reporter)

        def attempt() -> skopeo.Copied:
            try:
                with about(str(source.reference), Unsupported):
                    return skopeo.copy(command, space, on_layer)
            except skopeo.SkopeoFailed as error:
                log.debug("%s", error)
                # What stands in the way is asked of the registry: its answers have status codes,
                # skopeo's words have none. A question that used up its tries ends this, too.
                plan.read(self.source_client, source.digest, source.reference)
                for layer in source.manifest.layers:
                    self.source_client.stat_blob(layer.digest)
                self.destination.check_push()
                raise

        return retrying(self.connection.attempts, attempt)

    def _prove(self, client: RepositoryClient, result: Image, proven: Mapping[Digest, Offer]) -> None:
        """Raise VerificationFailed unless `result` holds exactly the source's image.

        Layers that were proven before they were reused are not read again.
        """
        self.reporter.step("verifying the structure of the result")
        verify.structure(client, self.source, result, self.options.jobs)
        if self.provers is None:
            return
        bounds = self._most_uncompressed()
        claims = [
            Claim(client.repository, layer, diff_id, bounds[diff_id])
            for diff_id, layer in result.layers
            if not _is_offer(proven.get(diff_id), layer)
        ]
        if claims:
            self.reporter.step(f"verifying the content of {len(claims)} layers")
        for outcome in self.provers.prove(claims, self.reporter).values():
            if isinstance(outcome, RecompressError):
                raise outcome

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
        self, result: Image, offers: Mapping[Digest, Offer], seconds: Mapping[str, float]
    ) -> tuple[LayerReport, ...]:
        def report(diff_id: Digest, before: Descriptor, after: Descriptor) -> LayerReport:
            offer = offers.get(diff_id)
            if before.digest == after.digest:
                action, origin = Action.KEPT, None
            elif offer and _is_offer(offer, after):
                action, origin = Action.REUSED, offer.origin
            else:
                action, origin = Action.COMPRESSED, None
            return LayerReport(diff_id, before, after, action, origin, seconds.get(before.digest.short))

        pairs = zip(self.source.layers, result.layers, strict=True)
        return tuple(report(diff_id, before, after) for (diff_id, before), (_, after) in pairs)

    def _warn(self, offers: Mapping[Digest, Offer], layers: tuple[LayerReport, ...]) -> None:
        source = self.source
        compressed = {layer.diff_id for layer in layers if layer.action is Action.COMPRESSED}
        if ignored := compressed & offers.keys():
            taken = len(offers) - len(ignored)
            log.warning("skopeo took %d of %d layers that it could have reused", taken, len(offers))
        fields = ", ".join(source.config.docker_only_fields)
        if fields and source.manifest.media_type == MediaType.DOCKER_MANIFEST:
            log.warning(
                "the config has %s: the twin keeps that and Docker uses it, "
                "but podman ignores Healthcheck in any OCI manifest",
                fields,
            )


def _layer_progress(source: Image, reporter: Reporter) -> Callable[[str, int | None], None]:
    sizes = {layer.digest.short: layer.size for layer in source.manifest.layers}

    def on_layer(digest: str, done: int | None) -> None:
        title = f"layer {digest}"
        if done is not None:
            reporter.update(title, done, sizes.get(digest, done))
        else:
            # skopeo names a layer that it takes over by the digest it has at the destination.
            reporter.finish(title, "done" if digest in sizes else "reused")

    return on_layer


def _is_offer(offer: Offer | None, layer: Descriptor) -> bool:
    return offer is not None and (
        (offer.layer.digest, offer.layer.size, offer.layer.chunked)
        == (layer.digest, layer.size, layer.chunked)
    )
