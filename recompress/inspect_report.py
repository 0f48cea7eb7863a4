"""What `recompress inspect` shows, as a table for people and as JSON for programs. Sizes are bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from recompress.manifest import Compression, Descriptor, Platform
from recompress.printable import visible
from recompress.reference import Digest, Reference
from recompress.report import blob_json, compression
from recompress.schemas import as_json
from recompress.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Sbom:
    """The SBOM of a twin, `at` a tag or a digest; where there is none that can be used, why."""

    at: Reference | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class TwinOf:
    """What is known of a twin: its source, and whether the index that was named has the twin.

    `source` is None where nothing says what it is, `is_in_index` where no index was named.
    """

    source: Digest | None
    is_source_here: bool
    is_in_index: bool | None
    sbom: Sbom

    def as_json(self, reference: Reference) -> dict[str, Any]:
        """The fields of the report; `reference` is in the repository of the twin."""
        here = f"{reference.repository}@{self.source}"
        return {
            "source_digest": str(self.source) if self.source else None,
            "source": here if self.is_source_here else None,
            "in_index": self.is_in_index,
            "sbom": str(self.sbom.at) if self.sbom.at else None,
            "sbom_note": self.sbom.note,
        }


@dataclass(frozen=True, slots=True)
class OwnTwin:
    """The twin of a gzip image, and whether the index that was named has it; None where none was named."""

    digest: Digest
    is_in_index: bool | None

    def as_json(self) -> dict[str, Any]:
        """The fields of the report."""
        return {"digest": str(self.digest), "in_index": self.is_in_index}


@dataclass(frozen=True, slots=True)
class InspectReport:
    """The outcome of `recompress inspect`: each manifest with its layers."""

    reference: Reference
    is_index: bool
    images: tuple[InspectedImage, ...]

    def as_json(self) -> str:
        """The report as one JSON object."""
        return as_json(
            "inspect",
            {
                "reference": str(self.reference),
                "index": self.is_index,
                "manifests": [
                    {
                        "digest": str(image.digest),
                        "media_type": image.media_type,
                        "platform": str(image.platform) if image.platform else None,
                        "note": image.note,
                        "layers": [blob_json(layer) for layer in image.layers],
                        "size": sum(layer.size for layer in image.layers),
                        "twin_of": image.twin_of.as_json(self.reference) if image.twin_of else None,
                        "twin": image.twin.as_json() if image.twin else None,
                    }
                    for image in self.images
                ],
            },
        )

    def as_text(self) -> Sheet:
        """A table with a section for each manifest, with what is known of twins below it."""
        table = Sheet(
            str(self.reference),
            left=("platform", "manifest", "layer", "compression", "chunked"),
            right=("size",),
        )
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
        lines = [line for image in self.images for line in _twin_lines(image, self.reference)]
        return table.above("\n".join(lines))


def _twin_lines(image: InspectedImage, at: Reference) -> Iterator[str]:
    indexed = {True: "; it is in the index", False: "; it is not in the index", None: ""}
    if twin := image.twin:
        yield f"{image.digest.short}  has the twin {twin.digest}{indexed[twin.is_in_index]}"
    if (of := image.twin_of) is None:
        return
    source = f"{at.repository}@{of.source}" if of.is_source_here else f"{of.source}, not in this repository"
    what = f"is the twin of {source}" if of.source else "is zstd, and its source is not known"
    yield f"{image.digest.short}  {what}{indexed[of.is_in_index]}"
    yield f"{image.digest.short}  SBOM: {of.sbom.at or visible(of.sbom.note) or 'none'}"


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """One manifest as `inspect` shows it; `note` says why there is nothing more to show.

    A twin has `twin_of`, and a gzip image that has a twin has `twin`.
    """

    digest: Digest
    media_type: str
    platform: Platform | None
    layers: tuple[Descriptor, ...]
    note: str = ""
    twin_of: TwinOf | None = None
    twin: OwnTwin | None = None
