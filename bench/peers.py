"""Other tools that make zstd layers out of gzip layers, and recompress, on one image, side by side.

Every tool goes from the gzip image in the registry to an image in it, with its own defaults, in whole
processes. What comes out is pulled by podman, compared with the source, and shown to `recompress verify`. A
tool that is not there has a row that says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import run, say, timed
from bench.setting import SKOPEO, Figures, Setting
from bench.sources import Source, layered, push, tar, tar_of
from recompress.skopeo import FORMAT_OPTIONS
from tests.integration.clients import podman

_LAYERS = ("/usr/lib/python3.14", "/usr/lib/podman", "/usr/bin/crane")
"""Real files, a layer each: of the container that this runs in."""

_CACHE = Path("/var/lib/containers/cache/blob-info-cache-v1.sqlite")
_ROUNDS = 3
_SETTINGS = {
    "Env": ["A=b"],
    "Healthcheck": {"Test": ["CMD", "/bin/check"], "Interval": 30_000_000_000},
    "OnBuild": ["COPY later /later"],
    "Shell": ["/bin/bash", "-c"],
}
_ANNOTATIONS = {"org.opencontainers.image.revision": "0123456789", "example.key": "value"}

_TLS = "--tls-verify=false"
_CHUNKED = "--compression-format=zstd:chunked"


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: what has to be there for it, and its commands from a source to a target, REPO:TAG."""

    name: str
    needs: str
    commands: Callable[[str, str], Sequence[Sequence[str]]]


_PEERS = (
    Peer("`buildah pull`, `buildah push --compression-format`", "buildah", lambda source, to: [
        ["buildah", "pull", "--quiet", _TLS, source],
        ["buildah", "push", "--quiet", _TLS, _CHUNKED, "--force-compression", source, f"docker://{to}"],
    ]),
    Peer("`buildah manifest push --add-compression`", "buildah", lambda source, to: [
        ["buildah", "manifest", "create", _TLS, "peers", f"docker://{source}"],
        ["buildah", "manifest", "push", "--quiet", "--all", _TLS, "--add-compression=zstd:chunked", "peers",
         f"docker://{to}"],
    ]),
    Peer("`podman pull`, `podman push --compression-format`", "podman", lambda source, to: [
        ["podman", "pull", "--quiet", _TLS, source],
        ["podman", "push", "--quiet", _TLS, _CHUNKED, "--force-compression", source, f"docker://{to}"],
    ]),
    Peer("`skopeo copy --dest-force-compress-format`", "skopeo", lambda source, to: [
        [*SKOPEO, *FORMAT_OPTIONS, f"docker://{source}", f"docker://{to}"],
    ]),
    Peer("`ctr-remote image convert --zstdchunked`", "ctr-remote", lambda source, to: [
        ["ctr", "content", "fetch", "--plain-http", source],
        ["ctr-remote", "image", "convert", "--zstdchunked", "--oci", source, to],
        ["ctr", "images", "push", "--plain-http", to],
    ]),
    Peer("`regctl image mod --layer-compress zstd`", "regctl", lambda source, to: [
        ["regctl", f"--host=reg={to.partition('/')[0]},tls=disabled", "image", "mod", "--layer-compress=zstd",
         f"--create={to}", source],
    ]),
    Peer("`recompress run`", "recompress", lambda source, to: [
        ["recompress", "run", source, f"--to={to}", "--no-tls-verify"],
    ]),
)  # fmt: skip


def peers(setting: Setting) -> Figures:
    """For each tool the seconds, and what it has made of an OCI image and of a Docker image."""
    streams = [tar_of(path) for path in _LAYERS]
    oci = push(setting, "peers", layered(streams, settings=_SETTINGS, annotations=_ANNOTATIONS))
    # The second layer as buildah builds them: without the directory that it changes nothing of.
    small = [tar([("file", b"of a Docker image\n" * 9999)]), tar([("etc/app.conf", b"a = b\n" * 999)])]
    docker = push(setting, "peers", layered(small, settings=_SETTINGS, docker=True))
    tools: dict[str, Figures] = {}
    with _containerd():
        for number in range(min(_ROUNDS, setting.rounds)):
            for peer in _PEERS:
                if shutil.which(peer.needs) is None:
                    tools[peer.name] = {"missing": peer.needs}
                    continue
                found = tools.setdefault(peer.name, {"first": [], "again": []})
                for which in ("first", "again"):
                    found[which].append(seconds := _timed(peer, oci, _to(setting, peer, number)))
                    say(f"  {peer.name}, {which}: {seconds:.2f} s")
        for peer in _PEERS:
            if peer.name in tools and "first" in tools[peer.name]:
                _timed(peer, docker, _to(setting, peer, "docker"))
                tools[peer.name]["oci"] = _made(setting, oci, _to(setting, peer, 0))
                tools[peer.name]["docker"] = _made(setting, docker, _to(setting, peer, "docker"))
    return {"size": oci.size, "layers": len(streams), "tools": tools}


