"""What a run has found so far, in a file, so that one that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recompress.layer import partial
from tests.differential.experiment import Result


@dataclass(frozen=True, slots=True)
class Progress:
    """The results of a run, by batch and by image, in a file that is for this run only."""

    file: Path
    sources: str
    seed: int
    batches: dict[str, dict[str, Result]]

    @classmethod
    def of(cls, file: Path, seed: int | None, new_seed: int) -> Progress:
        """That of the run which the file is of, if it is of these rules and tests and of that seed."""
        sources = _sources()
        if file.exists():
            document = json.loads(file.read_bytes())
            if document["sources"] == sources and seed in (None, document["seed"]):
                batches = {
                    batch: {name: _result(result) for name, result in results.items()}
                    for batch, results in document["batches"].items()
                }
                return cls(file, sources, document["seed"], batches)
        return cls(file, sources, new_seed if seed is None else seed, {})

    def is_new(self, batch: str) -> bool:
        """Whether a batch is still to be done."""
        return batch not in self.batches

    def add(self, batch: str, results: Mapping[str, Result]) -> None:
        """Keep the results of a batch."""
        self.batches[batch] = dict(results)
        batches = {
            batch: {name: asdict(result) for name, result in results.items()}
            for batch, results in self.batches.items()
        }
        new = self.file.with_suffix(".new")
        document = {"sources": self.sources, "seed": self.seed, "batches": batches}
        new.write_text(json.dumps(document))
        new.replace(self.file)


def _result(fields: Mapping[str, Any]) -> Result:
    lists = {name: tuple(fields[name]) for name in ("why_full", "difference")}
    return Result(**{**fields, **lists})


def _sources() -> str:
    """What the results depend on: the rules, and the code of the tests."""
    files = [*sorted(Path(partial.__file__).parent.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
