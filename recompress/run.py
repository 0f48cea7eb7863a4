"""The way of the data, from a gzip image to its proven zstd:chunked twin."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recompress import blobcache, limits, plan, proving, results, reuse, skopeo, twin, verify
from recompress.blobcache import Offer, UnknownCache
from recompress.errors import RecompressError, Unsupported, UsageError
from recompress.manifest import Descriptor, Manifest, MediaType, Platform
from recompress.plan import Image
from recompress.progress import Reporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient, Served, retrying
from recompress.report import Action, LayerReport, RunReport, Warnings
from recompress.results import Results
from recompress.reuse import Place
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


@dataclass(frozen=True, slots=True)
class _Run:
    """What the steps of one run share: `origin` has the source, `client` takes the twin."""

    options: RunOptions
    connection: Connection
    provers: Provers | None
    reporter: Reporter
    origin: RepositoryClient
    client: RepositoryClient
    source: Image


def run(
    options: RunOptions, connection: Connection, provers: Provers | None, reporter: Reporter
) -> RunReport:
    """Push the zstd:chunked twin of an image, prove it, tag it, write the results.

    Without `provers` the proof is of the structure alone. Raises a RecompressError, and then there
    are no results.
    """
    began = time.monotonic()
    skopeo.probe()
    for reference in (options.image, options.to or options.image):
        skopeo.check_repository(reference.repository)
    if options.results_dir:
        results.check_directory(options.results_dir)
    if options.oci_twin and options.to and options.to.repository != options.image.repository:
        raise UsageError(
            f"--oci-twin goes beside the gzip layers, which are not in {options.to.repository}: "
            "leave --to away, or choose a tag only"
        )
    with ExitStack() as stack:
        warnings = stack.enter_context(Warnings())
        reporter.step(f"reading {options.image}")
        origin = stack.enter_context(connection.client(options.image.repository))
        source = plan.resolve(origin, options.image, options.platform)
        client = stack.enter_context(
            connection.client(options.to.repository if options.to else origin.repository)
        )
        this = _Run(options, connection, provers, reporter, origin, client, source)
        if source.manifest.is_zstd_chunked:
            named, layers = _keep(this)
        else:
            named, layers = _recompress(this)
        files = named.files()
        if options.results_dir:
            limits.too_late_to_end()
            results.write(options.results_dir, files)
        at = Reference(named.repository, named.tag, named.digest)
        return RunReport(
            source,
            at,
            layers,
            time.monotonic() - began,
            files,
            tuple(warnings.texts),
            "content" if provers else "structure",
        )


def _keep(this: _Run) -> tuple[Results, tuple[LayerReport, ...]]:
    """There is nothing to do for a source that is zstd:chunked, but its digest is handed out too."""
    manifest = this.source.manifest
    _prove(this, this.origin, manifest, {})
    oci_twin = manifest.digest if this.options.oci_twin else None
    named = Results(this.origin.repository, this.options.image.tag, manifest.digest, oci_twin)
    return named, _layers(this, manifest, {}, {})


def _recompress(this: _Run) -> tuple[Results, tuple[LayerReport, ...]]:
    client, source, options = this.client, this.source, this.options
    client.check_push()
    repositories = (this.origin.repository, client.repository)
    with workspace(this.connection, repositories, options.environment) as space:
        offers = _offer(this, space) if options.reuse else {}
        this.reporter.step(f"recompressing {len(source.manifest.layers)} layers with skopeo")
        copied = _copy(this, space)
    pushed = twin.read_back(client, copied.digest)
    result = twin.with_config(client, pushed, source.config)
    _prove(this, client, result, offers)
    tag = (options.to and options.to.tag) or twin.default_tag(source.manifest)
    client.tag(tag, Served(result.content, result.media_type))
    if options.reuse:
        _move_cache_tag(this, result)
    layers = _layers(this, result, offers, copied.seconds)
    _warn(source, offers, layers)
    oci_twin = twin.push_oci(client, source.manifest) if options.oci_twin else None
    return Results(client.repository, tag, result.digest, oci_twin), layers


def _offer(this: _Run, space: Workspace) -> dict[Digest, Offer]:
    """Find layers that exist already, prove them, and tell skopeo of them; returns the proven ones."""
    with ExitStack() as stack:
        found = reuse.find(this.source, _places(this, stack))
    if not found:
        return {}
    try:
        database = blobcache.create(space.directory, space.environment)
        proven = _proven(this, found)
        known = ((layer.digest, proven[d]) for d, layer in this.source.layers if d in proven)
        blobcache.fill(database, known)
    except UnknownCache as error:
        log.warning("no layers are reused: %s", error)
        return {}
    return proven


def _places(this: _Run, stack: ExitStack) -> list[Place]:
    repository, source = this.client.repository, this.source
    tags = (twin.default_tag(source.manifest), reuse.cache_tag(source.platform))
    places = [Place(this.client, Reference(repository, tag), False) for tag in tags if tag]
    for reference in this.options.reuse_from:
        if reference.repository.registry != repository.registry:
            log.warning("no layers are reused from %s: it is in another registry", reference)
            continue
        client = stack.enter_context(this.connection.client(reference.repository))
        places.append(Place(client, reference, True))
    return places


def _proven(this: _Run, found: Mapping[Digest, Offer]) -> dict[Digest, Offer]:
    if this.provers is None:
        return dict(found)
    this.reporter.step(f"proving {len(found)} layers that exist already")
    bounds = _most_uncompressed(this.source)
    claims = {
        Claim(offer.repository, offer.layer, diff_id, bounds[diff_id]): offer
        for diff_id, offer in found.items()
    }
    proven: dict[Digest, Offer] = {}
    for claim, outcome in this.provers.prove(claims, this.reporter).items():
        if isinstance(outcome, RecompressError):
            log.warning("not reused from %s: %s", claims[claim].origin, outcome)
        else:
            proven[claim.diff_id] = claims[claim]
    return proven


def _most_uncompressed(source: Image) -> dict[Digest, int]:
    """By diff_id, the most bytes that a layer can be uncompressed, so that no bomb keeps a run busy."""
    return {diff_id: proving.most_uncompressed(layer) for diff_id, layer in source.layers}


def _copy(this: _Run, space: Workspace) -> skopeo.Copied:
    options, source = this.options, this.source
    command = skopeo.copy_command(
        source.reference, this.client.repository, space, options.level, options.jobs
    )
    on_layer = _layer_progress(source, this.reporter)

    def attempt() -> skopeo.Copied:
        try:
            return skopeo.copy(command, space, on_layer)
        except Unsupported as error:
            raise Unsupported(f"{source.reference}: {error}") from None
        except skopeo.SkopeoFailed as error:
            log.debug("%s", error)
            # What stands in the way is asked of the registry: its answers have status codes,
            # skopeo's words have none.
            plan.read(this.origin, source.manifest.digest, source.reference)
            for layer in source.manifest.layers:
                this.origin.stat_blob(layer.digest)
            this.client.check_push()
            raise

    return retrying(this.connection.attempts)(attempt)


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


def _prove(this: _Run, client: RepositoryClient, manifest: Manifest, proven: Mapping[Digest, Offer]) -> None:
    """Raise VerificationFailed unless the manifest holds exactly the source's image.

    Layers that were proven before they were reused are not read again.
    """
    this.reporter.step("verifying the structure of the result")
    source, jobs = this.source, this.options.jobs
    verify.structure(client, source.manifest, source.config, manifest, jobs)
    if this.provers is None:
        return
    bounds = _most_uncompressed(source)
    claims = [
        Claim(client.repository, layer, diff_id, bounds[diff_id])
        for diff_id, layer in zip(source.config.diff_ids, manifest.layers, strict=True)
        if not _is_offer(proven.get(diff_id), layer)
    ]
    if claims:
        this.reporter.step(f"verifying the content of {len(claims)} layers")
    for outcome in this.provers.prove(claims, this.reporter).values():
        if isinstance(outcome, RecompressError):
            raise outcome


def _is_offer(offer: Offer | None, layer: Descriptor) -> bool:
    return offer is not None and (
        (offer.layer.digest, offer.layer.size, offer.layer.chunked)
        == (layer.digest, layer.size, layer.chunked)
    )


def _move_cache_tag(this: _Run, result: Manifest) -> None:
    tag = reuse.cache_tag(this.source.platform)
    if tag is None:
        return
    try:
        this.client.tag(tag, Served(result.content, result.media_type))
    except RecompressError as error:
        # The twin is there and proven; that the next run finds fewer layers fails nothing.
        log.warning("the tag %s for later runs could not be moved: %s", tag, error)


def _layers(
    this: _Run, result: Manifest, offers: Mapping[Digest, Offer], seconds: Mapping[str, float]
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

    layers = zip(this.source.config.diff_ids, this.source.manifest.layers, result.layers, strict=True)
    return tuple(report(*layer) for layer in layers)


def _warn(source: Image, offers: Mapping[Digest, Offer], layers: tuple[LayerReport, ...]) -> None:
    ignored = {layer.diff_id for layer in layers if layer.action is Action.COMPRESSED} & offers.keys()
    if ignored:
        log.warning(
            "skopeo took %d of %d layers that it could have reused", len(offers) - len(ignored), len(offers)
        )
    fields = ", ".join(source.config.docker_only_fields)
    if fields and source.manifest.media_type == MediaType.DOCKER_MANIFEST:
        log.warning(
            "the config has %s: the twin keeps that and Docker uses it, "
            "but podman ignores Healthcheck in any OCI manifest",
            fields,
        )
