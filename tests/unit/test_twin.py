"""The manifest of the twin: that of skopeo, with the config of the source in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from recompress import twin
from recompress.errors import VerificationFailed
from recompress.manifest import Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry
from tests.http_server import Answer, Request

DIFF_IDS = [str(Digest.of(b"first")), str(Digest.of(b"second"))]
HEALTHCHECK = {"Healthcheck": {"Test": ["CMD", "true"]}}
ORIGINAL = images.config(DIFF_IDS, settings=HEALTHCHECK)
REWRITTEN = images.config(DIFF_IDS)


class WritableRegistry(FakeRegistry):
    """Takes manifests and blobs, too."""

    def handle(self, request: Request) -> Answer:
        match request.method:
            case "POST":
                return Answer(202, headers={"Location": "/v2/app/blobs/uploads/1"})
            case "PUT" if "/blobs/uploads/" in request.target:
                self.blobs[str(Digest.of(request.body))] = request.body
                return Answer(201)
            case "PUT":
                selector = request.path.rpartition("/")[2]
                self.add_manifest(request.body, request.headers["content-type"], selector)
                return Answer(201)
            case _:
                return super().handle(request)


@pytest.fixture
def registry() -> Iterator[WritableRegistry]:
    writable = WritableRegistry()
    with writable.server:
        yield writable


def pushed(registry: FakeRegistry, config: bytes, **more: Any) -> Manifest:
    registry.blobs[str(Digest.of(config))] = config
    layers = [
        images.descriptor(MediaType.OCI_LAYER_ZSTD, blob, annotations=images.chunked_annotations())
        for blob in (b"1", b"2")
    ]
    content = images.manifest(config, layers, annotations={"example.key": "ü"}, **more)
    registry.add_manifest(content)
    manifest = parse_manifest(content, "")
    assert isinstance(manifest, Manifest)
    return manifest


def test_a_manifest_with_the_sources_config_stays_as_skopeo_pushed_it(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    manifest = pushed(registry, ORIGINAL)
    assert twin.with_config(client, manifest, parse_config(ORIGINAL)).manifest is manifest
    assert registry.server.asked("PUT") == []


def test_a_rewritten_config_is_put_right_and_nothing_else_is_changed(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    manifest = pushed(registry, REWRITTEN)
    result = twin.with_config(client, manifest, parse_config(ORIGINAL)).manifest
    assert registry.blobs[str(Digest.of(ORIGINAL))] == ORIGINAL
    assert registry.manifests[str(result.digest)] == (MediaType.OCI_MANIFEST, result.content)
    before, after = json.loads(manifest.content), json.loads(result.content)
    assert after.pop("config") == images.descriptor(MediaType.OCI_CONFIG, ORIGINAL)
    before.pop("config")
    assert after == before


def test_the_same_config_put_right_twice_gives_the_same_digest(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    manifest = pushed(registry, REWRITTEN)
    results = {twin.with_config(client, manifest, parse_config(ORIGINAL)).digest for _ in range(2)}
    assert len(results) == 1


def test_a_config_with_other_diff_ids_is_not_painted_over(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    manifest = pushed(registry, images.config(DIFF_IDS[::-1]))
    with pytest.raises(VerificationFailed, match="with other diff_ids than its source has"):
        twin.with_config(client, manifest, parse_config(ORIGINAL))
    assert registry.server.asked("PUT") == []


def test_a_config_that_is_none_is_not_painted_over(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    with pytest.raises(VerificationFailed, match="its config is not an image config"):
        twin.with_config(client, pushed(registry, b"{}"), parse_config(ORIGINAL))


@pytest.mark.parametrize("content", [images.index([]), b'{"schemaVersion": 1}'])
def test_what_was_pushed_and_is_no_image_manifest_is_a_failed_verification(
    client: RepositoryClient, registry: WritableRegistry, content: bytes
) -> None:
    with pytest.raises(VerificationFailed, match="just pushed"):
        twin.read_back(client, registry.add_manifest(content))


def test_what_was_pushed_and_comes_back_changed_is_a_failed_verification(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    digest = pushed(registry, ORIGINAL).digest
    media_type, content = registry.manifests[str(digest)]
    registry.manifests[str(digest)] = media_type, content + b" "
    with pytest.raises(VerificationFailed, match="these are not the bytes asked for"):
        twin.read_back(client, digest)


def test_the_tag_of_a_twin_is_found_from_the_digest_of_its_source(registry: WritableRegistry) -> None:
    source = pushed(registry, ORIGINAL)
    assert twin.default_tag(source) == f"sha256-{source.digest.hex}.zstd-chunked"
