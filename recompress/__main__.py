"""The entry point: `recompress`, or `python3 -m recompress`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Load the program and run it."""
    _open_what_is_closed()
    # Loading takes part of a second. Ctrl-C then is the end, and nothing to show a stack trace for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # httpx imports a command line of its own, where it can, and nobody calls that here.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from recompress import cli  # noqa: PLC0415 that is the point

    cli.main()


def _open_what_is_closed() -> None:
    """Let standard streams that are closed lead nowhere, or the next file to be opened would be one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is given, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 for as long as the program runs


if __name__ == "__main__":
    main()
