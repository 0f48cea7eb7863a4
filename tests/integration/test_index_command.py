"""`recompress index` as a user runs it, against a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry

Push = Callable[[HandmadeImage], str]
Index = Callable[..., Outcome]
AMD64 = images.gzip_image({"a": b"amd64"})
ARM64 = images.gzip_image({"a": b"arm64"}, architecture="arm64")
DOCKER = images.gzip_image({"a": b"docker"}, architecture="s390x", docker=True)


@pytest.fixture
def index(registry: Registry, repository: str, results: Path) -> Index:
    """`recompress index --to repository:1.0` with a results directory."""

    def call(*arguments: str) -> Outcome:
        to = f"--to={registry.host}/{repository}:1.0"
        for file in results.iterdir():
            file.unlink()
        return recompress("index", to, "--no-tls-verify", *arguments, results=results)

    return call


def test_the_results_and_the_report_say_what_is_in_the_index(
    run: Run, index: Index, push: Push, registry: Registry, repository: str
) -> None:
    sources = [push(AMD64), push(ARM64)]
    twins = [run(source).succeeded().results["IMAGE_REF"] for source in sources]
    outcome = index(*twins, *sources, "--output=json").succeeded()
    digest = str(Digest.of(registry.manifest(repository, "1.0")))
    sbom = registry.document(repository, f"{digest.replace(':', '-')}.sbom")["layers"][0]["digest"]
    assert outcome.results == {
        "IMAGE_URL": f"{registry.host}/{repository}:1.0",
        "IMAGE_DIGEST": digest,
        "IMAGE_REF": f"{registry.host}/{repository}@{digest}",
        "SBOM_BLOB_URL": f"{registry.host}/{repository}@{sbom}",
        "IMAGES": ",".join([*sources, *twins]),
    }
    assert outcome.report["reference"] == f"{registry.host}/{repository}:1.0@{digest}"
    shown = [(entry["platform"], entry["kind"]) for entry in outcome.report["manifests"]]
    assert shown == [
        ("linux/amd64", "gzip"),
        ("linux/arm64", "gzip"),
        ("linux/amd64", "zstd"),
        ("linux/arm64", "zstd"),
    ]
    table = index(*twins, *sources).succeeded().out
    assert all(ref.partition("@")[2] in table for ref in (*sources, *twins))


def test_an_index_can_be_made_of_an_index_and_a_tag_moves_to_the_new_one(
    index: Index, push: Push, registry: Registry, repository: str
) -> None:
    first = index(push(AMD64)).succeeded().results["IMAGE_DIGEST"]
    second = (
        index(f"{registry.host}/{repository}:1.0@{first}", push(ARM64)).succeeded().results["IMAGE_DIGEST"]
    )
    assert [entry["digest"] for entry in registry.document(repository, "1.0")["manifests"]] == [
        str(AMD64.digest),
        str(ARM64.digest),
    ]
    assert second == str(Digest.of(registry.manifest(repository, "1.0")))
    assert registry.manifest(repository, first)


@pytest.mark.parametrize(
    ("last", "code", "why"),
    [
        ("{registry}/{repository}:1.0", 2, "has no digest"),
        ("{registry}/other@sha256:" + "0" * 64, 2, "is not in"),
        ("{registry}/{repository}@sha256:" + "0" * 64, 4, "does not have"),
        (f"{{registry}}/{{repository}}@{DOCKER.digest}", 5, "--oci-twin"),
    ],
)
def test_what_cannot_be_in_the_index_is_named_and_the_tag_stays_where_it_is(
    index: Index, push: Push, registry: Registry, repository: str, last: str, code: int, why: str
) -> None:
    push(DOCKER)
    amd64 = push(AMD64)
    before = index(amd64).succeeded().results["IMAGE_DIGEST"]
    wrong = last.format(registry=registry.host, repository=repository)
    index(amd64, push(ARM64), wrong).failed(code, wrong.partition("@")[2] or wrong, why)
    assert str(Digest.of(registry.manifest(repository, "1.0"))) == before


def test_without_a_results_directory_that_can_be_written_nothing_is_pushed(
    push: Push, registry: Registry, repository: str, tmp_path: Path
) -> None:
    to = f"--to={registry.host}/{repository}:1.0"
    recompress("index", to, "--no-tls-verify", push(AMD64), results=tmp_path / "missing").failed(2, "missing")
    assert registry.tags(repository) == []


@pytest.mark.parametrize("arguments", [("--to=localhost:1/app:1",), ("localhost:1/app@sha256:" + "0" * 64,)])
def test_both_a_name_and_an_image_are_needed(arguments: tuple[str, ...]) -> None:
    outcome = recompress("index", *arguments)
    assert outcome.code == 2
    assert "Missing" in outcome.err


def test_the_oci_twin_of_a_v2s2_image_goes_into_an_index_with_its_zstd_chunked_twin(
    run: Run, index: Index, push: Push, registry: Registry, repository: str
) -> None:
    made = run(push(DOCKER), "--oci-twin").succeeded().results
    gzip = made["OCI_IMAGE_REF"].partition("@")[2]
    assert index(made["IMAGE_REF"], made["OCI_IMAGE_REF"]).succeeded().code == 0
    entries = registry.document(repository, "1.0")["manifests"]
    assert [entry["digest"] for entry in entries] == [gzip, made["IMAGE_DIGEST"]]
    twin, original = registry.document(repository, gzip), json.loads(DOCKER.manifest)
    assert twin["config"]["digest"] == original["config"]["digest"]
    assert [layer["digest"] for layer in twin["layers"]] == [layer["digest"] for layer in original["layers"]]
    assert made["OCI_IMAGE_DIGEST"] == gzip
    tag = made["OCI_IMAGE_URL"].removeprefix(f"{registry.host}/{repository}:")
    assert tag == f"sha256-{DOCKER.digest.hex}.oci"
    assert Digest.of(registry.manifest(repository, tag)) == Digest.parse(gzip)


def test_the_oci_twin_of_an_oci_image_is_itself(run: Run, push: Push) -> None:
    source = push(AMD64)
    made = run(source, "--oci-twin").succeeded().results
    name, _, digest = source.partition("@")
    named = {kind: made[f"OCI_IMAGE_{kind}"] for kind in ("URL", "DIGEST", "REF")}
    assert named == {"URL": name, "DIGEST": digest, "REF": source}


def test_an_index_with_a_variant_of_its_own_and_with_artifacts_is_kept_as_it_is_beside_the_twins(
    run: Run, index: Index, push: Push, registry: Registry, repository: str
) -> None:
    arms = [images.gzip_image({"a": name}, architecture="arm") for name in (b"v6", b"v7")]
    soci = images.manifest(
        b"{}", config_type="application/vnd.oci.empty.v1+json", artifactType="application/vnd.soci"
    )
    registry.push_blob(repository, b"{}")
    registry.push_manifest(repository, soci)
    entries = []
    for image, variant in zip(arms, ("v6", "v7"), strict=True):
        push(image)
        platform = {"os": "linux", "architecture": "arm", "variant": variant}
        entries.append(images.descriptor(MediaType.OCI_MANIFEST, image.manifest, platform=platform))
    kind = {"artifactType": "application/vnd.soci"}
    artifact = images.descriptor(MediaType.OCI_MANIFEST, soci, platform=entries[0]["platform"], **kind)
    more: dict[str, Any] = {
        "subject": images.descriptor(MediaType.OCI_MANIFEST, arms[0].manifest),
        "annotations": {"a": "b"},
        **kind,
    }
    digest = registry.push_manifest(repository, images.index([artifact, *entries], **more))
    source = f"{registry.host}/{repository}@{digest}"
    twins = [run(source, f"--platform=linux/arm/{v}").succeeded().results["IMAGE_REF"] for v in ("v6", "v7")]
    assert "zstd-chunked-cache-linux-arm-v6" in registry.tags(repository)
    outcome = index(*twins, source, "--output=json").succeeded()
    shown = [(entry["platform"], entry["kind"]) for entry in outcome.report["manifests"]]
    images_ = [(f"linux/arm/{v}", kind) for kind in ("gzip", "zstd") for v in ("v6", "v7")]
    assert shown == [*images_, ("linux/arm/v6", "artifact")]
    made = registry.document(repository, "1.0")
    assert made["manifests"][-1] == artifact
    assert {name: made[name] for name in more} == more
    assert "does not have" not in outcome.err
