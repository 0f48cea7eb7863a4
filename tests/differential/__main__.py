"""Random layers and those of real tools: what the rules say of them, and what the real podman does.

    python3 -m tests.differential [--layers N] [--seed N]

It runs in the tests' container (`make differential`). A run that was interrupted goes on where it was. What
must not be: a twin that is another image than its source to a client; a layer of a real tool, or more than
one of twenty random ones, pulled in full for nothing; and a rule that could be taken out of partial.py
without that it would be found here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recompress.reference import Digest
from tests.differential.experiment import Result, experiment
from tests.differential.layers import Image, random_images
from tests.differential.progress import Progress
from tests.differential.pulls import Laboratory, Stack
from tests.differential.report import ENOUGH, Count, verdict
from tests.differential.shrinking import shrink
from tests.differential.tools import tool_images
from tests.integration.registries import running

DIRECTORY = Path("build/differential")
BATCH = 50
TOOLS = "tools"


def main() -> int:
    """Run it; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="differential", description=__doc__)
    parser.add_argument("--layers", type=int, default=ENOUGH)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    progress = Progress.of(DIRECTORY / "progress.json", options.seed, int(time.time()))
    print(f"{options.layers} random layers, seed {progress.seed}", flush=True)
    with running() as registry, tempfile.TemporaryDirectory() as directory:
        laboratory = Laboratory(registry)
        if progress.is_new(TOOLS):
            progress.add(TOOLS, _tools(laboratory, tool_images(registry, Path(directory))))
        for name, images in _batches(progress.seed, options.layers):
            if progress.is_new(name):
                progress.add(name, _random(laboratory, images))
                print(f"{name}: {Count.of(progress.batches[name].values())}", flush=True)
    tools = progress.batches[TOOLS]
    found = [
        (_stack(image), result)
        for name, images in _batches(progress.seed, options.layers)
        for image, result in zip(images, progress.batches[name].values(), strict=True)
    ]
    is_right = verdict(found, tools)
    print(
        f"{options.layers} random layers, seed {progress.seed}: {'as it should be' if is_right else 'WRONG'}"
    )
    return 0 if is_right else 1


def _batches(seed: int, layers: int) -> Iterator[tuple[str, Sequence[Image]]]:
    """Images with so many layers together, by the names of their batches."""
    for start in range(0, layers, BATCH):
        end = min(start + BATCH, layers)
        yield f"layers {start} to {end}", random_images(f"{seed}/{start}", end - start)


def _stack(image: Image) -> Stack:
    return tuple(layer.stream for layer in image)


def _tools(laboratory: Laboratory, stacks: Mapping[str, Stack]) -> dict[str, Result]:
    results = {}
    for name, stack in stacks.items():
        # One by one: a client takes what it has of another image, however it pulled that.
        (results[name],) = experiment(laboratory, [stack])
        print(f"{name}: {Count.of([results[name]])}", flush=True)
        if results[name].wrong:
            print(f"  WRONG: {results[name].wrong}")
    return results


def _random(laboratory: Laboratory, images: Sequence[Image]) -> dict[str, Result]:
    def is_wrong(image: Image) -> bool:
        return experiment(laboratory, [_stack(image)])[0].wrong is not None

    results = experiment(laboratory, list(map(_stack, images)))
    for image, result in zip(images, results, strict=True):
        if result.wrong:
            print(f"WRONG: {result.wrong}\n  Looking for the smallest layer of that kind", flush=True)
            _write(shrink(image, is_wrong))
    return {str(number): result for number, result in enumerate(results)}


def _write(image: Image) -> None:
    """Write the layers to files, and show what is in them."""
    name = Digest.of(b"".join(_stack(image))).hex[:12]
    for number, layer in enumerate(image):
        file = DIRECTORY / f"{name}.{number}.tar"
        file.write_bytes(layer.stream)
        print(f"  {file}", *layer.entries, sep="\n    ")
    print("  When this is mended, move it to tests/data/differential, under a name that says what it is.")


if __name__ == "__main__":
    sys.exit(main())
