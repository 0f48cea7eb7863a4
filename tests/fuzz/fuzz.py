#!/usr/bin/env python3
"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz.fuzz TARGET [CORPUS] [libFuzzer options]`.

TARGET is one of those in targets.py; `make fuzz` goes through all of them, and installs atheris.
An input that makes anything but VerificationFailed or Unsupported ends the run and is written to a file; put
it, renamed to TARGET-what-it-shows, into findings/, and tests/unit/test_fuzz.py keeps it fixed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["recompress", "json"]):
    from tests.fuzz.targets import TARGETS, run, seeds


def main() -> None:
    name = sys.argv[1]
    if name not in TARGETS:
        raise SystemExit(f"no such target: {name}; there are {', '.join(TARGETS)}")
    arguments = sys.argv[2:]
    corpus = Path(arguments[0] if arguments and not arguments[0].startswith("-") else f"build/fuzz/{name}")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [argument for argument in arguments if argument.startswith("-")]
    atheris.Setup([sys.argv[0], str(corpus), *options], lambda data: run(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
