"""What a run has found so far, in a file, so that one that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recompress.layer import partial
from tests.differential.experiment import Result


@dataclass(frozen=True, slots=True)
class Progress:
    """The results of a run, by the names of its batches, in a file that is for this run only."""

    file: Path
    seed: int
    batches: dict[str, list[Result]]

    @classmethod
    def of(cls, file: Path, seed: int | None, new_seed: int) -> Progress:
        """That of the run which the file is of, if it is of these rules and tests and of that seed."""
        if file.exists():
            document = json.loads(file.read_bytes())
            if document["of"] == _sources() and seed in (None, document["seed"]):
                return cls(file, document["seed"], _batches(document["batches"]))
        return cls(file, new_seed if seed is None else seed, {})

    def add(self, name: str, results: Sequence[Result]) -> None:
        """Keep the results of a batch."""
        self.batches[name] = [*results]
        document = {
            "of": _sources(),
            "seed": self.seed,
            "batches": {name: list(map(asdict, results)) for name, results in self.batches.items()},
        }
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(document, indent=1))
        new.replace(self.file)


def _batches(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Result]]:
    return {
        name: [
            replace(
                Result(**result),
                why_full=tuple(result["why_full"]),
                difference=tuple(result["difference"]),
            )
            for result in results
        ]
        for name, results in document.items()
    }


def _sources() -> str:
    """What the results depend on: the rules, and the code of the tests."""
    files = [Path(partial.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
