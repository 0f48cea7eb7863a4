"""Real clients decide what an index is worth: old ones have to run its gzip image, new ones take the twin."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import INDEX_ZSTD_ANNOTATION
from tests import images
from tests.integration import sources
from tests.integration.clients import Ended, Request, blob_bytes, command, podman, requests
from tests.integration.command import recompress
from tests.integration.engine import Engine, old_engine
from tests.integration.registries import Registry

CONTAINERFILE = 'FROM scratch\nCOPY tini /tini\nCOPY files /files\nENTRYPOINT ["/tini"]\n'


@dataclass(frozen=True, slots=True)
class Pair:
    """A gzip image of this machine's platform, and its twin, by digest."""

    registry: Registry
    repository: str
    gzip: str
    zstd: str

    def ref(self, selector: str) -> str:
        """As clients on this machine name it."""
        return f"{self.registry.host}/{self.repository}{'@' if ':' in selector else ':'}{selector}"

    def layers(self, digest: str) -> set[str]:
        """The digests of the layers."""
        return {layer["digest"] for layer in self.registry.document(self.repository, digest)["layers"]}

    def entry(self, digest: str, **annotations: str) -> dict[str, Any]:
        """An entry of an index made by hand."""
        served = self.registry.served(self.repository, digest)
        config = json.loads(self.registry.blob(self.repository, served.json()["config"]["digest"]))
        platform = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
        more = {"annotations": annotations} if annotations else {}
        return images.descriptor(served.headers["Content-Type"], served.content, platform=platform, **more)

    def asked_by(self, client: Callable[[], object]) -> list[Request]:
        """What the registry was asked for while a client was at work."""
        before = len(requests(self.registry, self.repository))
        client()
        return list(requests(self.registry, self.repository)[before:])


