"""A run that something happens to, and what may be true afterwards, whatever it was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.command import Outcome, environment, outcome_of, recompress
from tests.integration.registries import Registry

CACHE_TAG = "zstd-chunked-cache-linux-amd64"
CLEAN_OLD, CLEAN_NEW = "clean/old", "clean/new"
_PATIENCE_SECONDS = 30


def layer(seed: int) -> dict[str, bytes]:
    """Some files that no compression makes much smaller, the same for the same seed."""
    numbers = random.Random(seed)
    return {f"{seed}/{n}": numbers.randbytes(3000) + b"\0" * 1000 for n in range(5)}


OLD = images.gzip_image(layer(1), layer(2))
NEW = images.gzip_image(layer(1), layer(3), docker=True)


def clean_twin(registry: Registry, repository: str, image: HandmadeImage) -> Digest:
    """The digest of the twin, made where nothing happens."""
    source = f"{registry.host}/{repository}@{registry.push(repository, image)}"
    ended = recompress("run", source, "--no-tls-verify", "--no-reuse", "--output=json").succeeded()
    return Digest.parse(ended.report["twin_digest"])


@dataclass(frozen=True, slots=True)
class Scene:
    """A repository with the old image, its twin, and the new image, whose twin is not made yet.

    `at` is the host by which the run reaches the registry.
    """

    registry: Registry
    repository: str
    at: str
    work: Path
    old_twin: Digest
    new_twin: Digest

    @property
    def tag(self) -> str:
        """Where the twin of the new image will be."""
        return f"sha256-{NEW.digest.hex}.zstd-chunked"

    def prepare(self) -> Scene:
        """Push both images and put the twin of the old one there, from where nothing happened."""
        for image in (OLD, NEW):
            self.registry.push(self.repository, image)
        twin = self.registry.manifest(CLEAN_OLD, str(self.old_twin))
        document = json.loads(twin)
        for blob in (document["config"], *document["layers"]):
            self.registry.push_blob(self.repository, self.registry.blob(CLEAN_OLD, blob["digest"]))
        for tag in (f"sha256-{OLD.digest.hex}.zstd-chunked", CACHE_TAG):
            self.registry.push_manifest(self.repository, twin, selector=tag)
        for name in ("results", "tmp"):
            (self.work / name).mkdir(parents=True)
        return self

    @property
    def results(self) -> Path:
        """The results directory."""
        return self.work / "results"

    @property
    def command(self) -> list[str]:
        """The run of the new image."""
        return [
            "recompress",
            "run",
            f"{self.at}/{self.repository}@{NEW.digest}",
            "--no-tls-verify",
            "--output=json",
            f"--results-dir={self.results}",
        ]

    def environment(self, **more: str) -> dict[str, str]:
        """With a TMPDIR of its own, by which all of the run's processes are known."""
        return environment(TMPDIR=str(self.work / "tmp"), **more)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the run."""
        return subprocess.Popen(
            [*self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(**env),
        )

    def ended(self, process: subprocess.Popen[str]) -> Outcome:
        """Wait for the end of the run, and assert all that is true after any run."""
        out, err = process.communicate(timeout=300)
        outcome = outcome_of(process.returncode, out, err, self.results)
        self.check(outcome)
        return outcome

    def run(self, *arguments: str, **env: str) -> Outcome:
        """Run to the end, and assert all that is true after any run."""
        return self.ended(self.start(*arguments, **env))

    def check(self, outcome: Outcome) -> None:
        """Assert what is true after any run, be it killed."""
        tags = {tag: self.digest_of(tag) for tag in self.registry.tags(self.repository)}
        assert tags.pop(f"sha256-{OLD.digest.hex}.zstd-chunked") == self.old_twin
        moving, mine = tags.pop(CACHE_TAG), tags.pop(self.tag, None)
        assert tags == {}
        if outcome.code == 0:
            assert mine == self.new_twin
            assert moving == self.new_twin
            assert outcome.results["IMAGE_DIGEST"] == str(self.new_twin)
            assert len(outcome.results) == 4
        else:
            # Results are several files: SIGKILL can come between two of them, and nothing else.
            assert outcome.results == {} or (outcome.code == -9 and mine and moving == mine)
            # What is tagged was proven, or it would not be.
            assert mine in (None, self.new_twin)
            assert moving in (self.old_twin, self.new_twin if mine else None)
        for image in (OLD, NEW):
            assert self.registry.manifest(self.repository, str(image.digest)) == image.manifest
        for process in self.processes():
            wait_for_its_end(process)
        if outcome.code != -9:
            assert list((self.work / "tmp").iterdir()) == []
            assert list(self.results.glob(".*")) == []

    def digest_of(self, tag: str) -> Digest:
        """What a tag points to; the request that puts it there can outlive a run that was killed."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return Digest.of(self.registry.manifest(self.repository, tag))
            except httpx.HTTPStatusError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def processes(self) -> list[int]:
        """All processes of the run that are still there."""
        mark = f"TMPDIR={self.work / 'tmp'}".encode()
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and mark in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
        return [number for number in found if number != os.getpid()]


def wait_for_its_end(process: int) -> None:
    """A process may take a moment to end after the one that started it; no more than that."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while Path(f"/proc/{process}/exe").exists():
        assert time.monotonic() < deadline, Path(f"/proc/{process}/cmdline").read_bytes()
        time.sleep(0.02)
