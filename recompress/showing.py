"""A report on stdout: drawn first and written at once, so that it is there as a whole or an error."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Protocol

from recompress import streams
from recompress.errors import UsageError
from recompress.sheet import Sheet


class Output(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    JSON = "json"


class Report(Protocol):
    """What every command returns."""

    def as_json(self) -> str:
        """The report as one JSON object."""

    def as_text(self) -> Sheet:
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


def _drawn(sheet: Sheet) -> str:
    from recompress import drawing  # noqa: PLC0415 a report as JSON does not wait for it

    return drawing.drawn(sheet)
