"""What the rules and `recompress` say of layers and of twins, and what the real podman does with them.

    python3 -m tests.differential [--layers N] [--forgeries N] [--seed N]

It runs in the tests' container (`make differential`). A run that was interrupted goes on where it was. What
must not be: a twin that is another image than its source to a client, made by recompress or forged and taken
for one; a layer of a real tool that is refused; a layer of a builder, or more than one of twenty random ones,
that is pulled in full for nothing; and a rule that could be taken out of partial.py without that it would be
found here.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.differential.experiment import Result, experiment
from tests.differential.forging import Forgery, Outcome, random_forgeries, try_forgeries
from tests.differential.found import write_forgery, write_image
from tests.differential.layers import Image, random_images
from tests.differential.progress import Progress
from tests.differential.pulls import Laboratory, Stack, stack_of
from tests.differential.report import ENOUGH, Count, verdict
from tests.differential.shrinking import shrink, shrink_forgery
from tests.differential.tools import tool_images
from tests.integration.registries import running

DIRECTORY = Path("build/differential")
BATCH = 50


def main() -> int:
    """Run it; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="differential", description=__doc__)
    parser.add_argument("--layers", type=int, default=ENOUGH)
    parser.add_argument("--forgeries", type=int, default=ENOUGH)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    progress = Progress.of(DIRECTORY / "progress.json", options.seed, int(time.time()))
    print(
        f"{options.layers} random layers and {options.forgeries} forgeries, seed {progress.seed}", flush=True
    )
    with running() as registry, tempfile.TemporaryDirectory() as directory:
        laboratory = Laboratory(registry)
        tools = tool_images(registry, Path(directory))
        for name, stack in tools.items():
            if name not in progress.tools:
                # One by one: a client takes what it has of another image, however it pulled that.
                (result,) = experiment(laboratory, [stack])
                progress.add_tool(name, result)
                print(f"{name}: {Count.of([result])}", flush=True)
        found = list(_try_images(laboratory, progress, options.layers))
        outcomes = list(
            _try_forgeries(laboratory, progress, options.forgeries, [image for image, _ in found])
        )
    stacks: list[tuple[Stack, Result]] = [(stack_of(image), result) for image, result in found]
    is_right = verdict(stacks, progress.tools, outcomes)
    print(f"Seed {progress.seed}: {'as it should be' if is_right else 'WRONG'}")
    return 0 if is_right else 1


def _try_images(laboratory: Laboratory, progress: Progress, layers: int) -> Iterator[tuple[Image, Result]]:
    """Random images and what came of them, until so many layers were judged."""
    judged = 0
    for name, images in _batches(progress.seed, layers):
        if judged >= layers:
            return
        if name not in progress.images:
            results = experiment(laboratory, [stack_of(image) for image in images])
            for image, result in zip(images, results, strict=True):
                if result.wrong:
                    print(f"WRONG: {result.wrong}\n  Looking for the smallest layer of that kind", flush=True)
                    write_image(DIRECTORY, shrink(image, lambda one: _is_wrong(laboratory, one)))
            progress.add_images(name, results)
            print(f"{name}: {Count.of(results)}", flush=True)
        count = Count.of(progress.images[name])
        judged += count.layers - count.incomparable
        yield from zip(images, progress.images[name], strict=True)


def _batches(seed: int, layers: int) -> Iterator[tuple[str, Sequence[Image]]]:
    """Images by the names of their batches, without an end."""
    for number in itertools.count():
        images = random_images(f"{seed}/{number}", layers)
        for start in range(0, len(images), BATCH):
            yield f"images {number}.{start} to {start + BATCH}", images[start : start + BATCH]


def _is_wrong(laboratory: Laboratory, image: Image) -> bool:
    return experiment(laboratory, [stack_of(image)])[0].wrong is not None


def _try_forgeries(
    laboratory: Laboratory, progress: Progress, count: int, images: Sequence[Image]
) -> Iterator[Outcome]:
    """What came of random forgeries of these images, until so many were judged."""
    judged = 0
    forgeries = random_forgeries(str(progress.seed), images)
    # Some change nothing, and some a registry does not take.
    for start in itertools.count(step=BATCH):
        if judged >= count:
            return
        batch = list(itertools.islice(forgeries, BATCH))
        name = f"forgeries {start} to {start + BATCH}"
        if name not in progress.forgeries:
            outcomes = try_forgeries(laboratory, batch)
            for forgery, outcome in zip(batch, outcomes, strict=True):
                if outcome.wrong:
                    _tell_forgery(laboratory, forgery, outcome)
            progress.add_forgeries(name, outcomes)
            codes = [outcome.code for outcome in outcomes]
            print(f"{name}: {codes.count(0)} proven, {codes.count(6) + codes.count(5)} refused", flush=True)
        judged += sum(outcome.code is not None for outcome in progress.forgeries[name])
        yield from progress.forgeries[name]


def _tell_forgery(laboratory: Laboratory, forgery: Forgery, outcome: Outcome) -> None:
    print(f"WRONG: {outcome.wrong}\n  Looking for the smallest forgery of that kind", flush=True)

    def is_wrong(other: Forgery) -> bool:
        return try_forgeries(laboratory, [other])[0].wrong is not None

    write_forgery(DIRECTORY, laboratory, shrink_forgery(forgery, is_wrong))


if __name__ == "__main__":
    sys.exit(main())
