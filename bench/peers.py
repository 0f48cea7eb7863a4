"""Other tools that make zstd:chunked layers, and recompress, on one image, side by side in one run.

    TEST_MODULE=bench.peers hack/test.sh [--rounds N]

Every case goes from the gzip image in the registry to zstd:chunked layers in it, with the tool's own
defaults, in whole processes.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from recompress.skopeo import FORMAT_OPTIONS
from tests.images import HandmadeImage
from tests.integration.registries import running
from tests.integration.sources import gzipped, handmade

DIRECTORIES = ("/usr/lib/python3.14", "/usr/lib/python3", "/usr/lib/podman")
"""Real files, a layer each: of the container that this runs in."""

_CACHE = Path("/var/lib/containers/cache/blob-info-cache-v1.sqlite")

Commands = Sequence[Sequence[str]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with running() as registry:
        image = _image()
        for number in range(options.rounds):
            host = f"{registry.host}/peers/{number}"
            source = f"{host}/source@{registry.push(f'peers/{number}/source', image)}"
            for case, commands in _cases(source, host).items():
                # What one tool learned of layers must not help the next one.
                _CACHE.unlink(missing_ok=True)
                began = time.monotonic()
                for command in commands:
                    subprocess.run(command, check=True, capture_output=True)
                seconds.setdefault(case, []).append(time.monotonic() - began)
                print(f"  {case}: {seconds[case][-1]:.2f} s", file=sys.stderr, flush=True)
                subprocess.run(["buildah", "rmi", "--all", "--force"], check=False, capture_output=True)
    size = sum(map(len, image.layers)) / 1e6
    print(f"{len(image.layers)} layers, {size:.1f} MB as gzip, {options.rounds} rounds, medians\n")
    print("| tool | seconds | proven |\n| --- | ---: | --- |")
    for case, times in seconds.items():
        proven = "content and table of every layer" if case.startswith("recompress") else "nothing"
        print(f"| {case} | {statistics.median(times):.1f} | {proven} |")


def _cases(source: str, host: str) -> dict[str, Commands]:
    tls = "--tls-verify=false"
    skopeo = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
    recompress = ["recompress", "run", source, "--no-tls-verify", f"--to={host}/recompress"]
    chunked = "zstd:chunked"
    return {
        "`buildah pull`, `buildah push --compression-format`": [
            ["buildah", "pull", "--quiet", tls, source],
            ["buildah", "push", "--quiet", tls, f"--compression-format={chunked}", "--force-compression",
             source, f"docker://{host}/push:1"],
        ],
        "`buildah manifest push --add-compression`": [
            ["buildah", "manifest", "create", tls, "peers", f"docker://{source}"],
            ["buildah", "manifest", "push", "--quiet", "--all", tls, f"--add-compression={chunked}",
             "peers", f"docker://{host}/manifest:1"],
        ],
        "`skopeo copy --dest-force-compress-format`": [
            [*skopeo, *FORMAT_OPTIONS, f"docker://{source}", f"docker://{host}/skopeo:1"]
        ],
        "recompress, first": [recompress],
        "recompress, again": [recompress],
    }  # fmt: skip


def _image() -> HandmadeImage:
    streams = []
    for directory in DIRECTORIES:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(directory)
        streams.append(stream.getvalue())
    return handmade([(stream, gzipped(stream)) for stream in streams])


if __name__ == "__main__":
    main()
