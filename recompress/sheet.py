"""A table with lines below it, as reports are shown to people; `drawing` knows how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sheet:
    """Rows below a title and headings, where those of `right` are of numbers; None is a line between rows."""

    title: str
    left: tuple[str, ...]
    right: tuple[str, ...] = ()
    rows: list[tuple[str, ...] | None] = field(default_factory=list)
    text: str = ""

    def add_row(self, *cells: str) -> None:
        """Add a row with a cell for each heading."""
        self.rows.append(cells)

    def add_section(self) -> None:
        """Have a line drawn below what there is."""
        self.rows.append(None)

    def above(self, text: str) -> Sheet:
        """The same with a text below the table."""
        self.text = text
        return self