def _to(setting: Setting, peer: Peer, which: object) -> str:
    name = re.sub("[^a-z]+", "-", peer.name).strip("-")
    return setting.repository(f"peers-{name}-{which}:1")


def _timed(peer: Peer, source: Source, to: str) -> float:
    """The seconds of a tool that has learned nothing of the image before."""
    _CACHE.unlink(missing_ok=True)
    seconds = sum(map(timed, peer.commands(source.reference, to)))
    subprocess.run(["buildah", "rmi", "--all", "--force"], check=False, capture_output=True)
    if peer.needs == "ctr-remote":
        run(["ctr", "images", "rm", "--sync", source.reference, to])
    return seconds


@contextmanager
def _containerd() -> Iterator[None]:
    """containerd, for ctr-remote."""
    with subprocess.Popen(["containerd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while subprocess.run(["ctr", "version"], check=False, capture_output=True).returncode:
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


# What a tool has made


def _made(setting: Setting, source: Source, to: str) -> Figures:
    repository = to.partition("/")[2].rpartition(":")[0]
    digest, manifest = _zstd_manifest(setting, repository, to.rpartition(":")[2])
    original = setting.registry.document("bench/peers", source.digest)
    image = f"{to.rpartition(':')[0]}@{digest}"
    return {
        "size": sum(layer["size"] for layer in manifest["layers"]),
        "keeps_image_id": manifest["config"]["digest"] == original["config"]["digest"],
        "lost": [
            *_lost(
                original.get("annotations", {}),
                manifest.get("annotations", {}),
                "annotations of the manifest",
            ),
            *_lost_of_config(setting, repository, original, manifest),
        ],
        "pulled_partially": _pulled_partially(image),
        "verify": _verdict(source.reference, image),
    }


def _zstd_manifest(setting: Setting, repository: str, tag: str) -> tuple[str, dict[str, Any]]:
    """The manifest at a tag, or the last one of the index at it: zstd comes after gzip."""
    served = setting.registry.served(repository, tag)
    document = served.json()
    if "manifests" not in document:
        return served.headers["Docker-Content-Digest"], document
    digest = document["manifests"][-1]["digest"]
    return digest, setting.registry.document(repository, digest)


def _lost_of_config(
    setting: Setting, repository: str, original: dict[str, Any], manifest: dict[str, Any]
) -> list[str]:
    before, after = (
        json.loads(setting.registry.blob(where, found["config"]["digest"]))
        for where, found in (("bench/peers", original), (repository, manifest))
    )
    diff_ids = [] if before["rootfs"] == after["rootfs"] else ["diff_ids"]
    return [*diff_ids, *(key for key, value in before["config"].items() if after["config"].get(key) != value)]


def _lost(before: dict[str, str], after: dict[str, str], what: str) -> list[str]:
    return [] if before.items() <= after.items() else [what]


def _pulled_partially(image: str) -> int | None:
    """How many layers podman pulls partially; None where it cannot pull the image."""
    with podman() as client:
        ended = client.pull(image)
    return None if ended.code else ended.err.count("Retrieved partial blob")


def _verdict(source: str, image: str) -> Figures:
    """The exit code of `recompress verify`, and the faults that it finds."""
    done = subprocess.run(
        ["recompress", "verify", source, image, "--no-tls-verify", "--output=json"],
        check=False,
        capture_output=True,
        text=True,
    )
    return {"code": done.returncode, "failures": json.loads(done.stdout or "{}").get("failures", [])}
