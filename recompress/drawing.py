"""Reports drawn for people. Imported where one is: its library takes its time to load."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from recompress.printable import visible
from recompress.sheet import Sheet


def drawn(sheet: Sheet) -> str:
    """What rich makes of it for stdout, which it does not write to: even an empty text can fail there."""
    paper = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding or "utf-8", "backslashreplace")
    is_terminal = Console().is_terminal
    # A log has no width; the widest table has to fit without being cut. Nothing that an image or a registry
    # says is markup.
    width = None if is_terminal else 160
    console = Console(
        file=paper, force_terminal=is_terminal, width=width, markup=False, emoji=False, highlight=False
    )
    console.print(_Visible(_renderable(sheet)), soft_wrap=True)
    paper.seek(0)
    return paper.read()


def _renderable(sheet: Sheet) -> RenderableType:
    table = Table(title=sheet.title, title_justify="left")
    for heading in sheet.left:
        table.add_column(heading, no_wrap=True)
    for heading in sheet.right:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sheet.rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    return Group(table, Text(sheet.text)) if sheet.text else table


@dataclass(frozen=True, slots=True)
class _Visible:
    """What is drawn, with escapes for what would control the terminal and is not rich's own."""

    text: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.text, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n"))
