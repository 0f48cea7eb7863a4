"""What `recompress prune` found or deleted, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recompress.reference import Digest, Repository


@dataclass(frozen=True, slots=True)
class Orphan:
    """A tag of a twin whose source is gone; `twin` is the digest of the manifest that it names.

    `sbom` is the tag of the twin's SBOM, where that goes with it.
    """

    tag: str
    source: Digest
    twin: Digest
    sbom: str | None = None


@dataclass(frozen=True, slots=True)
class PruneReport:
    """The outcome of `recompress prune`; `sources` are the repositories in which sources were looked for.

    `kept` counts the tags of our scheme that stay. With `is_deleted` the orphans are those that were deleted.
    """

    repository: Repository
    sources: tuple[Repository, ...]
    orphans: tuple[Orphan, ...]
    kept: int
    is_deleted: bool

    @property
    def outcome(self) -> str:
        """In a word, what was done with the orphans."""
        return "deleted" if self.is_deleted else "listed"

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(
            {
                "outcome": self.outcome,
                "repository": str(self.repository),
                "sources": [str(source) for source in self.sources],
                "orphans": [
                    {
                        "tag": orphan.tag,
                        "source_digest": str(orphan.source),
                        "twin_digest": str(orphan.twin),
                        "sbom_tag": orphan.sbom,
                    }
                    for orphan in self.orphans
                ],
                "kept": self.kept,
            },
            indent=2,
        )

    def as_text(self) -> RenderableType:
        """A table of the orphans, with what was done with them below it."""
        table = Table(title=str(self.repository), title_justify="left")
        for heading in ("orphan", "twin"):
            table.add_column(heading, no_wrap=True)
        for orphan in self.orphans:
            table.add_row(orphan.tag, orphan.twin.short)
            if orphan.sbom:
                table.add_row(orphan.sbom, "its SBOM")
        count = f"{len(self.orphans)} of {len(self.orphans) + self.kept} tags of twins"
        verdict = "were deleted" if self.is_deleted else "are orphans; nothing was deleted"
        looked_in = ", ".join(map(str, self.sources))
        return Group(table, Text(f"{count} {verdict}\nsources were looked for in {looked_in}"))
