"""What a run has pushed is not there yet, or not any more."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.command import recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})
PATIENT = "--attempts=2"
Push = Callable[[HandmadeImage], str]


@pytest.fixture
def image(proxy: Proxy, repository: str, push: Push) -> str:
    """The image by way of the proxy."""
    return f"{proxy.host}/{repository}@{push(IMAGE).partition('@')[2]}"


class Collector:
    """Deletes what has no tag, so many times, when the proof has ended and the twin is pushed."""

    def __init__(self, registry: Registry, repository: str, times: int) -> None:
        self.registry = registry
        self.repository = repository
        self.left = times
        self.pushed: list[str] = []

    def __call__(self, request: Request) -> Answer | None:
        is_manifest = request.method == "PUT" and "/manifests/sha256:" in request.target
        if is_manifest and request.headers["user-agent"].startswith("skopeo/"):
            self.pushed = [layer["digest"] for layer in json.loads(request.body)["layers"]]
        elif is_manifest and self.pushed and self.left:
            self.left -= 1
            with self.registry.client() as client:
                for digest in self.pushed:
                    client.delete(f"{self.repository}/blobs/{digest}").raise_for_status()
            self.pushed = []
        return None


def test_a_twin_that_is_collected_during_the_proof_is_made_once_more(
    run: Run, proxy: Proxy, registry: Registry, repository: str, image: str
) -> None:
    proxy.fault = Collector(registry, repository, 1)
    outcome = run(image, PATIENT).succeeded()
    assert "the twin is made once more" in outcome.err
    # What was proven is not read again.
    assert outcome.err.count("verifying the content of 2 layers") == 1
    results = {name: text.replace(proxy.host, registry.host) for name, text in outcome.results.items()}
    assert_twin(registry, repository, IMAGE.digest, results)


def test_a_twin_that_is_collected_every_time_is_told_and_has_no_tag(
    run: Run, proxy: Proxy, registry: Registry, repository: str, image: str
) -> None:
    proxy.fault = Collector(registry, repository, 9)
    run(image, PATIENT).failed(4, "something that the manifest names is missing there", proxy.host)
    assert registry.tags(repository) == []


def test_what_was_proven_is_not_proven_again_where_another_layer_was_collected_meanwhile(
    run: Run, proxy: Proxy, registry: Registry, repository: str, image: str
) -> None:
    collector = Collector(registry, repository, 0)

    def fault(request: Request) -> Answer | None:
        # Its manifest is read back when skopeo has ended, before the proof.
        if request.method == "GET" and "/manifests/sha256:" in request.target and collector.pushed:
            with registry.client() as client:
                client.delete(f"{repository}/blobs/{collector.pushed[1]}").raise_for_status()
            proxy.fault = lambda _: None
        return collector(request)

    proxy.fault = fault
    outcome = run(image, PATIENT).succeeded()
    assert "the twin is made once more" in outcome.err
    steps = [line for line in outcome.err.splitlines() if "verifying the content of" in line]
    assert ["2 layers" in steps[0], "1 layer " in steps[1], len(steps)] == [True, True, 2]
    results = {name: text.replace(proxy.host, registry.host) for name, text in outcome.results.items()}
    assert_twin(registry, repository, IMAGE.digest, results)


def test_an_index_with_a_member_that_is_not_there_says_which(
    registry: Registry, repository: str, push: Push
) -> None:
    push(IMAGE)
    attestation = images.gzip_image({"attestation": b"x"})
    push(attestation)
    size = len(attestation.manifest)
    fields = {"mediaType": MediaType.OCI_MANIFEST, "platform": {"os": "unknown", "architecture": "unknown"}}
    entry = {**fields, "digest": str(attestation.digest), "size": size}
    entry["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    image = {
        "mediaType": MediaType.OCI_MANIFEST,
        "digest": str(IMAGE.digest),
        "size": len(IMAGE.manifest),
        "platform": {"os": "linux", "architecture": "amd64"},
        "annotations": {"io.github.containers.compression.zstd": "true"},
    }
    document = {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX, "manifests": [image, entry]}
    index: Digest = registry.push_manifest(repository, json.dumps(document).encode())
    with registry.client() as client:
        client.delete(f"{repository}/manifests/{attestation.digest}").raise_for_status()
    place = f"{registry.host}/{repository}"
    fixed = ("--no-tls-verify", PATIENT)
    outcome = recompress("index", f"{place}@{index}", f"--to={place}:1", *fixed)
    outcome.failed(4, f"lacks {attestation.digest}", "copy it there")
