"""`--to`: where a twin goes, and what may not be moved for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.fake_registry import error_answer
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.command import Outcome
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry, running
from tests.integration.twins import assert_twin

Push = Callable[[HandmadeImage], str]
SMALL = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 2000})


def actions(outcome: Outcome) -> list[str]:
    return [layer["action"] for layer in outcome.report["layers"]]


def listed(content: bytes, **more: Any) -> dict[str, Any]:
    platform = {"os": "linux", "architecture": "amd64"}
    return images.descriptor(MediaType.OCI_MANIFEST, content, platform=platform, **more)


def test_a_twin_made_without_reuse_is_found_by_the_next_run_to_the_same_place(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    to = f"{registry.host}/{repository}-to:t"
    first = run(push(SMALL), f"--to={to}", "--no-reuse").succeeded()
    assert registry.tags(f"{repository}-to") == ["t"]
    second = run(push(SMALL), f"--to={to}").succeeded()
    assert (actions(first), actions(second)) == (["compressed"] * 2, ["reused"] * 2)
    assert {layer["reused_from"] for layer in second.report["layers"]} == {to}
    assert second.results == first.results


@pytest.fixture
def chunked(registry: Registry, repository: str, tmp_path: Path) -> Digest:
    """An image that somebody else has made zstd:chunked, with the tag `built`."""
    # Of its own content: buildah remembers how it has packed a layer, and pushes it so again.
    sources.write_files(tmp_path / "files", "zstd:chunked, to be copied")
    push = ("--compression-format=zstd:chunked",)
    return sources.buildah(registry, repository, tmp_path, "FROM scratch\nCOPY files /\n", push=push)


@pytest.mark.parametrize("to", ["other", "other:a-tag"])
def test_an_image_that_is_zstd_chunked_already_is_copied_with_its_digest(
    run: Run, registry: Registry, repository: str, chunked: Digest, to: str
) -> None:
    image = f"{registry.host}/{repository}@{chunked}"
    there = f"{repository}-{to}"
    outcome = run(image, f"--to={registry.host}/{there}").succeeded()
    assert outcome.results["IMAGE_DIGEST"] == str(chunked)
    assert_twin(registry, repository, chunked, outcome.results, there)
    assert outcome.report["outcome"] == "already zstd:chunked"
    assert actions(outcome) == ["kept"]
    assert registry.tags(repository) == ["built"]
    again = run(image, f"--to={registry.host}/{there}").succeeded()
    assert again.results == outcome.results


def test_it_is_copied_to_another_registry_too(
    run: Run, registry: Registry, repository: str, chunked: Digest
) -> None:
    with running() as elsewhere:
        to = f"{elsewhere.host}/elsewhere/app:1"
        outcome = run(f"{registry.host}/{repository}@{chunked}", f"--to={to}").succeeded()
        assert outcome.results["IMAGE_URL"] == to
        assert Digest.of(elsewhere.manifest("elsewhere/app", "1")) == chunked
        for layer in elsewhere.document("elsewhere/app", "1")["layers"]:
            assert elsewhere.blob("elsewhere/app", layer["digest"])


def test_in_its_own_repository_it_gets_a_tag(
    run: Run, proxy: Proxy, registry: Registry, repository: str, chunked: Digest
) -> None:
    image = f"{proxy.host}/{repository}@{chunked}"
    for tag in ("new", "built"):
        outcome = run(image, f"--to={proxy.host}/{repository}:{tag}", "--oci-twin").succeeded()
        assert outcome.results["IMAGE_URL"] == f"{proxy.host}/{repository}:{tag}"
        assert outcome.results["OCI_IMAGE_REF"] == outcome.results["IMAGE_REF"] == image
        assert Digest.of(registry.manifest(repository, tag)) == chunked
    assert {request.method for request in proxy.server.requests} <= {"GET", "HEAD", "PUT"}


def test_the_results_name_no_tag_that_is_not_there(
    run: Run, registry: Registry, repository: str, chunked: Digest
) -> None:
    name = f"{registry.host}/{repository}"
    outcome = run(f"{name}:no-such-tag@{chunked}").succeeded()
    assert outcome.results["IMAGE_URL"] == name
    assert any("no-such-tag" in warning for warning in outcome.report["warnings"])
    assert run(f"{name}:built@{chunked}").succeeded().results["IMAGE_URL"] == f"{name}:built"


@pytest.mark.parametrize("arguments", [(), ("--no-reuse",), ("--if-impossible=keep",)])
@pytest.mark.parametrize("holder", ["the source", "an index", "a copy elsewhere"])
def test_no_tag_is_moved_away_from_the_gzip_image(
    run: Run, proxy: Proxy, registry: Registry, repository: str, holder: str, arguments: tuple[str, ...]
) -> None:
    registry.push(repository, SMALL)
    there = f"{repository}-copy" if holder == "a copy elsewhere" else repository
    registry.push(there, SMALL)
    document = images.index([listed(SMALL.manifest)]) if holder == "an index" else SMALL.manifest
    registry.push_manifest(there, document, selector="1.0")
    to = f"{proxy.host}/{there}:1.0"
    outcome = run(f"{proxy.host}/{repository}@{SMALL.digest}", f"--to={to}", *arguments)
    outcome.failed(2, to, "choose another tag")
    assert registry.manifest(there, "1.0") == document
    assert {request.method for request in proxy.server.requests} == {"GET"}


def test_nor_from_an_index_that_has_an_image_that_is_zstd_chunked_already(
    run: Run, registry: Registry, repository: str, chunked: Digest
) -> None:
    document = images.index([listed(registry.manifest(repository, str(chunked)))])
    registry.push_manifest(repository, document, selector="1.0")
    to = f"{registry.host}/{repository}:1.0"
    run(f"{registry.host}/{repository}@{chunked}", f"--to={to}").failed(2, to, "choose another tag")
    assert registry.manifest(repository, "1.0") == document


def test_a_tag_on_something_else_is_moved(run: Run, registry: Registry, repository: str, push: Push) -> None:
    other = images.gzip_image({"other": b"other"})
    push(other)
    registry.push_manifest(repository, other.manifest, selector="latest")
    outcome = run(push(SMALL), f"--to={registry.host}/{repository}:latest").succeeded()
    assert_twin(registry, repository, SMALL.digest, outcome.results, f"{repository}:latest")


def test_nor_from_a_source_whose_layers_are_plain_zstd(run: Run, registry: Registry, repository: str) -> None:
    stream = images.tar({"a": b"a" * 1000})
    source = sources.handmade([(stream, sources.zstd_compressed(stream))])
    registry.push(repository, source)
    registry.push_manifest(repository, source.manifest, selector="1.0")
    to = f"{registry.host}/{repository}:1.0"
    run(f"{registry.host}/{repository}@{source.digest}", f"--to={to}").failed(2, to, "choose another tag")


def test_a_registry_that_takes_no_copy_is_told(
    run: Run, proxy: Proxy, registry: Registry, repository: str, chunked: Digest
) -> None:
    image = f"{registry.host}/{repository}@{chunked}"
    to = f"--to={proxy.host}/{repository}-to:1"
    refusal = error_answer(400, "UNSUPPORTED", "not here")
    proxy.always(refusal, "PUT", "/manifests/")
    run(image, to, "--attempts=1").failed(7, "skopeo failed")
    proxy.always(error_answer(403, "DENIED", "read only"), "POST", "/blobs/uploads/")
    run(image, to).failed(3, "read only")