@pytest.fixture(scope="module")
def pair(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    directory = tmp_path_factory.mktemp("pair")
    repository = "tests/real-clients"
    # A program that needs nothing else, for whatever this machine is.
    shutil.copy("/usr/bin/tini-static", directory / "tini")
    sources.write_files(directory / "files")
    gzip = str(sources.buildah(registry, repository, directory, CONTAINERFILE, ("--layers",)))
    return Pair(registry, repository, gzip, twin_of(registry, repository, gzip))


def twin_of(registry: Registry, repository: str, digest: str) -> str:
    outcome = recompress(
        "run", f"{registry.host}/{repository}@{digest}", "--no-tls-verify", "--output=json"
    ).succeeded()
    return str(outcome.report["twin_digest"])


def by_recompress(pair: Pair) -> str:
    images_ = (pair.ref(pair.zstd), pair.ref(pair.gzip))
    recompress("index", f"--to={pair.ref('recompress')}", "--no-tls-verify", *images_).succeeded()
    return "recompress"


def by_buildah(pair: Pair) -> str:
    added_by_buildah(pair, pair.gzip, pair.zstd)
    target = f"docker://{pair.ref('buildah')}"
    push = ("manifest", "push", "--all", "--rm", "--format=oci", "--tls-verify=false", "both", target)
    command("buildah", *push).succeeded()
    return "buildah"


def added_by_buildah(pair: Pair, *digests: str) -> list[dict[str, Any]]:
    """The entries of a local list of these, called both, before it is pushed."""
    command("buildah", "manifest", "create", "both").succeeded()
    for digest in digests:
        add = ("manifest", "add", "--tls-verify=false", "both", f"docker://{pair.ref(digest)}")
        command("buildah", *add).succeeded()
    found = json.loads(command("buildah", "manifest", "inspect", "both").succeeded())["manifests"]
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module", params=[by_recompress, by_buildah], ids=["recompress", "buildah"])
def index(pair: Pair, request: pytest.FixtureRequest) -> str:
    """The tag of an index of both."""
    tag = request.param(pair)
    assert isinstance(tag, str)
    return tag


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with old_engine() as running:
        yield running


def by_hand(pair: Pair, tag: str, *entries: dict[str, Any]) -> str:
    pair.registry.push_manifest(pair.repository, images.index(entries), selector=tag)
    return tag


def blobs(asked: list[Request], status: int = 200) -> set[str]:
    return {r.what for r in asked if (r.method, r.kind, r.status) == ("GET", "blobs", status)}


def test_buildah_makes_the_same_entries_of_the_same_images(pair: Pair) -> None:
    ours, theirs = (
        pair.registry.document(pair.repository, make(pair))["manifests"]
        for make in (by_recompress, by_buildah)
    )
    assert [entry["digest"] for entry in ours] == [pair.gzip, pair.zstd]
    for one, other in zip(ours, theirs, strict=True):
        for key in ("mediaType", "digest", "size", "platform"):
            assert one[key] == other[key]
        marks = [entry.get("annotations", {}).get(INDEX_ZSTD_ANNOTATION) for entry in (one, other)]
        assert marks == (["true", "true"] if one["digest"] == pair.zstd else [None, None])


def test_buildah_annotates_the_twin_when_the_index_is_pushed_and_not_when_it_is_added(pair: Pair) -> None:
    added = added_by_buildah(pair, pair.gzip, pair.zstd)
    command("buildah", "manifest", "rm", "both").succeeded()
    assert [entry["digest"] for entry in added] == [pair.gzip, pair.zstd]
    assert not any("annotations" in entry for entry in added)
    _, pushed = pair.registry.document(pair.repository, by_buildah(pair))["manifests"]
    assert pushed["annotations"] == {INDEX_ZSTD_ANNOTATION: "true"}


def test_what_is_added_to_buildahs_list_a_second_time_goes_behind_its_twin(pair: Pair) -> None:
    added = added_by_buildah(pair, pair.gzip, pair.zstd, pair.gzip)
    command("buildah", "manifest", "rm", "both").succeeded()
    assert [entry["digest"] for entry in added] == [pair.zstd, pair.gzip]


def old_pull(pair: Pair, engine: Engine, tag: str) -> tuple[Ended, list[Request]]:
    """What Docker 20.10, which has nothing of it yet, says to an index, and what it asks for."""
    image = f"{pair.registry.inside}/{pair.repository}:{tag}"
    engine.docker("image", "prune", "--all", "--force").succeeded()
    ended: list[Ended] = []
    asked = pair.asked_by(lambda: ended.append(engine.docker("pull", image)))
    return ended[0], asked


def test_docker_20_10_pulls_and_runs_the_gzip_image(pair: Pair, engine: Engine, index: str) -> None:
    ended, asked = old_pull(pair, engine, index)
    ended.succeeded()
    assert blobs(asked) & pair.layers(pair.gzip) == pair.layers(pair.gzip)
    assert not blobs(asked) & pair.layers(pair.zstd)
    image = f"{pair.registry.inside}/{pair.repository}:{index}"
    said = engine.docker("run", "--rm", "--network=none", image, "--version").succeeded()
    assert said.startswith("tini version")


def test_podman_pulls_the_zstd_chunked_image_partially(pair: Pair, index: str) -> None:
    with podman() as client:
        ended: list[Ended] = []
        asked = pair.asked_by(lambda: ended.append(client.pull(pair.ref(index))))
        ended[0].succeeded()
        assert ended[0].err.count("Retrieved partial blob") == len(pair.layers(pair.zstd))
        assert blobs(asked, status=206) == pair.layers(pair.zstd)
        assert not (blobs(asked) | blobs(asked, 206)) & pair.layers(pair.gzip)
        image_id = pair.registry.document(pair.repository, pair.gzip)["config"]["digest"]
        assert client("image", "inspect", "--format={{.ID}}", pair.ref(index)).succeeded() == image_id[7:]


def test_crane_and_skopeo_read_both_images(pair: Pair, index: str, tmp_path: Path) -> None:
    both = pair.layers(pair.gzip) | pair.layers(pair.zstd)
    command("crane", "pull", "--insecure", "--format=oci", pair.ref(index), tmp_path / "crane").succeeded()
    assert both <= {f"sha256:{file.name}" for file in (tmp_path / "crane/blobs/sha256").iterdir()}
    trees = []
    for digest in (pair.gzip, pair.zstd):
        exported = tmp_path / f"{digest[7:]}.tar"
        command("crane", "export", "--insecure", pair.ref(digest), exported).succeeded()
        with tarfile.open(exported) as archive:
            trees.append({m.name: read(archive, m) for m in archive})
    assert trees[0] == trees[1]
    assert trees[0]["files/file-1"]
    copy = ("copy", "--quiet", "--all", "--src-tls-verify=false", f"docker://{pair.ref(index)}")
    command("skopeo", *copy, f"dir:{tmp_path}/skopeo").succeeded()
    assert both <= {f"sha256:{file.name}" for file in (tmp_path / "skopeo").iterdir()}


def read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def test_control_with_gzip_second_docker_20_10_fails(pair: Pair, engine: Engine) -> None:
    marked = pair.entry(pair.zstd, **{INDEX_ZSTD_ANNOTATION: "true"})
    tag = by_hand(pair, "gzip-second", marked, pair.entry(pair.gzip))
    ended, asked = old_pull(pair, engine, tag)
    assert ended.code == 1
    assert "invalid tar header" in ended.err
    assert blobs(asked) & pair.layers(pair.zstd)


def test_control_without_the_annotation_podman_takes_gzip(pair: Pair) -> None:
    tag = by_hand(pair, "no-annotation", pair.entry(pair.gzip), pair.entry(pair.zstd))
    with podman() as client:
        asked = pair.asked_by(lambda: client.pull(pair.ref(tag)).succeeded())
    assert blobs(asked) & pair.layers(pair.gzip) == pair.layers(pair.gzip)
    assert not (blobs(asked) | blobs(asked, 206)) & pair.layers(pair.zstd)


def test_of_a_second_version_podman_transfers_a_fraction_of_what_gzip_would_take(
    registry: Registry, repository: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = two_versions(registry, repository, tmp_path)
    taken: dict[str, int] = {}
    for kind, tags in (("gzip", [first[0], second[0]]), ("zstd:chunked", [first[1], second[1]])):
        with podman() as client:
            for tag in tags:
                before = len(requests(registry, repository))
                client.pull(f"{registry.host}/{repository}@{tag}").succeeded()
                taken[kind] = blob_bytes(requests(registry, repository)[before:])
    with capsys.disabled():
        print("\n    bytes of the second version:", *(f"{kind} {taken[kind]:,}" for kind in taken))
    assert taken["zstd:chunked"] * 5 < taken["gzip"]


def two_versions(registry: Registry, repository: str, directory: Path) -> list[tuple[str, str]]:
    """Two builds of one layer of 200 files of which 4 are not the same, each with its twin."""
    versions = []
    for version in ("1", "2"):
        context = directory / version
        (context / "files").mkdir(parents=True)
        for number in range(200):
            changed = version if number % 50 == 7 else ""
            content = random.Random(f"{number} {changed}").randbytes(20_000)
            (context / f"files/{number}").write_bytes(content)
        gzip = str(sources.buildah(registry, repository, context, "FROM scratch\nCOPY files /files\n"))
        versions.append((gzip, twin_of(registry, repository, gzip)))
    return versions
