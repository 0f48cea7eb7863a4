"""Standard output and standard error, which can be closed, full, or a pipe that nobody reads any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from recompress.printable import visible


def write(stream: TextIO, text: str) -> None:
    """Write a text at once, with escapes for what the stream's encoding has no characters for.

    Raises OSError where it cannot be written. The stream takes anything after that, to nowhere.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError:
        # What is left in its buffer would fail once more when Python ends, and be exit 120.
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        raise


def say(text: str, stream: TextIO | None = None) -> None:
    """Write lines to a log, by default stderr. Where it takes none they are lost: no run fails for that."""
    with suppress(OSError):
        write(stream or sys.stderr, visible(text, keep="\n") + "\n")
