"""`recompress index --twins`: an index with all the twins that it can have, made where they are missing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from recompress import index, members, plan, run, sbom, skopeo, twin
from recompress.errors import (
    NOTHING_THERE,
    NotFound,
    RecompressError,
    VerificationFailed,
    about,
)
from recompress.image import Image
from recompress.manifest import Index
from recompress.members import Member
from recompress.printable import counted
from recompress.progress import Reporter
from recompress.proving import Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection, RepositoryClient
from recompress.report import IndexReport, TwinOutcome, TwinReport
from recompress.results import Named, Results
from recompress.run import RunOptions
from recompress.sbom import Policy
from recompress.verifier import Verifier

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TwinsOptions:
    """How the twins are made; the names are those of `run.RunOptions`."""

    level: int | None
    jobs: int
    keep_impossible: bool
    require_partial_pulls: bool
    environment: Mapping[str, str]
    sbom: Policy


def assemble_with_twins(
    to: Reference,
    images: tuple[Reference, ...],
    options: TwinsOptions,
    connection: Connection,
    provers: Provers,
    reporter: Reporter,
    *,
    is_task: bool,
) -> IndexReport:
    """Push an index of `images` and their twins, and tag it as `to`; what is missing is made, and proven.

    A twin that is there is taken if `verify` takes it, and gets its SBOM as one that is made does. A Docker
    v2s2 image is in the index as an OCI one. Where one image fails, those before it keep their twins, and the
    next run finds them. Raises a RecompressError.
    """
    index.checked_tag(to, images)
    with skopeo.probing() as check_skopeo:
        check_skopeo()
    with connection.client(to.repository) as client:
        return _Twins(to, images, options, connection, provers, reporter, client).run(is_task)


@dataclass(frozen=True, slots=True)
class _Twins:
    """One run; `client` is for the repository of the index."""

    to: Reference
    images: tuple[Reference, ...]
    options: TwinsOptions
    connection: Connection
    provers: Provers
    reporter: Reporter
    client: RepositoryClient

    def run(self, is_task: bool) -> IndexReport:
        """Find or make each twin, then the index."""
        found = tuple(member for image in self.images for member in self._read(image))
        refused: dict[Digest, None] = {}
        reports = self._twins(found, refused)
        as_oci = {
            report.source.digest: twin.push_oci(self.client, report.source.manifest) for report in reports
        }
        instead = {**as_oci, **refused}
        digests = [instead.get(image.digest, image.digest) for image in self.images if image.digest]
        digests += [report.twin for report in reports]
        references = tuple(Reference(self.to.repository, None, digest) for digest in digests if digest)
        made = index.assemble(
            self.client,
            self.to,
            references,
            is_task=is_task,
            has_sbom=self.options.sbom is not Policy.NONE,
            instead=instead,
        )
        return replace(made, twins=tuple(reports))

    def _read(self, image: Reference) -> tuple[Member, ...]:
        self.reporter.step(f"reading {image}")
        return members.read(self.client, plan.read(self.client, image.selector, image), image)

    def _twins(self, found: Sequence[Member], refused: dict[Digest, None]) -> list[TwinReport]:
        """The twin of each gzip image. Those that are not what they must be are added to `refused`."""
        gzip = {member.image.digest: member for member in found if not member.image.manifest.has_zstd}
        reports: list[TwinReport] = []
        for source in gzip.values():
            self.reporter.step(
                f"{source.image.platform}: {len(reports) + 1} of {counted(len(gzip), 'image')}"
            )
            done = f"{len(reports)} of {counted(len(gzip), 'image')} done, failed at"
            with about(f"{done} {source.image.platform}", RecompressError):
                reports.append(self._twin(source, found, refused))
        return reports

    def _twin(self, source: Member, found: Sequence[Member], refused: dict[Digest, None]) -> TwinReport:
        for candidate in _named(source, found):
            if _is_listed_alike(source, candidate, found) and self._is_proven(source.image, candidate.image):
                return self._found(source, candidate.image.digest)
            log.warning("%s is left out of the index, and the twin is made again", candidate.image.reference)
            refused[candidate.image.digest] = None
        tagged = self._tagged(source.image)
        if tagged and self._is_proven(source.image, tagged):
            return self._found(source, tagged.digest)
        return self._made(source.image, source.named)

    def _tagged(self, source: Image) -> Image | None:
        """What an earlier run has left under the tag of the twin."""
        at = Reference(self.client.repository, twin.default_tag(source.manifest))
        try:
            found = plan.read(self.client, at.selector, at)
            if isinstance(found, Index):
                return None
            return plan.check_image(self.client, found, replace(at, tag=None, digest=found.digest))
        except NOTHING_THERE as error:
            log.debug("there is no twin at %s: %s", at, error)
            return None

    def _is_proven(self, source: Image, candidate: Image) -> bool:
        self.reporter.step(f"verifying {candidate.reference}")
        verifier = Verifier(
            self.connection,
            self.provers,
            self.options.jobs,
            self.options.require_partial_pulls,
            self.reporter,
        )
        try:
            verifier.compare(source, candidate).check()
        except (NotFound, VerificationFailed) as error:
            log.warning("%s", error)
            return False
        return True

    def _found(self, source: Member, digest: Digest) -> TwinReport:
        """The twin that is there already. When it was made there may have been no SBOM to derive one from."""
        client, image, policy = self.client, source.image, self.options.sbom
        if found := sbom.find(policy, client, image, source.named, ()):
            self.reporter.step("deriving the SBOM")
            oci_image = Named(client.repository, None, twin.push_oci(client, image.manifest))
            named = Results(Named(client.repository, None, digest), oci_image)
            sbom.attach(found, policy, client, client, image, named)
        return TwinReport(image, digest, TwinOutcome.FOUND)

    def _made(self, source: Image, named: Reference) -> TwinReport:
        options = RunOptions(
            image=named,
            platform=None,
            to=None,
            level=self.options.level,
            jobs=self.options.jobs,
            reuse=True,
            reuse_from=(),
            oci_twin=True,
            keep_impossible=self.options.keep_impossible,
            require_partial_pulls=self.options.require_partial_pulls,
            environment=self.options.environment,
            sbom=self.options.sbom,
        )
        report = run.run(options, self.connection, self.provers, self.reporter, source)
        if report.why_kept:
            return TwinReport(source, None, TwinOutcome.IMPOSSIBLE, report.why_kept)
        return TwinReport(source, report.twin.digest, TwinOutcome.MADE)


def _named(source: Member, found: Sequence[Member]) -> Iterable[Member]:
    """Those images with zstd layers that may be the twin of `source`, each once."""
    once: dict[Digest, Member] = {}
    for member in found:
        if member.image.manifest.has_zstd and any(
            other.image.digest == source.image.digest for other in members.sources_of(member, found)
        ):
            once.setdefault(member.image.digest, member)
    return once.values()


def _is_listed_alike(source: Member, candidate: Member, found: Iterable[Member]) -> bool:
    """Whether all entries of the candidate are for platforms of gzip images with the config of `source`.

    What is named by itself takes these (see `index`).
    """
    config, digest = source.image.config.digest, candidate.image.digest
    gzip = [member for member in found if not member.image.manifest.has_zstd]
    wanted = {member.platform for member in gzip if member.image.config.digest == config}
    return all(m.platform in wanted for m in found if m.entry and m.image.digest == digest)
