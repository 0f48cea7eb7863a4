"""`recompress verify`: a twin against its gzip image, or every twin in an index, whoever made them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from recompress import members, plan, verify
from recompress.errors import Unsupported, UsageError
from recompress.image import Image
from recompress.log import Warnings
from recompress.manifest import Index, Platform
from recompress.members import Member
from recompress.progress import Reporter
from recompress.proving import Provers
from recompress.reference import Digest, Reference
from recompress.registry import Connection
from recompress.verify_report import VerifyIndexReport, VerifyReport

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verifier:
    """How twins are proven: the names are those of `verify.compare`."""

    connection: Connection
    provers: Provers
    jobs: int
    require_partial_pulls: bool
    reporter: Reporter

    def of_image(self, source: Reference, result: Reference, platform: Platform | None) -> VerifyReport:
        """Prove that `result` is the twin of `source`; what is wrong is in the report.

        Raises what `plan.resolve` and `verify.compare` raise.
        """
        return self.compare(
            self._resolve(source, platform, is_twin=False), self._resolve(result, platform, is_twin=True)
        )

    def of_index(self, reference: Reference, platform: Platform | None) -> VerifyIndexReport:
        """Prove each twin in the index, or those for a platform; what is wrong is in the report.

        Raises UsageError where no index is there, Unsupported where there is no twin in it, or where the
        registry breaks partial pulls, if these are required.
        """
        with Warnings() as warnings:
            at, images = self._read(reference)
            twins = [member for member in images if member.is_twin and _is_for(member, platform)]
            if not twins:
                raise Unsupported(
                    f"{at} has no twin{f' for {platform}' if platform else ''}: none of its images has zstd "
                    "layers; `recompress index --twins` makes them"
                )
            _warn(images)
            paired = [(twin, members.sources_of(twin, images)) for twin in twins]
            return VerifyIndexReport(
                reference=at,
                twins=tuple(self._compared([(twin, found[0]) for twin, found in paired if found])),
                unpaired=tuple(twin.image for twin, found in paired if not found),
                warnings=tuple(warnings.texts),
            )

    def compare(self, source: Image, twin: Image) -> VerifyReport:
        """Prove one twin; see `verify.compare`."""
        return verify.compare(
            self.connection,
            self.provers,
            source,
            twin,
            jobs=self.jobs,
            require_partial_pulls=self.require_partial_pulls,
            reporter=self.reporter,
        )

    def _resolve(self, reference: Reference, platform: Platform | None, *, is_twin: bool) -> Image:
        self.reporter.step(f"reading {reference}")
        with self.connection.client(reference.repository) as client:
            return plan.resolve(client, reference, platform, is_twin=is_twin)

    def _read(self, reference: Reference) -> tuple[Reference, tuple[Member, ...]]:
        self.reporter.step(f"reading {reference}")
        with self.connection.client(reference.repository) as client:
            index = plan.read(client, reference.selector, reference)
            if not isinstance(index, Index):
                raise UsageError(f"{reference} is not an index: name the gzip image and its twin")
            at = reference.with_digest(index.digest)
            return at, members.read(client, index, at)

    def _compared(self, pairs: Iterable[tuple[Member, Member]]) -> Iterator[VerifyReport]:
        """What came of each pair of a twin and its gzip image; one that is listed twice is proven once."""
        proven: dict[tuple[Digest, Digest], VerifyReport] = {}
        for twin, source in pairs:
            both = source.image.digest, twin.image.digest
            if both not in proven:
                self.reporter.step(f"{twin.image.platform}: verifying {twin.image.reference}")
                proven[both] = self.compare(source.image, twin.image)
            yield _of_pair(proven[both], twin, source)


def _is_for(member: Member, platform: Platform | None) -> bool:
    return platform is None or plan.is_for(member.image.platform, platform)


def _of_pair(report: VerifyReport, twin: Member, source: Member) -> VerifyReport:
    """The same for the entries of the two: clients choose by what the index says."""
    report = replace(report, source=source.image, result=twin.image)
    if twin.platform == source.platform:
        return report
    failure = f"the twin {twin.image.digest} is listed for another platform than its gzip image, which is for"
    return replace(report, failures=(f"{failure} {source.image.platform}", *report.failures))


def _warn(images: Sequence[Member]) -> None:
    """Say of what is in the index that clients do not take it, or take it and fail."""
    gzip_is_before: set[Platform] = set()
    for member in images:
        name = f"{member.image.digest} ({member.image.platform})"
        if not member.is_twin:
            gzip_is_before.add(member.platform)
            continue
        if not member.is_marked:
            log.warning("%s lacks the annotation of zstd images: podman pulls the gzip one", name)
        if member.platform not in gzip_is_before:
            log.warning("%s has no gzip image before it: Docker before 23 cannot pull it", name)
