"""What a level costs, in seconds and bytes, and what a second version of an image costs podman to pull.

The image is of versions.Containerfile: a Debian with curl, git and python3, and an application. Its second
version is the same Containerfile built again, of which little but times differs, or has 4 KB of a program and
one file of the application changed. How many bytes of blobs podman fetches is in the registry's log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import groupby

from bench.processes import run, say, timed
from bench.setting import Figures, Setting
from bench.sources import Source, layered, push, tar, version_of
from tests.integration.clients import Podman, blob_bytes, podman, requests

SECOND_VERSIONS = ("rebuilt", "patched")
_HIGHEST_LEVEL = 20
_ROUNDS = 3


def versions(setting: Setting) -> Figures:
    """For each group of levels that are one and the same in skopeo: seconds, bytes, bytes to pull."""
    sources = {version: version_of(setting, version) for version in ("first", *SECOND_VERSIONS)}
    groups = _groups(setting)
    # What a run without --level makes is what the last group makes: tried in _groups.
    levels = [_level(setting, sources, group) for group in groups]
    gzip = {version: source.reference for version, source in sources.items()}
    say("pulling the gzip images")
    return {"size": sources["first"].size, "gzip_pulled": _pulled(setting, gzip), "levels": levels}


def _groups(setting: Setting) -> list[list[int | None]]:
    """Levels of which skopeo makes the same bytes. None is the default."""
    contents = (os.urandom(512).hex().encode() * 8 + os.urandom(9000) for _ in range(20))
    image = layered([tar((f"file{number}", content) for number, content in enumerate(contents))])
    source = push(setting, "levels", image)

    def digest(level: int | None) -> str:
        name = f"levels-{level or 'default'}"
        run(setting.skopeo(source.reference, setting.repository(name), level))
        (layer,) = setting.registry.document(f"bench/{name}", "twin")["layers"]
        return str(layer["digest"])

    levels = [*range(1, _HIGHEST_LEVEL + 1), None]
    return [[level for level, _ in group] for _, group in groupby(((n, digest(n)) for n in levels), _second)]


def _second(pair: tuple[int | None, str]) -> str:
    return pair[1]


def _level(setting: Setting, sources: dict[str, Source], group: Sequence[int | None]) -> Figures:
    level = group[0]
    name = f"level-{level or 'default'}"
    first = sources["first"].reference
    seconds = []
    for number in range(min(_ROUNDS, setting.rounds)):
        to = setting.repository(f"{name}-{number}")
        seconds.append(timed(setting.recompress(first, to, level=level)))
        say(f"  level {level}: {seconds[-1]:.2f} s")
    # The second version finds the layers of the first, as in a pipeline.
    reports = {
        version: json.loads(
            run(setting.recompress(source.reference, setting.repository(f"{name}-0"), level=level))
        )
        for version, source in sources.items()
    }
    return {
        "levels": group,
        "seconds": seconds,
        "size": reports["first"]["twin_size"],
        "pulled": _pulled(
            setting, {version: report["results"]["IMAGE_REF"] for version, report in reports.items()}
        ),
    }


def _pulled(setting: Setting, images: dict[str, str]) -> Figures:
    """The bytes of blobs that podman fetches for the first version, and for each other one after that."""
    with podman() as client:
        pulled = {"first": fetched(setting, client, images["first"])}
        for version in SECOND_VERSIONS:
            pulled[version] = fetched(setting, client, images[version])
            client("rmi", images[version]).succeeded()
    return pulled


def fetched(setting: Setting, client: Podman, image: str) -> int:
    """The bytes of blobs that a pull of the image by its digest fetches."""
    repository = image.partition("/")[2].partition("@")[0]
    before = len(requests(setting.registry, repository))
    client.pull(image).succeeded()
    return blob_bytes(requests(setting.registry, repository)[before:])
