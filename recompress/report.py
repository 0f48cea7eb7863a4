"""What a run did, as a table for people and as JSON for programs. Sizes are bytes, times seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.filesize import decimal

from recompress.image import Image
from recompress.manifest import Compression, Descriptor
from recompress.printable import counted, visible
from recompress.reference import Digest, Reference
from recompress.sbom_report import SbomReport
from recompress.schemas import as_json
from recompress.sheet import Sheet


class Action(StrEnum):
    """How a layer of the twin came to be."""

    COMPRESSED = "compressed"
    REUSED = "reused"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer: what it was, what it became and how, and how long skopeo worked on it.

    `reused_from` is the image that a reused layer was found in. `why_full` says why clients have to pull the
    layer in full, where they have to.
    """

    diff_id: Digest
    source: Descriptor
    twin: Descriptor
    action: Action
    reused_from: str | None
    seconds: float | None
    why_full: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The outcome of `recompress run`; `verified` is what was proven: content, or structure alone.

    `level` is the one that was asked for. `why_kept` says why there is no twin, where the results name the
    source for that; `sbom` is None where the image that the results name has none.
    """

    source: Image
    twin: Reference
    layers: tuple[LayerReport, ...]
    seconds: float
    results: Mapping[str, str]
    warnings: tuple[str, ...]
    verified: str
    level: int | None = None
    why_kept: str | None = None
    sbom: SbomReport | None = None

    @property
    def recompressed(self) -> bool:
        """Whether anything was done."""
        return self.source.manifest.digest != self.twin.digest

    @property
    def outcome(self) -> str:
        """In a word or two, what was done."""
        if self.why_kept:
            return "kept"
        return "recompressed" if self.recompressed else "already zstd:chunked"

    @property
    def saved(self) -> int:
        """The bytes of source layers that were neither downloaded nor compressed."""
        return sum(layer.source.size for layer in self.layers if layer.action is Action.REUSED)

    @property
    def reused_at_any_level(self) -> int | None:
        """How many layers have the level at which they were compressed once, where one was asked for now."""
        if self.level is None:
            return None
        return sum(layer.action is Action.REUSED for layer in self.layers)

    def as_json(self) -> str:
        """The report as one JSON object."""
        return as_json(
            "run",
            {
                "outcome": self.outcome,
                "platform": str(self.source.platform),
                "image_id": str(self.source.config.digest),
                "source": str(self.source.reference),
                "twin": str(self.twin),
                "source_digest": str(self.source.manifest.digest),
                "twin_digest": str(self.twin.digest),
                "layers": [_layer_json(layer) for layer in self.layers],
                "source_size": sum(layer.source.size for layer in self.layers),
                "twin_size": sum(layer.twin.size for layer in self.layers),
                "saved_size": self.saved,
                "seconds": round(self.seconds, 3),
                "verified": self.verified,
                "level": self.level,
                "reused_at_any_level": self.reused_at_any_level,
                "why_kept": self.why_kept,
                "sbom": self.sbom.as_json() if self.sbom else None,
                "warnings": list(self.warnings),
                "results": dict(self.results),
            },
        )

    def as_text(self) -> Sheet:
        """The report as a table with the two digests below it."""
        table = Sheet(
            f"{self.source.reference.repository} · {self.source.platform}",
            left=("layer", "from", "to", "how", "pulled"),
            right=("before", "after", "seconds"),
        )
        for layer in self.layers:
            table.add_row(
                layer.source.digest.short,
                compression(layer.source),
                compression(layer.twin),
                str(layer.action),
                "partially" if layer.twin.compression is Compression.ZSTD_CHUNKED else "in full",
                decimal(layer.source.size),
                decimal(layer.twin.size),
                "" if layer.seconds is None else f"{layer.seconds:.1f}",
            )
        table.add_section()
        before = decimal(sum(layer.source.size for layer in self.layers))
        after = decimal(sum(layer.twin.size for layer in self.layers))
        table.add_row("total", "", "", "", "", before, after, f"{self.seconds:.1f}")
        outcome = "" if self.recompressed else f"already zstd:chunked, {self._pushed}\n"
        digests = f"source  {self.source.reference}\ntwin    {self.twin}\nproven  {self.verified}"
        if self.why_kept:
            outcome = f"there is no twin: {visible(self.why_kept)}\n"
            digests = f"source  {self.source.reference}\nresult  {self.twin}"
        reused = "".join(
            f"\nreused  {counted(count, 'layer')} from {origin}" for origin, count in self._origins()
        )
        if count := self.reused_at_any_level:
            reused += f"\nlevel   {self.level}; {counted(count, 'reused layer')} may have another"
        saved = f"\nsaved   {decimal(self.saved)} not downloaded and compressed again" if self.saved else ""
        sbom = f"\n{self.sbom.as_text()}" if self.sbom else ""
        warnings = "".join(f"\nwarning: {visible(warning)}" for warning in self.warnings)
        return table.above(outcome + digests + reused + saved + sbom + warnings)

    @property
    def _pushed(self) -> str:
        """What was pushed of a source that was left as it is."""
        at = self.source.reference
        if self.twin.repository != at.repository:
            return "copied as it is"
        return "nothing was pushed" if self.twin.tag in (None, at.tag) else "nothing but a tag was pushed"

    def _origins(self) -> list[tuple[str, int]]:
        return Counter(layer.reused_from for layer in self.layers if layer.reused_from).most_common()


class EntryKind(StrEnum):
    """What an entry of an index is: an image without zstd layers, one with them, or none."""

    GZIP = "gzip"
    ZSTD = "zstd"
    ATTESTATION = "attestation"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of the index."""

    descriptor: Descriptor
    kind: EntryKind

    @property
    def is_image(self) -> bool:
        """Whether clients may choose it."""
        return self.kind in (EntryKind.GZIP, EntryKind.ZSTD)


