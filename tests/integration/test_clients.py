"""Real clients pull the twin, and to them it is the image that it was made of."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import sources
from tests.integration.clients import Podman, blob_bytes, podman, requests
from tests.integration.command import recompress
from tests.integration.engine import Engine, new_engine
from tests.integration.registries import Registry

SOURCES = {
    build.__name__: build
    for build in (sources.docker_many_layers, sources.docker_real_base, sources.buildah_many_layers)
}


@dataclass(frozen=True, slots=True)
class Made:
    """A source and its twin. `image_id` is the digest of the source's config."""

    repository: str
    source: str
    twin: str
    image_id: str


@pytest.fixture(scope="module", params=list(SOURCES))
def made(
    request: pytest.FixtureRequest, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    repository = f"clients/{request.param}-{uuid.uuid4().hex[:8]}".replace("_", "-")
    source = str(SOURCES[request.param](registry, repository, tmp_path_factory.mktemp("source")))
    image = f"{registry.host}/{repository}@{source}"
    outcome = recompress("run", image, "--no-tls-verify", "--level=1", "--output=json").succeeded()
    image_id = registry.document(repository, source)["config"]["digest"]
    return Made(repository, source, outcome.report["twin_digest"], image_id)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with new_engine() as started:
        yield started


@pytest.fixture
def client() -> Iterator[Podman]:
    with podman() as started:
        yield started


def test_podman_pulls_the_twin_under_the_sources_image_id_and_has_the_same_files(
    registry: Registry, made: Made
) -> None:
    listings = []
    for digest in (made.source, made.twin):
        image = f"{registry.host}/{made.repository}@{digest}"
        with podman() as client:
            assert client.pull(image).succeeded() == made.image_id.removeprefix("sha256:")
            listings.append(listing(Path(client("image", "mount", image).succeeded())))
            client("image", "unmount", "--all").succeeded()
    assert listings[0] == listings[1]
    assert len(listings[0]) > 10


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """The files below a directory, with what a user could tell them apart by.

    podman 5.8 makes no devices and no pipes when it pulls a layer in parts, and sets neither the
    owners of symbolic links nor the times of directories and links. So these are left out.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = (path.readlink(),)
        elif path.is_dir() or path.is_file():
            stat = path.stat()
            attributes = {attribute: os.getxattr(path, attribute) for attribute in os.listxattr(path)}
            found[name] = (stat.st_mode, stat.st_uid, stat.st_gid, attributes)
            if path.is_file():
                found[name] += (path.read_bytes(), stat.st_nlink, int(stat.st_mtime))
    return found


def test_docker_pulls_the_twin_under_the_sources_image_id_and_shows_all_that_its_config_says(
    registry: Registry, made: Made, engine: Engine
) -> None:
    def inspected(digest: str) -> dict[str, Any]:
        image = f"{registry.inside}/{made.repository}@{digest}"
        engine.docker("pull", "--quiet", image).succeeded()
        (document,) = json.loads(engine.docker("image", "inspect", image).succeeded())
        engine.docker("image", "rm", "--force", image).succeeded()
        kept = ("Id", "Config", "RootFS", "Os", "Architecture", "Created", "Size")
        return {name: document[name] for name in kept}

    twin = inspected(made.twin)
    assert twin["Id"] == made.image_id
    assert twin == inspected(made.source)
    if "docker" in made.repository:
        assert twin["Config"]["Healthcheck"] == sources.HEALTHCHECK
        assert twin["Config"]["OnBuild"] == ["COPY later /later"]
        assert twin["Config"]["Shell"] == ["/bin/bash", "-c"]


def test_podman_pulls_only_the_parts_that_it_does_not_have(
    registry: Registry, tmp_path: Path, client: Podman, repository: str
) -> None:
    twins = []
    for version in ("1", "2"):
        # Eight files, of which one is another in the second version.
        directory = tmp_path / version
        sources.write_files(directory / "files")
        (directory / "files/file-3").write_text(sources.hash_of(version) * 1000)
        source = sources.buildah(registry, repository, directory, "FROM scratch\nCOPY files /\n")
        outcome = recompress(
            "run", f"{registry.host}/{repository}@{source}", "--no-tls-verify", "--output=json"
        ).succeeded()
        twins.append(outcome.report["twin_digest"])
    client.pull(f"{registry.host}/{repository}@{twins[0]}").succeeded()
    before = len(requests(registry, repository))
    client.pull(f"{registry.host}/{repository}@{twins[1]}").succeeded()
    (layer,) = registry.document(repository, twins[1])["layers"]
    asked = [r for r in requests(registry, repository)[before:] if r.what == layer["digest"]]
    assert {r.status for r in asked if r.method == "GET"} == {206}
    assert blob_bytes(asked) < layer["size"] / 2
