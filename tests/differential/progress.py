"""What a run has found so far, in a file, so that one that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recompress.layer import partial
from tests.differential.experiment import Result
from tests.differential.forging import Outcome


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has found, in a file of its own: by tool, and by batch of images and of forgeries."""

    file: Path
    sources: str
    seed: int
    tools: dict[str, Result] = field(default_factory=dict)
    images: dict[str, list[Result]] = field(default_factory=dict)
    forgeries: dict[str, list[Outcome]] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path, seed: int | None, new_seed: int) -> Progress:
        """That of the run which the file is of, if it is of this program and these tests and of that seed."""
        sources = _sources()
        if file.exists():
            document = json.loads(file.read_bytes())
            if document["sources"] == sources and seed in (None, document["seed"]):
                return cls(
                    file,
                    sources,
                    document["seed"],
                    {name: Result(**_tuples(one)) for name, one in document["tools"].items()},
                    {
                        name: [Result(**_tuples(o)) for o in found]
                        for name, found in document["images"].items()
                    },
                    {
                        name: [Outcome(**_tuples(one)) for one in found]
                        for name, found in document["forgeries"].items()
                    },
                )
        return cls(file, sources, new_seed if seed is None else seed)

    def add_tool(self, name: str, result: Result) -> None:
        """Keep the result of the image of a tool."""
        self.tools[name] = result
        self._write()

    def add_images(self, batch: str, results: Sequence[Result]) -> None:
        """Keep the results of a batch of images."""
        self.images[batch] = list(results)
        self._write()

    def add_forgeries(self, batch: str, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes of a batch of forgeries."""
        self.forgeries[batch] = list(outcomes)
        self._write()

    def _write(self) -> None:
        document = {
            "sources": self.sources,
            "seed": self.seed,
            "tools": {name: asdict(one) for name, one in self.tools.items()},
            "images": {name: list(map(asdict, found)) for name, found in self.images.items()},
            "forgeries": {name: list(map(asdict, found)) for name, found in self.forgeries.items()},
        }
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.replace(self.file)


def _tuples(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _sources() -> str:
    """What the results depend on: the program, the code of the tests, and the layers kept with it."""
    tests = Path(__file__).parent.parent
    directories = (Path(partial.__file__).parent.parent, Path(__file__).parent, tests / "data/tools")
    files = [
        file for each in directories for file in sorted(each.rglob("*")) if file.suffix in (".py", ".xz")
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