class TwinOutcome(StrEnum):
    """How `recompress index --twins` came to the twin of an image, or to none."""

    MADE = "made"
    FOUND = "found"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class TwinReport:
    """A gzip image with its twin in the index. `why_kept` says why it has none, where it can have none."""

    source: Image
    twin: Digest | None
    outcome: TwinOutcome
    why_kept: str | None = None


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The outcome of `recompress index`; with `--twins`, of what became of each gzip image, too.

    `sbom` is where the SBOM of the index is attached, if it has one.
    """

    reference: Reference
    entries: tuple[IndexEntry, ...]
    results: Mapping[str, str]
    sbom: Reference | None = None
    twins: tuple[TwinReport, ...] = ()

    def as_json(self) -> str:
        """The report as one JSON object."""
        return as_json(
            "index",
            {
                "reference": str(self.reference),
                "manifests": [
                    {
                        "digest": str(entry.descriptor.digest),
                        "platform": str(entry.descriptor.platform) if entry.descriptor.platform else None,
                        "kind": entry.kind,
                        "annotations": dict(entry.descriptor.annotations),
                    }
                    for entry in self.entries
                ],
                "twins": [
                    {
                        "platform": str(twin.source.platform),
                        "source_digest": str(twin.source.digest),
                        "twin_digest": str(twin.twin) if twin.twin else None,
                        "outcome": twin.outcome,
                        "why_kept": twin.why_kept,
                    }
                    for twin in self.twins
                ],
                "sbom": str(self.sbom) if self.sbom else None,
                "results": dict(self.results),
            },
        )

    def as_text(self) -> Sheet:
        """A table of the entries in their order."""
        table = Sheet(str(self.reference), left=("platform", "manifest", "kind"))
        for entry in self.entries:
            table.add_row(str(entry.descriptor.platform or ""), str(entry.descriptor.digest), entry.kind)
        lines = [
            f"{twin.outcome}  {twin.source.platform}, twin {twin.twin}"
            if twin.twin
            else f"no twin  {twin.source.platform}: {visible(twin.why_kept or '')}"
            for twin in self.twins
        ]
        lines += [f"sbom    {self.sbom}"] if self.sbom else []
        return table.above("\n".join(lines))


def compression(layer: Descriptor) -> str:
    """How a layer is packed, in a word; its media type where that is not known."""
    return str(layer.compression or layer.media_type)


def _layer_json(layer: LayerReport) -> dict[str, Any]:
    return {
        "diff_id": str(layer.diff_id),
        "from": blob_json(layer.source),
        "to": blob_json(layer.twin),
        "action": str(layer.action),
        "reused_from": layer.reused_from,
        "why_full": layer.why_full,
        "seconds": None if layer.seconds is None else round(layer.seconds, 3),
    }


def blob_json(layer: Descriptor) -> dict[str, Any]:
    """A layer as reports have it."""
    return {
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "compression": compression(layer),
        "chunked": layer.compression is Compression.ZSTD_CHUNKED,
        "size": layer.size,
    }
