"""Images that can have no twin: told once, with the path, or kept as they are."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.command import recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry
from tests.integration.test_pulled_in_full import BASE, entry, stream

Push = Callable[[HandmadeImage], str]
FILE = entry("file", tarfile.REGTYPE, size=700)
TWICE = stream(FILE, FILE)
LATE = entry("late", tarfile.REGTYPE)
LATE.mtime = 300_000_000_000


def image(tar: bytes, blob: bytes | None = None, *, docker: bool = False) -> HandmadeImage:
    layer = gzip.compress(tar, mtime=0) if blob is None else blob
    config = images.config([str(Digest.of(BASE)), str(Digest.of(tar))])
    layer_type = MediaType.DOCKER_LAYER_GZIP if docker else MediaType.OCI_LAYER_GZIP
    base = gzip.compress(BASE, mtime=0)
    layers = [images.descriptor(layer_type, content) for content in (base, layer)]
    types = (MediaType.DOCKER_MANIFEST, MediaType.DOCKER_CONFIG) if docker else ()
    return HandmadeImage(images.manifest(config, layers, *types), config, (base, layer))


def sparse(directory: Path, form: str) -> bytes:
    directory.mkdir()
    with (directory / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    return sources.gnu_tar(directory, f"--format={form}", "--sparse")


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (image(TWICE), "file: the layer has more than one entry for this path"),
        (image(stream(LATE)), "late: its mtime is not within the years 0 to 9999"),
        (image(BASE, gzip.compress(BASE, mtime=0) + b"junk"), "behind its gzip stream"),
        (image(BASE, gzip.compress(BASE, mtime=0)[:-9]), "gzip"),
        (image(b""), "it is empty"),
        (image(stream(FILE)[: 512 + 700 + 100]), "file: "),
    ],
    ids=["twice", "year", "junk", "cut", "empty", "no padding"],
)
def test_what_no_twin_can_be_made_of_is_told_once_with_the_path(
    run: Run, registry: Registry, repository: str, push: Push, odd: HandmadeImage, why: str
) -> None:
    outcome = run(push(odd))
    outcome.failed(5, str(odd.digest), str(Digest.of(odd.layers[1])), why)
    assert "try 2" not in outcome.err
    assert registry.tags(repository) == []


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_sparse_file_is_told_once_with_its_path(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Path, form: str
) -> None:
    outcome = run(push(image(sparse(tmp_path / "tree", form))))
    outcome.failed(5, "sparse: no zstd:chunked layer can hold")
    assert "try 2" not in outcome.err
    assert registry.tags(repository) == []


def test_a_layer_that_is_not_what_the_config_says_is_no_image_to_be_signed(run: Run, push: Push) -> None:
    other = stream(FILE)
    run(push(image(BASE, gzip.compress(other, mtime=0)))).failed(
        6, "but the image's config says", str(Digest.of(BASE))
    )


def test_an_image_that_can_have_no_twin_can_be_kept(
    run: Run, registry: Registry, repository: str, push: Push, results: Path
) -> None:
    source = push(image(TWICE))
    registry.push_manifest(repository, image(TWICE).manifest, selector="1.0")
    tagged = source.replace("@", ":1.0@")
    outcome = run(tagged, "--if-impossible=keep").succeeded()
    assert outcome.results == {
        "IMAGE_URL": tagged.partition("@")[0],
        "IMAGE_DIGEST": source.partition("@")[2],
        "IMAGE_REF": source,
    }
    assert outcome.report["outcome"] == "kept"
    assert "file: the layer has more than one entry" in outcome.report["why_kept"]
    assert any("the results name the source" in warning for warning in outcome.report["warnings"])
    assert registry.tags(repository) == ["1.0"]
    untagged = run(source.replace("@", ":2.0@"), "--if-impossible=keep").succeeded()
    assert untagged.results["IMAGE_URL"] == source.partition("@")[0]
    for file in results.iterdir():
        file.unlink()
    to = f"--to={registry.host}/{repository}:index"
    recompress("index", to, "--no-tls-verify", source, source, results=results).succeeded()
    assert len(registry.document(repository, "index")["manifests"]) == 1


def test_a_docker_image_that_is_kept_is_named_by_its_oci_twin(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    source = image(TWICE, docker=True)
    outcome = run(push(source), "--if-impossible=keep", "--oci-twin").succeeded()
    for kind in ("URL", "DIGEST", "REF"):
        assert outcome.results[f"IMAGE_{kind}"] == outcome.results[f"OCI_IMAGE_{kind}"]
    assert json.loads(outcome.results["SOURCE_ARTIFACT_INPUTS"])["digest"] == str(source.digest)
    kept = registry.document(repository, outcome.results["IMAGE_DIGEST"])
    assert kept["mediaType"] == MediaType.OCI_MANIFEST
    assert registry.tags(repository) == [f"sha256-{source.digest.hex}.oci"]


@pytest.mark.parametrize("arguments", [(), ("--platform=linux/s390x",)])
def test_an_index_without_a_choice_is_not_kept(
    run: Run, registry: Registry, repository: str, push: Push, arguments: tuple[str, ...]
) -> None:
    source = image(BASE)
    push(source)
    descriptor = images.descriptor(
        MediaType.OCI_MANIFEST, source.manifest, platform={"os": "linux", "architecture": "amd64"}
    )
    index = images.index([descriptor])
    registry.push_manifest(repository, index, MediaType.OCI_INDEX)
    reference = f"{registry.host}/{repository}@{Digest.of(index)}"
    run(reference, "--if-impossible=keep", *arguments).failed(5, reference)


def test_a_wrong_platform_is_not_kept(run: Run, push: Push) -> None:
    run(push(image(TWICE)), "--if-impossible=keep", "--platform=linux/s390x").failed(5, "not for linux/s390x")


def test_layers_that_nobody_can_read_can_be_kept(run: Run, registry: Registry, repository: str) -> None:
    source = images.gzip_image({"a": b"a"})
    layer = images.descriptor(f"{MediaType.OCI_LAYER_GZIP}+encrypted", source.layers[0])
    encrypted = HandmadeImage(images.manifest(source.config, [layer]), source.config, source.layers)
    reference = f"{registry.host}/{repository}@{registry.push(repository, encrypted)}"
    run(reference).failed(5, "encrypted")
    outcome = run(reference, "--if-impossible=keep").succeeded()
    assert outcome.results["IMAGE_REF"] == reference


def test_a_policy_that_rejects_the_image_is_named(run: Run, push: Push, tmp_path: Path) -> None:
    policy = tmp_path / ".config/containers/policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "reject"}]}')
    run(push(image(BASE)), HOME=str(tmp_path)).failed(8, str(policy), "rejected by policy")
