"""What a run did, as a table for people and as JSON for programs. Sizes are bytes, times seconds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from recompress.errors import VerificationFailed
from recompress.image import Image
from recompress.layer import LayerProof
from recompress.manifest import Compression, Descriptor, Platform
from recompress.printable import visible
from recompress.reference import Digest, Reference
from recompress.sbom_report import SbomReport


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

    `why_kept` says why there is no twin, where the results name the source for that; `sbom` is None where the
    image that the results name has none.
    """

    source: Image
    twin: Reference
    layers: tuple[LayerReport, ...]
    seconds: float
    results: Mapping[str, str]
    warnings: tuple[str, ...]
    verified: str
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

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
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
                "why_kept": self.why_kept,
                "sbom": self.sbom.as_json() if self.sbom else None,
                "warnings": list(self.warnings),
                "results": dict(self.results),
            },
            indent=2,
        )

    def as_text(self) -> RenderableType:
        """The report as a table with the two digests below it."""
        table = Table(
            title=f"{self.source.reference.repository} · {self.source.platform}", title_justify="left"
        )
        for heading in ("layer", "from", "to", "how", "pulled"):
            table.add_column(heading, no_wrap=True)
        for heading in ("before", "after", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
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
        reused = "".join(f"\nreused  {count} layers from {origin}" for origin, count in self._origins())
        saved = f"\nsaved   {decimal(self.saved)} not downloaded and compressed again" if self.saved else ""
        sbom = f"\n{self.sbom.as_text()}" if self.sbom else ""
        warnings = "".join(f"\nwarning: {visible(warning)}" for warning in self.warnings)
        return Group(table, Text(outcome + digests + reused + saved + sbom + warnings))

    @property
    def _pushed(self) -> str:
        """What was pushed of a source that was left as it is."""
        at = self.source.reference
        if self.twin.repository != at.repository:
            return "copied as it is"
        return "nothing was pushed" if self.twin.tag in (None, at.tag) else "nothing but a tag was pushed"

    def _origins(self) -> list[tuple[str, int]]:
        return Counter(layer.reused_from for layer in self.layers if layer.reused_from).most_common()


@dataclass(frozen=True, slots=True)
class InspectReport:
    """The outcome of `recompress inspect`: each manifest with its layers."""

    reference: Reference
    is_index: bool
    images: tuple[InspectedImage, ...]

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
            {
                "reference": str(self.reference),
                "index": self.is_index,
                "manifests": [
                    {
                        "digest": str(image.digest),
                        "media_type": image.media_type,
                        "platform": str(image.platform) if image.platform else None,
                        "note": image.note,
                        "layers": [_blob_json(layer) for layer in image.layers],
                        "size": sum(layer.size for layer in image.layers),
                    }
                    for image in self.images
                ],
            },
            indent=2,
        )

    def as_text(self) -> RenderableType:
        """A table with a section per manifest."""
        table = Table(title=str(self.reference), title_justify="left")
        for heading in ("platform", "manifest", "layer", "compression", "chunked"):
            table.add_column(heading, no_wrap=True)
        table.add_column("size", justify="right", no_wrap=True)
        for image in self.images:
            head = (str(image.platform or ""), image.digest.short)
            table.add_section()
            if not image.layers:
                table.add_row(*head, "", image.note, "", "")
            for layer in image.layers:
                chunked = "yes" if layer.compression is Compression.ZSTD_CHUNKED else "no"
                table.add_row(*head, layer.digest.short, compression(layer), chunked, decimal(layer.size))
                head = ("", "")
            if len(image.layers) > 1:
                table.add_row("", "", "total", "", "", decimal(sum(layer.size for layer in image.layers)))
        return table


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """One manifest as `inspect` shows it; `note` says why there is nothing more to show."""

    digest: Digest
    media_type: str
    platform: Platform | None
    layers: tuple[Descriptor, ...]
    note: str = ""


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

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
            {
                "outcome": "failed" if self.all_failures else "verified",
                "source": str(self.source.reference),
                "result": str(self.result.reference),
                "image_id": str(self.result.config.digest),
                "image_id_is_kept": self.image_id_is_kept,
                "layers": [_verdict_json(verdict) for verdict in self.layers],
                "failures": list(self.all_failures),
            },
            indent=2,
        )

    def as_text(self) -> RenderableType:
        """A table of the layers, with all that does not hold below it."""
        table = Table(title=str(self.result.reference), title_justify="left")
        for heading in ("layer", "diff_id", "verdict"):
            table.add_column(heading, no_wrap=True)
        for heading in ("entries", "compressed", "uncompressed"):
            table.add_column(heading, justify="right", no_wrap=True)
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
        return Group(table, Text("\n".join(lines)))


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


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The outcome of `recompress index`; `sbom` is where the SBOM of the index is attached, if it has one."""

    reference: Reference
    entries: tuple[IndexEntry, ...]
    results: Mapping[str, str]
    sbom: Reference | None = None

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
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
                "sbom": str(self.sbom) if self.sbom else None,
                "results": dict(self.results),
            },
            indent=2,
        )

    def as_text(self) -> RenderableType:
        """A table of the entries in their order."""
        table = Table(title=str(self.reference), title_justify="left")
        for heading in ("platform", "manifest", "kind"):
            table.add_column(heading, no_wrap=True)
        for entry in self.entries:
            table.add_row(str(entry.descriptor.platform or ""), str(entry.descriptor.digest), entry.kind)
        return Group(table, Text(f"sbom    {self.sbom}")) if self.sbom else table


def compression(layer: Descriptor) -> str:
    """How a layer is packed, in a word; its media type where that is not known."""
    return str(layer.compression or layer.media_type)


def _layer_json(layer: LayerReport) -> dict[str, Any]:
    return {
        "diff_id": str(layer.diff_id),
        "from": _blob_json(layer.source),
        "to": _blob_json(layer.twin),
        "action": str(layer.action),
        "reused_from": layer.reused_from,
        "why_full": layer.why_full,
        "seconds": None if layer.seconds is None else round(layer.seconds, 3),
    }


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


def _blob_json(layer: Descriptor) -> dict[str, Any]:
    return {
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "compression": compression(layer),
        "chunked": layer.compression is Compression.ZSTD_CHUNKED,
        "size": layer.size,
    }
