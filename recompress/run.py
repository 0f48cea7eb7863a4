"""The way of the data, from a gzip image to its proven zstd:chunked twin."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from recompress import credentials, plan, results, skopeo, verify
from recompress.errors import VerificationFailed
from recompress.manifest import Index, Manifest, MediaType, Platform, parse_config, parse_manifest
from recompress.plan import Image
from recompress.progress import Reporter
from recompress.reference import Digest, Reference, Repository
from recompress.registry import RepositoryClient, Served, Tls, retrying
from recompress.report import LayerReport, RunReport
from recompress.results import Results

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach registries."""

    auth_files: tuple[Path, ...]
    tls: Tls
    attempts: int

    def client(self, repository: Repository) -> RepositoryClient:
        """A client for one repository, with the credentials for it."""
        found = credentials.find(repository, self.auth_files)
        return RepositoryClient(repository, found, self.tls, self.attempts)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `recompress run` is asked to do; the names are those of the command line."""

    image: Reference
    platform: Platform | None
    to: Reference | None
    level: int | None
    jobs: int
    results_dir: Path | None
    environment: Mapping[str, str]


def run(options: RunOptions, connection: Connection, reporter: Reporter) -> RunReport:
    """Push the zstd:chunked twin of an image, prove it, tag it, write the results.

    Raises a RecompressError, and then there are no results.
    """
    began = time.monotonic()
    skopeo.probe()
    if options.results_dir:
        results.check_directory(options.results_dir)
    with ExitStack() as stack:
        reporter.step(f"reading {options.image}")
        origin = stack.enter_context(connection.client(options.image.repository))
        source = plan.resolve(origin, options.image, options.platform)
        if source.manifest.is_zstd_chunked:
            verify.structure(origin, source.manifest, source.config, source.manifest, options.jobs)
            named = Results(source.reference.repository, source.reference.tag, source.manifest.digest)
            return _finish(options, source, source.manifest, named, None, began)

        named_repository = options.to.repository if options.to else source.reference.repository
        tag = (options.to and options.to.tag) or twin_tag(source.manifest)
        client = stack.enter_context(connection.client(named_repository))
        client.check_push()

        reporter.step(f"recompressing {len(source.manifest.layers)} layers with skopeo")
        copied = _copy(options, connection, source, origin, client, reporter)
        reporter.step("verifying what was pushed")
        twin = _with_the_config_of(source, _read_back(client, copied.digest), client)
        verify.structure(client, source.manifest, source.config, twin, options.jobs)
        client.put_manifest(tag, Served(twin.content, twin.media_type))
        named = Results(named_repository, tag, twin.digest)
        return _finish(options, source, twin, named, copied, began)


def twin_tag(source: Manifest) -> str:
    """The tag under which anyone finds the twin from the digest of its source."""
    return f"sha256-{source.digest.hex}.zstd-chunked"


def _copy(
    options: RunOptions,
    connection: Connection,
    source: Image,
    origin: RepositoryClient,
    client: RepositoryClient,
    reporter: Reporter,
) -> skopeo.Copied:
    with _workspace(connection, source.reference.repository, client.repository) as (directory, access):
        digest_file = directory / "digest"
        command = skopeo.copy_command(
            source.reference, client.repository, access, options.level, options.jobs, digest_file
        )
        environment = _environment(options.environment, directory)
        on_layer = _layer_progress(source, reporter)

        def attempt() -> skopeo.Copied:
            try:
                return skopeo.copy(command, digest_file, environment, on_layer)
            except skopeo.SkopeoFailed as error:
                log.debug("%s", error)
                # What stands in the way is asked of the registry: its answers have status codes,
                # skopeo's words have none.
                plan.resolve(origin, source.reference, None)
                client.check_push()
                for layer in source.manifest.layers:
                    origin.stat_blob(layer.digest)
                raise

        return retrying(connection.attempts)(attempt)


@contextmanager
def _workspace(connection: Connection, *repositories: Repository) -> Iterator[tuple[Path, skopeo.Access]]:
    """A directory of this run's own, gone at its end, with the credentials and certificates."""
    with tempfile.TemporaryDirectory(prefix="recompress-") as name:
        directory = Path(name)
        auth_file, cert_dir = directory / "auth.json", directory / "certs.d"
        found = {
            repository: credentials.find(repository, connection.auth_files) for repository in repositories
        }
        credentials.write_auth_file(auth_file, found)
        cert_dir.mkdir()
        for number, file in enumerate(connection.tls.ca_files):
            (cert_dir / f"{number}.crt").symlink_to(file.absolute())
        yield directory, skopeo.Access(auth_file, cert_dir, connection.tls.verify)


