"""How fast the proof of layers is by itself, of bytes in memory.

`TEST_MODULE=bench.proof hack/engine.sh hack/test.sh` runs it in the container of the tests, whose files and
whose skopeo make the layers. Each round measures every case once; what counts are the medians.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recompress.jobs import default_jobs
from recompress.layer import Layout, prove_layer
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest
from recompress.skopeo import FORMAT_OPTIONS

_CHUNK_BYTES = 64 * 1024
_TINY_FILES = 40_000
_AIMS = ("450 MB/s", "36,000 entries/s", "240 MB/s per core")


@dataclass(frozen=True, slots=True)
class Layer:
    """A zstd:chunked layer in memory, the bytes that it decompresses to, and how many entries that has."""

    descriptor: Descriptor
    diff_id: Digest
    blob: bytes
    size: int
    entries: int

    def prove(self, helper: Executor | None = None) -> None:
        """Prove the layer."""
        layout, blob = Layout.of(self.descriptor), self.blob
        toc, tar_split = (io.BytesIO(blob[part.offset : part.end]) for part in (layout.toc, layout.tar_split))
        chunks = (blob[at : at + _CHUNK_BYTES] for at in range(0, len(blob), _CHUNK_BYTES))
        prove_layer(self.descriptor, self.diff_id, chunks, toc, tar_split, helper=helper)


def main() -> None:
    """Run all rounds and print a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds, cores = parser.parse_args().rounds, default_jobs()
    large, tiny = _layer("ordinary files", _tree("/usr/lib")), _layer("tiny files", _tiny())
    several = [large, _layer("more files", _tree("/usr/bin"))] * cores
    seconds = []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        seconds.append((_alone(large, cores), _alone(tiny, cores), _at_once(several, cores)))
    in_one, in_tiny, in_several = map(statistics.median, zip(*seconds, strict=True))
    size = sum(layer.size for layer in several)
    speeds = (
        f"{large.size / in_one / 1e6:.0f} MB/s",
        f"{tiny.entries / in_tiny:,.0f} entries/s",
        f"{size / in_several / cores / 1e6:.0f} MB/s per core",
    )
    cases = (
        f"one layer of {large.entries:,} ordinary files, {large.size / 1e6:.0f} MB",
        f"one layer of {tiny.entries:,} files of a kilobyte",
        f"{len(several)} layers at once, {size / 1e6:.0f} MB",
    )
    print(f"{rounds} rounds, {cores} cores; medians.\n\n| the proof of | speed | aim |\n| --- | --- | --- |")
    for row in zip(cases, speeds, _AIMS, strict=True):
        print(f"| {' | '.join(row)} |")


def _alone(layer: Layer, cores: int) -> float:
    with ThreadPoolExecutor(1) as helper:
        began = time.perf_counter()
        layer.prove(helper if cores > 1 else None)
        return time.perf_counter() - began


def _at_once(layers: Sequence[Layer], processes: int) -> float:
    """As the provers do it: each process proves one layer after the other."""
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=_one_by_one, args=(layers[first::processes],)) for first in range(processes)
    ]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    if any(worker.exitcode for worker in workers):
        sys.exit("a layer could not be proven")
    return took


def _one_by_one(layers: Sequence[Layer]) -> None:
    for layer in layers:
        layer.prove()


# Layers


def _layer(name: str, members: Iterator[tuple[tarfile.TarInfo, bytes]]) -> Layer:
    """What skopeo makes of a tar stream."""
    print(f"compressing a layer of {name}", file=sys.stderr, flush=True)
    stream, entries = io.BytesIO(), 0
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
            entries += 1
    diff_id = Digest.of(stream.getvalue())
    with tempfile.TemporaryDirectory() as work:
        source, made = Path(work, "source"), Path(work, "made")
        _write_image(source, stream.getvalue())
        options = [*FORMAT_OPTIONS, "--dest-compress-level=3", "--insecure-policy", "--quiet"]
        subprocess.run(["skopeo", "copy", *options, f"dir:{source}", f"oci:{made}:layer"], check=True)
        (manifest,) = json.loads((made / "index.json").read_bytes())["manifests"]
        (layer,) = json.loads(_blob(made, manifest["digest"]))["layers"]
        descriptor = Descriptor(
            layer["mediaType"], Digest.parse(layer["digest"]), layer["size"], layer["annotations"]
        )
        return Layer(descriptor, diff_id, _blob(made, layer["digest"]), stream.tell(), entries)


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def _write_image(directory: Path, stream: bytes) -> None:
    """An image of one gzip layer, in the `dir:` transport's layout."""
    directory.mkdir()
    (directory / "version").write_text("Directory Transport Version: 1.1\n")
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(stream))]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    parts = {MediaType.OCI_CONFIG: config, MediaType.OCI_LAYER_GZIP: gzip.compress(stream, 1)}
    described = []
    for media_type, content in parts.items():
        digest = Digest.of(content)
        (directory / digest.hex).write_bytes(content)
        described.append({"mediaType": media_type, "digest": str(digest), "size": len(content)})
    manifest = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": described[0],
        "layers": described[1:],
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _tree(root: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files below a directory, with times of whole seconds, as builders write them."""
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:
        for directory, _, names in os.walk(root):
            for path in (directory, *(os.path.join(directory, name) for name in sorted(names))):
                member = archive.gettarinfo(path)
                member.mtime = int(member.mtime)
                yield member, Path(path).read_bytes() if member.isreg() else b""


def _tiny() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for number in range(_TINY_FILES):
        member = tarfile.TarInfo(f"srv/{number // 200}/module-{number}.py")
        content = f"from {Digest.of(member.name.encode()).hex} import value\n" * 13
        member.size = len(content)
        yield member, content.encode()


if __name__ == "__main__":
    main()
