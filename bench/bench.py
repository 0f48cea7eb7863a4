"""How fast and how large, side by side with bare skopeo, in whole processes.

Each round runs every case once, one after the other, so that what changes on the machine changes for
all of them; what counts are the medians and their ratios. bench.sh runs this where it has everything.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recompress.jobs import default_jobs
from recompress.skopeo import FORMAT_OPTIONS
from tests.integration.registries import Registry
from tests.integration.sources import gzipped, handmade

_SAMPLE_SECONDS = 0.1
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sources:
    """The images, by reference with digest: a first build, and one with a small layer changed."""

    first: str
    changed: str
    size: int


@dataclass(slots=True)
class Bench:
    """The registry, the settings, and the seconds of each case so far."""

    registry: str
    jobs: int
    level: int | None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, case: str, command: Sequence[str]) -> None:
        """Run a command to its end and note how long it took."""
        began = time.monotonic()
        _run(command)
        took = time.monotonic() - began
        self.seconds.setdefault(case, []).append(took)
        print(f"  {case}: {took:.2f} s", file=sys.stderr, flush=True)

    def skopeo(self, source: str, to: str) -> list[str]:
        """Bare skopeo, with the level and the jobs that recompress gives it."""
        return [
            "skopeo",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            f"--image-parallel-copies={self.jobs}",
            *FORMAT_OPTIONS,
            *([f"--dest-compress-level={self.level}"] if self.level else []),
            f"docker://{source}",
            f"docker://{to}:twin",
        ]

    def recompress(self, source: str, to: str, *options: str) -> list[str]:
        """recompress run, as a user calls it."""
        level = [f"--level={self.level}"] if self.level else []
        command = ["recompress", "run", source, "--to", to, "--no-tls-verify", "--output=json"]
        return [*command, f"--jobs={self.jobs}", *level, *options]


def main() -> None:
    """Run all rounds and print a report in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--registry", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", type=int, help="default: skopeo's own")
    parser.add_argument("--jobs", type=int, default=default_jobs())
    parser.add_argument("--work", type=Path, required=True, help="a directory the container engine sees too")
    parser.add_argument("--without-large-layers", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(arguments.registry, arguments.jobs, arguments.level)
    sources = _build(bench, arguments.work)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        _round(bench, sources, number)
    if arguments.rounds:
        print("\n".join(_times(bench, sources, arguments.rounds)), flush=True)
    print("\n".join(_memory(bench, sources)), flush=True)
    if not arguments.without_large_layers:
        print("\n".join(_large_layers(bench)), flush=True)


def _round(bench: Bench, sources: Sources, number: int) -> None:
    def repository(name: str) -> str:
        return f"{bench.registry}/bench/{name}-{number}"

    structure, content = repository("structure"), repository("content")
    bench.timed("skopeo, first", bench.skopeo(sources.first, repository("skopeo")))
    bench.timed("structure, first", bench.recompress(sources.first, structure, "--verify=structure"))
    bench.timed("content, first", bench.recompress(sources.first, content))
    bench.timed("structure, again", bench.recompress(sources.first, structure, "--verify=structure"))
    bench.timed("content, again", bench.recompress(sources.first, content))
    bench.timed("skopeo, changed", bench.skopeo(sources.changed, repository("skopeo-changed")))
    bench.timed("content, changed", bench.recompress(sources.changed, content))


def _times(bench: Bench, sources: Sources, rounds: int) -> list[str]:
    median = {case: statistics.median(seconds) for case, seconds in bench.seconds.items()}

    def row(what: str, case: str, against: str, aim: str) -> str:
        spread = f"{min(bench.seconds[case]):.2f} to {max(bench.seconds[case]):.2f}"
        ratio = median[against] / median[case]
        ratio_text = f"{ratio:.1f} times faster" if ratio > 1.5 else f"{1 / ratio:.2f} times the time"
        return (
            f"| {what} | {median[case]:.2f} s ({spread}) | {median[against]:.2f} s | {ratio_text} | {aim} |"
        )

    bare, changed = "skopeo, first", "skopeo, changed"
    level = bench.level or "skopeo's default"
    return [
        f"{rounds} rounds, {bench.jobs} jobs, level: {level}, {sources.size / 1e6:.1f} MB as gzip; medians.",
        "",
        "| case | recompress (spread) | compared with | ratio | aim |",
        "| --- | --- | --- | --- | --- |",
        row("first run, `--verify structure`", "structure, first", bare, "at most 1.10 times bare skopeo"),
        row("first run, content proven", "content, first", "structure, first", "at most 1.15 times"),
        row("same image again, content proven", "content, again", bare, "10 times faster"),
        row("same image again, `--verify structure`", "structure, again", bare, "30 times faster"),
        row("one small layer changed, content proven", "content, changed", changed, "8 times faster"),
        "",
    ]


def _memory(bench: Bench, sources: Sources) -> list[str]:
    to = f"{bench.registry}/bench/memory"
    bare = _peak(bench.skopeo(sources.first, f"{to}-skopeo"))
    first = _peak(bench.recompress(sources.first, to))
    again = _peak(bench.recompress(sources.first, to))
    return [
        "| peak memory (PSS, MiB) | recompress and its provers | skopeo | together |",
        "| --- | --- | --- | --- |",
        _memory_row("bare skopeo", bare),
        _memory_row("first run, content proven", first),
        _memory_row("same image again, content proven", again),
        "",
    ]


def _large_layers(bench: Bench) -> list[str]:
    """One layer of 2 GB and one of 200,000 files: proven, in bounded memory, at which speed."""
    fast = Bench(bench.registry, bench.jobs, 1)
    rows = []
    for name, files in (("2 GB in 8 files", _large_files()), ("200,000 files", _small_files())):
        stream = _tar(files)
        image = handmade([(stream, gzipped(stream))])
        digest = Registry(bench.registry, bench.registry).push("bench/large", image)
        del stream, image
        source, to = f"{bench.registry}/bench/large@{digest}", f"{bench.registry}/bench/large-twin"
        peak = _peak(fast.recompress(source, to, "--no-reuse"))
        began = time.monotonic()
        report = json.loads(_run(fast.recompress(source, to)))
        seconds = time.monotonic() - began
        verified = json.loads(_verify(source, report["twin"]))
        size = sum(layer["uncompressed_size"] for layer in verified["layers"])
        rows.append(
            f"| {name} | {size / 1e6:.0f} MB | {seconds:.2f} s | {size / seconds / 1e6:.0f} MB/s "
            f"| {peak['recompress']:.0f} | {peak['skopeo']:.0f} |"
        )
    return [
        "| one layer of | uncompressed | proven again, whole process | one core proves "
        "| recompress, MiB | skopeo, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]


def _verify(source: str, twin: str) -> str:
    return _run(["recompress", "verify", source, twin, "--no-tls-verify", "--output=json"])


# Images


def _build(bench: Bench, work: Path) -> Sources:
    """An image of four layers, 300 MB and more of a real Debian, and a small layer of its own."""
    context = work / "context"
    context.mkdir(parents=True)
    # A base of its own: in one go with it, the large layer would be built anew each time.
    base = f"{bench.registry}/bench/base"
    (context / "Containerfile").write_text(
        "FROM recompress-test AS tools\n"
        "FROM recompress-runtime\n"
        "COPY --from=tools /usr/bin/buildah /usr/bin/crane /usr/sbin/dockerd /opt/tools/\n"
    )
    _run(
        ["docker", "build", "--quiet", "--tag", base, "--file", str(context / "Containerfile"), str(context)]
    )
    (context / "Containerfile").write_text(f"FROM {base}\nCOPY app /app\n")
    references = []
    for version in ("first", "changed"):
        app = context / "app"
        app.mkdir(exist_ok=True)
        for number in range(40):
            (app / f"module{number}.py").write_text(f"VERSION = {version!r}\n" * 1000)
        (app / "data").write_bytes(os.urandom(1_000_000))
        references.append(_image(bench, version, context))
    _run(["docker", "rmi", base])
    (first, size), (changed, _) = references
    return Sources(first, changed, size)


def _image(bench: Bench, tag: str, context: Path) -> tuple[str, int]:
    """Build and push an image; returns its reference with digest, and the bytes of its layers."""
    repository = f"{bench.registry}/bench/source"
    name = f"{repository}:{tag}"
    print(f"building {name}", file=sys.stderr, flush=True)
    _run(
        ["docker", "build", "--quiet", "--tag", name, "--file", str(context / "Containerfile"), str(context)]
    )
    _run(["docker", "push", "--quiet", name])
    inspected = json.loads(_run(["recompress", "inspect", name, "--no-tls-verify", "--output=json"]))
    _run(["docker", "rmi", name])
    # Without the tag: skopeo takes none beside a digest.
    return f"{repository}@{inspected['manifests'][0]['digest']}", inspected["manifests"][0]["size"]


def _large_files() -> Iterator[tuple[str, bytes]]:
    # Half of it compresses, as in most images.
    for number in range(8):
        text = (b"%d of a file that compresses\n" % number) * (128 * _MIB // 29)
        yield f"file{number}", os.urandom(128 * _MIB) + text


def _small_files() -> Iterator[tuple[str, bytes]]:
    for number in range(200_000):
        yield f"{number // 1000:03}/file-{number:06}.txt", f"this is file number {number}\n".encode() * 40


def _tar(files: Iterator[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


# Processes


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _peak(command: Sequence[str]) -> dict[str, float]:
    """Run a command and return the peaks of its memory in MiB: recompress's own, skopeo's, both."""
    peak = {"recompress": 0.0, "skopeo": 0.0, "together": 0.0}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(_SAMPLE_SECONDS):
                used = {"recompress": 0.0, "skopeo": 0.0}
                for pid in _tree(process.pid):
                    name, mebibytes = _usage(pid)
                    used["skopeo" if name == "skopeo" else "recompress"] += mebibytes
                used["together"] = sum(used.values())
                for key, value in used.items():
                    peak[key] = max(peak[key], value)

        sampler = threading.Thread(target=sample)
        sampler.start()
        status = process.wait()
        stop.set()
        sampler.join()
    if status:
        sys.exit(f"{' '.join(command)} failed with exit status {status}")
    return peak


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        found.extend(map(int, children))
    return found


def _usage(pid: int) -> tuple[str, float]:
    """Name and proportional set size: what processes share counts once."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return "", 0.0
    kibibytes = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return name, kibibytes / 1024


def _memory_row(case: str, peak: dict[str, float]) -> str:
    return f"| {case} | {peak['recompress']:.0f} | {peak['skopeo']:.0f} | {peak['together']:.0f} |"


if __name__ == "__main__":
    main()
