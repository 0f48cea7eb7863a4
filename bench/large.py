"""What is large: one layer, many layers, many platforms at once; and skopeo's memory on many CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from bench.processes import peak, run, say
from bench.runs import LOW_LEVEL
from bench.setting import Figures, Setting
from bench.sources import Source, layered, push, real_files, tar, tar_of
from recompress.manifest import MediaType
from tests import images
from tests.images import HandmadeImage
from tests.integration.registries import labels

_MIB = 2**20
_MANY_LAYERS = 60
_PLATFORMS = ("amd64", "arm64", "ppc64le", "s390x")
_CPUS = ("1", "2")
_MAXPROCS = ("", "1", "2", "8", "32", "64")
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)
"""


def large(setting: Setting) -> Figures:
    """Time and memory of first runs beside bare skopeo, and of runs again, all at one level."""
    cases = {
        "2 GB in one layer": _one_layer(setting, "large", _large_files()),
        "200,000 files in one layer": _one_layer(setting, "small", _small_files()),
        f"{_MANY_LAYERS} layers": _many_layers(setting),
        f"{len(_PLATFORMS)} platforms at once": _platforms(setting),
    }
    return {"level": LOW_LEVEL, "cases": cases}


def maxprocs(setting: Setting) -> Figures:
    """The memory of skopeo's process (RSS) by the engine's CPU limit and GOMAXPROCS; "" is Go's own."""
    parts = [tar_of(*part) for part in real_files(6, 8 * _MIB)]
    source = push(setting, "maxprocs", layered(parts))
    label = next(f"{name}={value}" for name, value in labels().items())
    cases = []
    for cpus in _CPUS:
        for number in _MAXPROCS:
            command = setting.skopeo(
                source.reference, setting.repository(f"maxprocs-{cpus}-{number or 'own'}")
            )
            limited = ["docker", "run", "--rm", "--network=host", f"--label={label}", f"--cpus={cpus}"]
            environment = [f"--env=GOMAXPROCS={number}"] if number else []
            measured = [*limited, *environment, "recompress-bench", "python3", "-c", _MEASURE, *command]
            rss, cpu_seconds = run(measured).split()
            cases.append(
                {"cpus": cpus, "maxprocs": number, "rss": int(rss), "cpu_seconds": float(cpu_seconds)}
            )
            say(f"  {cpus} CPUs, GOMAXPROCS={number}: {int(rss) / _MIB:.0f} MiB")
    return {"size": source.size, "uncompressed": sum(map(len, parts)), "cases": cases}


def _one_layer(setting: Setting, name: str, files: Iterator[tuple[str, bytes]]) -> Figures:
    stream = tar(files)
    return _single(setting, name, [stream])


def _many_layers(setting: Setting) -> Figures:
    return _single(setting, "many", [tar_of(*paths) for paths in real_files(_MANY_LAYERS, 4 * _MIB)])


def _single(setting: Setting, name: str, streams: Sequence[bytes]) -> Figures:
    source = push(setting, name, layered(streams))
    return {
        "size": source.size,
        "uncompressed": sum(map(len, streams)),
        **_compared(setting, name, [source.reference], [[source.reference]]),
    }


def _platforms(setting: Setting) -> Figures:
    """An index of images with no layer in common, an instance for each platform, as a matrix runs them."""
    name = "platforms"
    parts = real_files(3 * len(_PLATFORMS), 24 * _MIB)
    sources: dict[str, Source] = {}
    entries = []
    uncompressed = 0
    for platform in _PLATFORMS:
        streams = [tar_of(*next(parts)) for _ in range(3)]
        uncompressed += sum(map(len, streams))
        image = layered(streams, architecture=platform)
        sources[platform] = push(setting, name, image)
        entries.append(_entry(image, platform))
    digest = setting.registry.push_manifest(f"bench/{name}", images.index(entries))
    index = f"{setting.repository(name)}@{digest}"
    arguments = [[index, f"--platform=linux/{platform}"] for platform in _PLATFORMS]
    return {
        "size": sum(source.size for source in sources.values()),
        "uncompressed": uncompressed,
        **_compared(setting, name, [source.reference for source in sources.values()], arguments),
    }


def _entry(image: HandmadeImage, architecture: str) -> Mapping[str, object]:
    platform = {"os": "linux", "architecture": architecture}
    return images.descriptor(MediaType.OCI_MANIFEST, image.manifest, platform=platform)


def _compared(
    setting: Setting, name: str, references: Sequence[str], arguments: Sequence[Sequence[str]]
) -> Figures:
    """Bare skopeo for each reference, then `run` with each of the arguments, twice; each time all at once."""
    to = setting.repository(f"{name}-twin")
    bare = [
        setting.skopeo(reference, f"{to}-{number}", LOW_LEVEL) for number, reference in enumerate(references)
    ]
    own = [setting.recompress(image, to, *options, level=LOW_LEVEL) for image, *options in arguments]
    figures: Figures = {}
    for what, commands in (("skopeo", bare), ("first", own), ("again", own)):
        found = peak(*commands)
        figures[what] = asdict(found)
        say(f"  {name}, {what}: {found.seconds:.1f} s, {found.together / _MIB:.0f} MiB")
    return figures


def _large_files() -> Iterator[tuple[str, bytes]]:
    # Half of it compresses, as in most images.
    for number in range(8):
        text = (b"%d of a file that compresses\n" % number) * (128 * _MIB // 29)
        yield f"file{number}", os.urandom(128 * _MIB) + text


def _small_files() -> Iterator[tuple[str, bytes]]:
    for number in range(200_000):
        yield f"{number // 1000:03}/file-{number:06}.txt", f"this is file number {number}\n".encode() * 40