def _environment(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    own = {
        **environment,
        "TMPDIR": str(directory),
        # The blob info cache lies below; a cache that outlives the run could make skopeo reuse
        # what nobody here has proven.
        "XDG_DATA_HOME": str(directory),
    }
    if os.geteuid() == 0:
        # containers/image keeps root's cache in /var/lib/containers, whatever XDG_DATA_HOME says,
        # unless it is told that the user is another one outside (rootless.GetRootlessEUID).
        own["_CONTAINERS_ROOTLESS_UID"] = "1"
    return own


def _layer_progress(source: Image, reporter: Reporter) -> Callable[[str, int | None], None]:
    sizes = {layer.digest.short: layer.size for layer in source.manifest.layers}

    def on_layer(digest: str, done: int | None) -> None:
        title = f"layer {digest}"
        if done is None:
            reporter.finish(title, "done")
        else:
            reporter.update(title, done, sizes.get(digest, done))

    return on_layer


def _read_back(client: RepositoryClient, digest: Digest) -> Manifest:
    served = client.manifest(digest)
    manifest = parse_manifest(served.content, served.content_type)
    if isinstance(manifest, Index):
        raise VerificationFailed(f"skopeo pushed the index {digest}, not an image manifest")
    return manifest


def _with_the_config_of(source: Image, pushed: Manifest, client: RepositoryClient) -> Manifest:
    """The pushed manifest with the source's config in it, pushed by its digest where it is a new one.

    For a Docker v2s2 source skopeo writes a config of its own, without Healthcheck, OnBuild and
    Shell, so that the image ID changes. OCI does not forbid these fields: the original bytes are
    as good a config of an OCI manifest.
    """
    if pushed.config.digest == source.config.digest:
        return pushed
    rewritten = parse_config(client.config(pushed.config))
    if rewritten.diff_ids != source.config.diff_ids:
        raise VerificationFailed(
            f"skopeo pushed {pushed.digest} with other diff_ids than those of {source.reference}"
        )
    client.put_config(source.config.content)
    document = json.loads(pushed.content)
    document["config"] = {
        "mediaType": MediaType.OCI_CONFIG,
        "digest": str(source.config.digest),
        "size": len(source.config.content),
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    digest = Digest.of(content)
    client.put_manifest(digest, Served(content, MediaType.OCI_MANIFEST))
    return _read_back(client, digest)


def _finish(
    options: RunOptions,
    source: Image,
    twin: Manifest,
    named: Results,
    copied: skopeo.Copied | None,
    began: float,
) -> RunReport:
    files = named.files()
    if options.results_dir:
        results.write(options.results_dir, files)
    layers = tuple(
        LayerReport(
            diff_id,
            before,
            after,
            copied.seconds.get(before.digest.short) if copied else None,
            bool(copied and before.digest.short in copied.skipped),
        )
        for diff_id, before, after in zip(
            source.config.diff_ids, source.manifest.layers, twin.layers, strict=True
        )
    )
    return RunReport(
        source,
        Reference(named.repository, named.tag, named.digest),
        copied is not None,
        layers,
        time.monotonic() - began,
        files,
        _warnings(source) if copied else (),
    )


def _warnings(source: Image) -> tuple[str, ...]:
    fields = ", ".join(source.config.docker_only_fields)
    if not fields or source.manifest.media_type != MediaType.DOCKER_MANIFEST:
        return ()
    return (
        f"the config has {fields}: the twin keeps them and Docker uses them, "
        "but podman ignores Healthcheck in any OCI manifest",
    )
