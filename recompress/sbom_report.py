"""What became of an SBOM: where it was found, what is in it, and where it went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from recompress.reference import Reference


class SbomAction(StrEnum):
    """How the SBOM of a result came to be."""

    DERIVED = "derived"
    THERE = "already there"
    OWN = "the source's own"


@dataclass(frozen=True, slots=True)
class SbomReport:
    """The SBOM of the image that the results name, and the source's, from which it was made.

    `found` and `attached` are manifests, `source_blob` and `blob` the documents themselves; `oci_blob` is
    that of the OCI twin, where one was made. With `is_pinned` the source's has a digest that was given with
    --sbom-from; else nobody but the registry says that it is the right one.
    """

    found: Reference
    source_blob: Reference
    format: str
    packages: int
    is_pinned: bool
    action: SbomAction
    attached: Reference
    blob: Reference
    oci_blob: Reference | None = None

    @property
    def trust(self) -> str:
        """Why the source's SBOM is trusted."""
        return "pinned" if self.is_pinned else "push access"

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "action": str(self.action),
            "format": self.format,
            "packages": self.packages,
            "from": str(self.found),
            "source_blob": str(self.source_blob),
            "trust": self.trust,
            "to": str(self.attached),
            "blob": str(self.blob),
            "oci_blob": str(self.oci_blob) if self.oci_blob else None,
        }

    def as_text(self) -> str:
        """The report in a few lines."""
        origin = {
            SbomAction.DERIVED: f"derived from {self.found}",
            SbomAction.THERE: f"derived from {self.found} by an earlier run",
            SbomAction.OWN: "the source's own",
        }
        lines = [f"{self.packages} packages, {origin[self.action]}", f"attached as {self.attached}"]
        if not self.is_pinned:
            repository = self.found.repository
            lines.append(
                f"trusted as it is: whoever can push to {repository} chooses it (--sbom-from pins it)"
            )
        return "sbom    " + "\n        ".join(lines)
