"""An index as input: which of its entries is taken."""

from __future__ import annotations

from typing import Any

import pytest

from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType
from recompress.reference import Digest
from tests import images
from tests.integration import sources
from tests.integration.command import recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

AMD64 = images.gzip_image({"a": b"amd64"})
ARM64 = images.gzip_image({"a": b"arm64"}, architecture="arm64")
ARMV6 = images.gzip_image({"a": b"v6"}, architecture="arm")
ATTESTATION = images.gzip_image({"a": b"attestation"}, architecture="unknown")


def entry(manifest: bytes, platform: str, **annotations: str) -> dict[str, Any]:
    parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return images.descriptor(MediaType.OCI_MANIFEST, manifest, platform=parts, annotations=annotations)


def attestation() -> dict[str, Any]:
    kind = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:x"}
    return entry(ATTESTATION.manifest, "unknown/unknown", **kind)


@pytest.fixture
def index(registry: Registry, repository: str) -> str:
    """What BuildKit pushes for several platforms: images, and an attestation."""
    for image in (AMD64, ARM64, ARMV6, ATTESTATION):
        registry.push(repository, image)
    entries = [
        entry(AMD64.manifest, "linux/amd64"),
        entry(ARM64.manifest, "linux/arm64/v8"),
        entry(ARMV6.manifest, "linux/arm/v6"),
        attestation(),
    ]
    digest = registry.push_manifest(repository, images.index(entries))
    return f"{registry.host}/{repository}@{digest}"


@pytest.mark.parametrize(
    ("platform", "source"),
    [
        ("linux/amd64", AMD64),
        ("linux/arm64", ARM64),
        ("linux/arm64/v8", ARM64),
        ("linux/arm/v6", ARMV6),
    ],
)
def test_the_entry_for_the_platform_is_recompressed(
    run: Run, registry: Registry, repository: str, index: str, platform: str, source: images.HandmadeImage
) -> None:
    outcome = run(index, f"--platform={platform}").succeeded()
    assert_twin(registry, repository, source.digest, outcome.results)
    assert outcome.report["source_digest"] == str(source.digest)


def test_without_a_platform_the_platforms_are_listed(run: Run, index: str) -> None:
    told = "is an index: choose an image with --platform; it has linux/amd64, linux/arm64/v8, linux/arm/v6"
    outcome = run(index)
    outcome.failed(5, index, told)
    assert "unknown" not in outcome.error


@pytest.mark.parametrize("platform", ["linux/s390x", "linux/arm/v7", "windows/amd64", "unknown/unknown"])
def test_a_platform_that_is_not_in_the_index_is_told_with_those_that_are(
    run: Run, index: str, platform: str
) -> None:
    run(index, f"--platform={platform}").failed(5, f"has no image for {platform}", "it has linux/amd64")


def test_the_platform_of_a_single_image_is_a_guard(run: Run, registry: Registry, repository: str) -> None:
    image = f"{registry.host}/{repository}@{registry.push(repository, AMD64)}"
    run(image, "--platform=linux/arm64").failed(5, "is an image for linux/amd64, not for linux/arm64")
    assert registry.tags(repository) == []
    run(image, "--platform=linux/amd64").succeeded()


@pytest.mark.parametrize("gzip_first", [True, False])
def test_the_gzip_entry_is_taken_from_an_index_that_has_the_twin_already(
    run: Run, registry: Registry, repository: str, gzip_first: bool
) -> None:
    source = registry.push(repository, AMD64)
    first = run(f"{registry.host}/{repository}@{source}").succeeded()
    twin = registry.manifest(repository, first.results["IMAGE_DIGEST"])
    entries = [
        entry(AMD64.manifest, "linux/amd64"),
        entry(twin, "linux/amd64", **{INDEX_ZSTD_ANNOTATION: "true"}),
    ]
    both = registry.push_manifest(repository, images.index(entries if gzip_first else entries[::-1]))
    again = run(f"{registry.host}/{repository}@{both}", "--platform=linux/amd64").succeeded()
    assert again.results == first.results
    assert again.report["source_digest"] == str(source)


def test_a_docker_manifest_list_is_an_index_too(run: Run, registry: Registry, repository: str) -> None:
    image = images.gzip_image({"a": b"docker"}, docker=True)
    registry.push(repository, image)
    platform = {"os": "linux", "architecture": "amd64"}
    entries = [images.descriptor(MediaType.DOCKER_MANIFEST, image.manifest, platform=platform)]
    listed = registry.push_manifest(repository, images.index(entries, MediaType.DOCKER_INDEX))
    outcome = run(f"{registry.host}/{repository}@{listed}", "--platform=linux/amd64").succeeded()
    assert_twin(registry, repository, image.digest, outcome.results)


def test_an_index_by_buildah_for_several_platforms_is_recompressed_entry_by_entry(
    run: Run, registry: Registry, repository: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    built = {
        arch: sources.buildah_many_layers(registry, repository, tmp_path_factory.mktemp(arch), arch=arch)
        for arch in ("amd64", "arm64")
    }
    name = f"localhost/{repository}-index"
    sources.command("buildah", "manifest", "create", name)
    for digest in built.values():
        sources.command(
            "buildah",
            "manifest",
            "add",
            "--tls-verify=false",
            name,
            f"docker://{registry.host}/{repository}@{digest}",
        )
    target = f"docker://{registry.host}/{repository}:index"
    sources.command("buildah", "manifest", "push", "--all", "--tls-verify=false", "--rm", name, target)
    digest = Digest.of(registry.manifest(repository, "index"))
    for arch, source in built.items():
        image = f"{registry.host}/{repository}:index@{digest}"
        outcome = run(image, f"--platform=linux/{arch}").succeeded()
        assert_twin(registry, repository, source, outcome.results)


def test_inspect_shows_what_is_in_an_index(index: str) -> None:
    outcome = recompress("inspect", index, "--no-tls-verify", "--output=json").succeeded()
    shown = [
        (entry["platform"], entry["note"], len(entry["layers"])) for entry in outcome.report["manifests"]
    ]
    assert shown == [
        ("linux/amd64", "", 1),
        ("linux/arm64/v8", "", 1),
        ("linux/arm/v6", "", 1),
        ("unknown/unknown", "attestation", 0),
    ]
    table = recompress("inspect", index, "--no-tls-verify").succeeded().out
    assert "linux/arm64/v8" in table
    assert "attestation" in table
