"""What `recompress prune` found or deleted, as a table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass

from recompress.printable import counted
from recompress.reference import Digest, Repository
from recompress.schemas import as_json
from recompress.sheet import Sheet


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
        return as_json(
            "prune",
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
        )

    def as_text(self) -> Sheet:
        """A table of the orphans, with what was done with them below it."""
        table = Sheet(str(self.repository), left=("orphan", "twin"))
        for orphan in self.orphans:
            table.add_row(orphan.tag, orphan.twin.short)
            if orphan.sbom:
                table.add_row(orphan.sbom, "its SBOM")
        found = counted(len(self.orphans), "orphan")
        count = f"{found} among {counted(len(self.orphans) + self.kept, 'tag')} of twins"
        verdict = "all deleted" if self.is_deleted and self.orphans else "nothing was deleted"
        looked_in = ", ".join(map(str, self.sources))
        return table.above(f"{count}; {verdict}\nsources were looked for in {looked_in}")
