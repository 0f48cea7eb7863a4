"""What a run did, as a table for people and as JSON for programs. Sizes are bytes, times seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from recompress.manifest import Compression, Descriptor, Platform
from recompress.plan import Image
from recompress.reference import Digest, Reference


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer: what it was and what it became, and how long skopeo worked on it."""

    diff_id: Digest
    source: Descriptor
    twin: Descriptor
    seconds: float | None
    skipped: bool


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcome of `recompress run`."""

    source: Image
    twin: Reference
    recompressed: bool
    layers: tuple[LayerReport, ...]
    seconds: float
    results: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=())

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
            {
                "outcome": "recompressed" if self.recompressed else "already zstd:chunked",
                "platform": str(self.source.platform),
                "image_id": str(self.source.config.digest),
                "source": str(self.source.reference),
                "twin": str(self.twin),
                "source_digest": str(self.source.manifest.digest),
                "twin_digest": str(self.twin.digest),
                "layers": [_layer_json(layer) for layer in self.layers],
                "source_size": sum(layer.source.size for layer in self.layers),
                "twin_size": sum(layer.twin.size for layer in self.layers),
                "seconds": round(self.seconds, 3),
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
        for heading in ("layer", "from", "to"):
            table.add_column(heading, no_wrap=True)
        for heading in ("before", "after", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        for layer in self.layers:
            table.add_row(
                layer.diff_id.short,
                compression(layer.source),
                compression(layer.twin),
                decimal(layer.source.size),
                decimal(layer.twin.size),
                "" if layer.seconds is None else f"{layer.seconds:.1f}",
            )
        table.add_section()
        before = decimal(sum(layer.source.size for layer in self.layers))
        after = decimal(sum(layer.twin.size for layer in self.layers))
        table.add_row("total", "", "", before, after, f"{self.seconds:.1f}")
        outcome = "" if self.recompressed else "already zstd:chunked, nothing was pushed\n"
        digests = f"source  {self.source.reference}\ntwin    {self.twin}"
        warnings = "".join(f"\nwarning: {warning}" for warning in self.warnings)
        return Group(table, Text(outcome + digests + warnings))


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


def compression(layer: Descriptor) -> str:
    """How a layer is packed, in a word; its media type where that is not known."""
    return str(layer.compression or layer.media_type)


def show(report: RunReport | InspectReport, output: str) -> None:
    """Print a report on stdout, as `text` or `json`."""
    if output == "json":
        print(report.as_json())
        return
    console = Console()
    if not console.is_terminal:
        # A log has no width; the widest table has to fit without being cut.
        console = Console(width=160)
    console.print(report.as_text(), highlight=False, markup=False, soft_wrap=True)


def _layer_json(layer: LayerReport) -> dict[str, Any]:
    return {
        "diff_id": str(layer.diff_id),
        "from": _blob_json(layer.source),
        "to": _blob_json(layer.twin),
        "seconds": None if layer.seconds is None else round(layer.seconds, 3),
    }


def _blob_json(layer: Descriptor) -> dict[str, Any]:
    return {
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "compression": compression(layer),
        "chunked": layer.compression is Compression.ZSTD_CHUNKED,
        "size": layer.size,
    }
