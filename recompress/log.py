"""Where log records go: to stderr, and warnings into the report as well."""

from __future__ import annotations

import logging

from recompress import streams
from recompress.printable import visible


def to_stderr(debug: bool) -> None:
    """Log to stderr: warnings, and with `debug` everything."""
    logging.basicConfig(handlers=[_StderrHandler()], format="%(levelname)s: %(message)s", force=True)
    if debug:
        logging.getLogger("recompress").setLevel(logging.DEBUG)


def no_more() -> None:
    """Log nothing from here on: threads that nobody waits for may have something to say."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _StderrHandler):
            handler.no_more()


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: live bars put their own in its place."""

    _is_open = True

    def no_more(self) -> None:
        """Write nothing any more. A thread that has found this handler already is waited for, or is late."""
        self.acquire()
        self._is_open = False
        self.release()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_open:
            return
        if record.exc_info is None:
            # One record is one line, whatever is in it.
            streams.say(visible(self.format(record)))
        else:
            streams.say(self.format(record))


class Warnings(logging.Handler):
    """Gathers the warnings that are logged while it is open, so that the report has them too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a warning."""
        self.texts.append(record.getMessage())

    def __enter__(self) -> Warnings:
        logging.getLogger("recompress").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("recompress").removeHandler(self)
