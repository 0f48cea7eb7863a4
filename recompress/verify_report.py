"""What `recompress verify` proved or found, as a table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from recompress.errors import Unsupported, VerificationFailed
from recompress.image import Image
from recompress.layer import LayerProof
from recompress.manifest import Descriptor
from recompress.printable import visible
from recompress.reference import Digest, Reference
from recompress.schemas import as_json
from recompress.sheet import Sheet


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """What came of one layer of a result: its proof, or what is wrong with it."""

    diff_id: Digest
    layer: Descriptor
    outcome: LayerProof | VerificationFailed


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome of `recompress verify`; `failures` are those of the image as a whole."""

    source: Image
    result: Image
    layers: tuple[LayerVerdict, ...]
    failures: tuple[str, ...]

    @property
    def image_id_is_kept(self) -> bool:
        """Whether both have the same config, byte for byte."""
        return self.source.config.content == self.result.config.content

    @property
    def all_failures(self) -> tuple[str, ...]:
        """All that does not hold; none where the result is the twin of the source."""
        outcomes = (verdict.outcome for verdict in self.layers)
        return (*self.failures, *(str(o) for o in outcomes if isinstance(o, VerificationFailed)))

    def check(self) -> None:
        """Raise VerificationFailed, with the first reason, where it is no twin."""
        if failures := self.all_failures:
            raise VerificationFailed(
                f"{self.result.reference} is not the zstd:chunked twin of {self.source.reference}: "
                f"{_reason(failures)}"
            )

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "outcome": "failed" if self.all_failures else "verified",
            "source": str(self.source.reference),
            "result": str(self.result.reference),
            "image_id": str(self.result.config.digest),
            "image_id_is_kept": self.image_id_is_kept,
            "layers": [_verdict_json(verdict) for verdict in self.layers],
            "failures": list(self.all_failures),
        }

    def as_json(self) -> str:
        """The report as one JSON object."""
        return as_json("verify", self.document())

    def as_text(self) -> Sheet:
        """A table of the layers, with all that does not hold below it."""
        table = Sheet(
            str(self.result.reference),
            left=("layer", "diff_id", "verdict"),
            right=("entries", "compressed", "uncompressed"),
        )
        for verdict in self.layers:
            row = [verdict.layer.digest.short, verdict.diff_id.short]
            if isinstance(proof := verdict.outcome, LayerProof):
                sizes = (proof.compressed_bytes, proof.uncompressed_bytes)
                table.add_row(
                    *row,
                    "proven, pulled in full" if proof.why_full else "proven",
                    str(proof.entries),
                    *map(decimal, sizes),
                )
            else:
                table.add_row(*row, "FAILED", "", "", "")
        kept = "kept" if self.image_id_is_kept else "NOT kept"
        lines = [
            f"source    {self.source.reference}",
            f"result    {self.result.reference}",
            f"image ID  {self.source.config.digest}, {kept}",
            *(f"failed: {visible(failure)}" for failure in self.all_failures),
        ]
        return table.above("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyIndexReport:
    """The outcome of `recompress verify` for an index: each twin in it, against its gzip image.

    `unpaired` are images with zstd layers for which the index has no gzip image to compare them with.
    """

    reference: Reference
    twins: tuple[VerifyReport, ...]
    unpaired: tuple[Image, ...]
    warnings: tuple[str, ...]

    @property
    def all_failures(self) -> tuple[str, ...]:
        """All that does not hold, each with the platform; none where every twin is one."""
        return tuple(
            f"{twin.result.platform}: {failure}" for twin in self.twins for failure in twin.all_failures
        )

    def check(self) -> None:
        """Raise VerificationFailed where an image is no twin, Unsupported where one cannot be compared."""
        if failures := self.all_failures:
            raise VerificationFailed(
                f"{self.reference} has a twin that does not match its gzip image: {_reason(failures)}"
            )
        if self.unpaired:
            platforms = ", ".join(str(image.platform) for image in self.unpaired)
            raise Unsupported(
                f"{self.reference} has zstd images without a gzip image to compare them with: {platforms}"
            )

    def as_json(self) -> str:
        """The report as one JSON object."""
        return as_json(
            "verify",
            {
                "outcome": "failed" if self.all_failures else "incomplete" if self.unpaired else "verified",
                "index": str(self.reference),
                "twins": [{"platform": str(twin.result.platform), **twin.document()} for twin in self.twins],
                "unpaired": [
                    {"platform": str(image.platform), "result": str(image.reference)}
                    for image in self.unpaired
                ],
                "warnings": list(self.warnings),
            },
        )

    def as_text(self) -> Sheet:
        """A table with a row for each twin, with all that does not hold below it."""
        table = Sheet(
            str(self.reference),
            left=("platform", "twin", "source", "verdict"),
            right=("layers", "pulled in full", "compressed"),
        )
        for twin in self.twins:
            table.add_row(*_row(twin))
        for image in self.unpaired:
            table.add_row(str(image.platform), image.digest.short, "none", "not compared", "", "", "")
        failures = (f"failed: {visible(failure)}" for failure in self.all_failures)
        warnings = (f"warning: {visible(warning)}" for warning in self.warnings)
        return table.above("\n".join((*failures, *warnings)))


def _reason(failures: tuple[str, ...]) -> str:
    """The first of several failures, and how many more there are."""
    first, *more = failures
    return f"{first} (and {len(more)} more, see the report)" if more else first


def _row(twin: VerifyReport) -> tuple[str, ...]:
    proofs = [verdict.outcome for verdict in twin.layers if isinstance(verdict.outcome, LayerProof)]
    return (
        str(twin.result.platform),
        twin.result.digest.short,
        twin.source.digest.short,
        "FAILED" if twin.all_failures else "proven",
        str(len(twin.result.manifest.layers)),
        str(sum(proof.why_full is not None for proof in proofs)),
        decimal(sum(layer.size for layer in twin.result.manifest.layers)),
    )


def _verdict_json(verdict: LayerVerdict) -> dict[str, Any]:
    described = {"digest": str(verdict.layer.digest), "diff_id": str(verdict.diff_id)}
    if isinstance(proof := verdict.outcome, VerificationFailed):
        return {**described, "proven": False, "failure": str(proof)}
    return {
        **described,
        "proven": True,
        "why_full": proof.why_full,
        "entries": proof.entries,
        "size": proof.compressed_bytes,
        "uncompressed_size": proof.uncompressed_bytes,
    }
