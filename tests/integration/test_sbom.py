"""An image with an SBOM becomes a twin with one, and the tools that people have read it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.faults import BROKEN, PASSING, at_each_endpoint, broken
from tests.integration.pods import TASKS, Pods, cluster
from tests.integration.proxy import Proxy
from tests.integration.registries import Account, Registry
from tests.integration.twins import assert_twin
from tests.small_sboms import cyclonedx, spdx
from tests.tekton.variables import Value

IMAGE = images.gzip_image({"a": b"a" * 1000})
DOCKER = images.gzip_image({"a": b"docker"}, docker=True)
SPDX, CYCLONEDX = spdx("one", "two"), cyclonedx("one")
SPDX_ARTIFACT = "application/spdx+json"
Push = Callable[[HandmadeImage], str]


def tool(*arguments: str, content: bytes = b"") -> bytes:
    """Run a tool to its end; what it says on stdout."""
    ended = subprocess.run(arguments, input=content, capture_output=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def attach(image: str, content: bytes, kind: str = "spdx") -> str:
    """Attach an SBOM as `cosign attach sbom` does; returns how the result SBOM_BLOB_URL names it."""
    how = (f"--type={kind}", "--input-format=json", "--allow-http-registry")
    tool("cosign", "attach", "sbom", "--sbom=-", *how, image, content=content)
    return f"{image.partition('@')[0]}@{Digest.of(content)}"


def refer(image: str, content: bytes, directory: Path, kind: str = SPDX_ARTIFACT) -> None:
    """Attach an SBOM as `oras attach` does."""
    file = directory / "sbom.json"
    file.write_bytes(content)
    checked = ("--plain-http", "--disable-path-validation", f"--artifact-type={kind}")
    tool("oras", "attach", *checked, image, f"{file}:{kind}")


def download(image: str) -> bytes:
    """What `cosign download sbom` says of an image."""
    return tool("cosign", "download", "sbom", "--allow-http-registry", image).rstrip(b"\n")


def discover(image: str) -> list[dict[str, Any]]:
    """What `oras discover` says that refers to an image."""
    found = json.loads(tool("oras", "discover", "--plain-http", "--format=json", image))["referrers"]
    assert isinstance(found, list)
    return found


def assert_sbom(registry: Registry, repository: str, image: str, url: str) -> dict[str, Any]:
    """Assert that the SBOM that a result names is the one that cosign reads, and is of the image."""
    content = registry.blob(repository, url.partition("@")[2])
    assert url == f"{registry.host}/{repository}@{Digest.of(content)}"
    assert download(image) == content.rstrip(b"\n")
    document = json.loads(content)
    assert isinstance(document, dict)
    assert image.partition("@")[2].removeprefix("sha256:") in content.decode()
    return document


@pytest.mark.parametrize(("kind", "content", "packages"), [("spdx", SPDX, 2), ("cyclonedx", CYCLONEDX, 1)])
def test_what_cosign_attached_to_the_source_cosign_downloads_of_the_twin(
    run: Run, push: Push, registry: Registry, repository: str, kind: str, content: bytes, packages: int
) -> None:
    source = push(IMAGE)
    found = attach(source, content, kind)
    outcome = run(source).succeeded()
    results = dict(outcome.results)
    url = results.pop("SBOM_BLOB_URL")
    assert_twin(registry, repository, IMAGE.digest, results)
    document = assert_sbom(registry, repository, results["IMAGE_REF"], url)
    names = {each["name"] for each in document.get("packages", document.get("components", []))}
    assert {"one"} <= names
    report = outcome.report["sbom"]
    assert (report["action"], report["packages"], report["trust"]) == ("derived", packages, "push access")
    assert (report["source_blob"], report["blob"]) == (found, url)
    assert download(source) == content
    again = run(source).succeeded()
    assert again.results == outcome.results
    assert again.report["sbom"]["action"] == "already there"


def test_a_referrer_of_the_source_becomes_one_of_the_twin_that_oras_discovers(
    run: Run, push: Push, registry: Registry, repository: str, tmp_path: Path
) -> None:
    source = push(IMAGE)
    refer(source, SPDX, tmp_path)
    results = run(source).succeeded().results
    twin = results["IMAGE_REF"]
    (found,) = discover(twin)
    assert found["artifactType"] == SPDX_ARTIFACT
    assert_sbom(registry, repository, twin, results["SBOM_BLOB_URL"])
    # What is a referrer of the twin already stays, and is there once.
    refer(twin, b"{}", tmp_path, "application/vnd.example")
    assert run(source).succeeded().results == results
    assert sorted(each["artifactType"] for each in discover(twin)) == [
        SPDX_ARTIFACT,
        "application/vnd.example",
    ]


def test_an_image_without_an_sbom_is_nothing_to_speak_of(
    run: Run, push: Push, registry: Registry, repository: str
) -> None:
    outcome = run(push(IMAGE)).succeeded()
    assert (outcome.report["sbom"], outcome.report["warnings"]) == (None, [])
    assert "SBOM_BLOB_URL" not in outcome.results
    assert not any(tag.endswith(".sbom") for tag in registry.tags(repository))


def test_a_required_sbom_that_is_missing_ends_the_run_before_the_work(
    run: Run, push: Push, registry: Registry, repository: str
) -> None:
    source = push(IMAGE)
    run(source, "--sbom=require").failed(5, "has no SBOM", source)
    run(source, "--sbom=require", "--if-impossible=keep").failed(5, "has no SBOM", source)
    attach(source, b"{}")
    run(source, "--sbom=require").failed(5, source, "of no known kind")
    assert registry.tags(repository) == [f"sha256-{IMAGE.digest.hex}.sbom"]
    attach(source, SPDX)
    assert "SBOM_BLOB_URL" in run(source, "--sbom=require").succeeded().results
    assert run(source, "--sbom=none").succeeded().report["sbom"] is None


def test_an_sbom_that_cannot_be_used_is_a_warning_and_the_twin_is_made(run: Run, push: Push) -> None:
    source = push(IMAGE)
    attach(source, spdx("one", digest=Digest.of(b"another image")))
    outcome = run(source).succeeded()
    assert "SBOM_BLOB_URL" not in outcome.results
    assert outcome.report["sbom"] is None
    (warning,) = outcome.report["warnings"]
    assert warning.startswith(f"no SBOM is derived: {source}: ")


def test_an_sbom_that_somebody_replaced_is_not_taken_where_its_digest_is_given(
    run: Run, push: Push, registry: Registry, repository: str
) -> None:
    source = push(IMAGE)
    built = attach(source, SPDX)
    attach(source, spdx("forged"))
    pin = f"--sbom-from={built}"
    run(source, pin, "--sbom=require").failed(5, "is not one of those that --sbom-from names")
    outcome = run(source, pin).succeeded()
    assert "SBOM_BLOB_URL" not in outcome.results
    attach(source, SPDX)
    others = f"--sbom-from={registry.host}/other@{Digest.of(b'other')}"
    outcome = run(source, others, pin).succeeded()
    assert outcome.report["sbom"]["trust"] == "pinned"
    document = assert_sbom(
        registry, repository, outcome.results["IMAGE_REF"], outcome.results["SBOM_BLOB_URL"]
    )
    assert "forged" not in json.dumps(document)


def test_the_twin_elsewhere_has_its_sbom_beside_it(
    run: Run, push: Push, registry: Registry, repository: str
) -> None:
    source = push(IMAGE)
    attach(source, SPDX)
    elsewhere = f"{repository}-twins"
    results = run(source, f"--to={registry.host}/{elsewhere}:1.0").succeeded().results
    assert_sbom(registry, elsewhere, results["IMAGE_REF"], results["SBOM_BLOB_URL"])
    # A source that is its own twin has its SBOM as it is, and so has its copy.
    own = run(results["IMAGE_REF"]).succeeded()
    assert own.results["SBOM_BLOB_URL"] == results["SBOM_BLOB_URL"]
    assert own.report["sbom"]["action"] == "the source's own"
    copied = run(results["IMAGE_REF"], f"--to={registry.host}/{repository}-copies").succeeded().results
    blob = results["SBOM_BLOB_URL"].partition("@")[2]
    assert copied["SBOM_BLOB_URL"] == f"{registry.host}/{repository}-copies@{blob}"
    assert_sbom(registry, f"{repository}-copies", copied["IMAGE_REF"], copied["SBOM_BLOB_URL"])


def test_the_oci_twin_has_an_sbom_as_well(run: Run, push: Push, registry: Registry, repository: str) -> None:
    source = push(DOCKER)
    attach(source, SPDX)
    outcome = run(source, "--oci-twin").succeeded()
    results = outcome.results
    assert_sbom(registry, repository, results["IMAGE_REF"], results["SBOM_BLOB_URL"])
    assert_sbom(registry, repository, results["OCI_IMAGE_REF"], outcome.report["sbom"]["oci_blob"])


def index(registry: Registry, repository: str, results: Path, *arguments: str) -> Outcome:
    for file in results.iterdir():
        file.unlink()
    to = f"--to={registry.host}/{repository}:1.0"
    return recompress("index", to, "--no-tls-verify", "--output=json", *arguments, results=results)


def test_the_index_has_an_sbom_with_each_of_its_images(
    run: Run, push: Push, registry: Registry, repository: str, results: Path
) -> None:
    source = push(IMAGE)
    twin = run(source).succeeded().results["IMAGE_REF"]
    outcome = index(registry, repository, results, source, twin).succeeded()
    assert outcome.results["IMAGE_REF"] == f"{registry.host}/{repository}@{outcome.results['IMAGE_DIGEST']}"
    document = assert_sbom(
        registry, repository, outcome.results["IMAGE_REF"], outcome.results["SBOM_BLOB_URL"]
    )
    sums = {each["checksumValue"] for package in document["packages"] for each in package["checksums"]}
    named = (outcome.results["IMAGE_REF"], source, twin)
    assert sums == {image.partition("@sha256:")[2] for image in named}
    assert index(registry, repository, results, source, twin).succeeded().results == outcome.results
    without = index(registry, repository, results, source, twin, "--sbom=none").succeeded()
    assert "SBOM_BLOB_URL" not in without.results


@pytest.mark.parametrize("kind", ["reset in the middle", "cut in the middle", "busy"])
def test_a_registry_that_fails_for_a_moment_anywhere_is_asked_again(
    run: Run, push: Push, registry: Registry, repository: str, proxy: Proxy, tmp_path: Path, kind: str
) -> None:
    refer(push(IMAGE), SPDX, tmp_path)
    fault = broken(kind, proxy) if kind in BROKEN else lambda _: PASSING["503"]
    proxy.fault = at_each_endpoint(1, fault)
    outcome = run(f"{proxy.host}/{repository}@{IMAGE.digest}", "--attempts=12").succeeded()
    digest = outcome.results["SBOM_BLOB_URL"].partition("@")[2]
    assert str(outcome.results["IMAGE_DIGEST"]) in registry.blob(repository, digest).decode()
    assert len(discover(f"{registry.host}/{repository}@{outcome.results['IMAGE_DIGEST']}")) == 1


def test_it_works_with_an_account_and_a_ca_of_its_own(
    private_registry: Registry, repository: str, results: Path, tmp_path: Path
) -> None:
    registry = private_registry
    source = f"{registry.host}/{repository}@{registry.push(repository, IMAGE)}"
    layer = images.descriptor("text/spdx+json", SPDX)
    for blob in (SPDX, b"{}"):
        registry.push_blob(repository, blob)
    manifest = images.manifest(b"{}", [layer])
    registry.push_manifest(repository, manifest, selector=f"sha256-{IMAGE.digest.hex}.sbom")
    options = (
        f"--authfile={Account().auth_file(tmp_path, registry.host)}",
        f"--ca-file={registry.ca_file}",
        "--sbom=require",
    )
    ended = recompress("run", source, *options, results=results).succeeded()
    digest = ended.results["SBOM_BLOB_URL"].partition("@")[2]
    assert json.loads(registry.blob(repository, digest))["name"] == ended.results["IMAGE_REF"]
    assert f"whoever can push to {registry.host}/{repository} chooses it" in ended.out


def test_the_task_takes_the_sbom_that_a_build_task_names_among_those_of_all_its_instances(
    push: Push, registry: Registry, repository: str, tmp_path: Path
) -> None:
    source = push(IMAGE)
    url = attach(source, SPDX)
    pods = Pods(tmp_path, cluster(registry))
    others = [f"{registry.host}/{repository}@{Digest.of(name)}" for name in (b"arm64", b"s390x")]
    given: dict[str, Value] = {
        "IMAGE": source,
        "SBOM": "require",
        "REUSE_FROM": [source],
        "SBOM_FROM": [*others, url],
    }
    ended = pods("recompress", TASKS["recompress"], given, frozenset())
    assert ended.succeeded, ended.log
    assert_sbom(registry, repository, ended.results["IMAGE_REF"], ended.results["SBOM_BLOB_URL"])
    assert "whoever can push" not in ended.out
