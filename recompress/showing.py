"""A report on stdout: drawn first and written at once, so that it is there as a whole or an error."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from recompress import streams
from recompress.errors import UsageError
from recompress.printable import visible


class Output(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    JSON = "json"


class Report(Protocol):
    """What every command returns."""

    def as_json(self) -> str:
        """The report as one JSON object."""

    def as_text(self) -> RenderableType:
        """The report for people."""


def show(report: Report, output: Output) -> None:
    """Print a report on stdout. Raises UsageError where that cannot be written."""
    text = report.as_json() + "\n" if output is Output.JSON else _drawn(report.as_text())
    try:
        streams.write(sys.stdout, text)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to standard output ({error.strerror}); no results were written"
        ) from None


def _drawn(text: RenderableType) -> str:
    """What rich makes of it for stdout, which it does not write to: even an empty text can fail there."""
    paper = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding or "utf-8", "backslashreplace")
    is_terminal = Console().is_terminal
    # A log has no width; the widest table has to fit without being cut. Nothing that an image or a registry
    # says is markup.
    width = None if is_terminal else 160
    console = Console(
        file=paper, force_terminal=is_terminal, width=width, markup=False, emoji=False, highlight=False
    )
    console.print(_Visible(text), soft_wrap=True)
    paper.seek(0)
    return paper.read()


@dataclass(frozen=True, slots=True)
class _Visible:
    """What is drawn, with escapes for what would control the terminal and is not rich's own."""

    text: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.text, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n"))
