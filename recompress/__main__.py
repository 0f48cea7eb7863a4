"""The entry point: `recompress`, or `python3 -m recompress`."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the program and run it."""
    # Loading takes part of a second. Ctrl-C then is the end, and nothing to show a stack trace for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from recompress import cli  # noqa: PLC0415 that is the point

    cli.main()


if __name__ == "__main__":
    main()
