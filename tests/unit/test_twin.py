"""The manifest of the twin, made from the source's and the blobs of its layers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from recompress import twin
from recompress.errors import VerificationFailed
from recompress.image import Image
from recompress.layer import Layout, Section, Verdict
from recompress.manifest import Descriptor, Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest, Reference
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


LAYOUT = Layout(Section(8, 10, 30), Digest.of(b"table"), Section(26, 20, 40))
PARTIALLY = Verdict(None, changes_root=False, layout=LAYOUT)
IN_FULL = Verdict("etc/link: a reason", changes_root=False, layout=LAYOUT)
STARGZ = {"containerd.io/snapshot/stargz/toc.digest": "x", "io.containers.estargz.uncompressed-size": "5"}
BLOBS = tuple(Descriptor(MediaType.OCI_LAYER_ZSTD, Digest.of(blob), 9) for blob in (b"1", b"2"))


def image(annotations: dict[str, str] | None = None, *layers: Descriptor, config: bytes = ORIGINAL) -> Image:
    """A gzip image, its layers with annotations if these are given."""
    gzip = layers or tuple(Descriptor(MediaType.OCI_LAYER_GZIP, Digest.of(b), 9) for b in (b"a", b"b"))
    manifest = Manifest(
        b"{}",
        MediaType.OCI_MANIFEST,
        Descriptor(MediaType.OCI_CONFIG, Digest.of(config), 9),
        gzip,
        annotations or {},
    )
    return Image(Reference.parse(f"example.com/app@{manifest.digest}"), manifest, parse_config(config))


def twin_of(client: RepositoryClient, source: Image, *verdicts: Verdict) -> dict[str, Any]:
    result = twin.push(client, source, BLOBS, verdicts)
    document = json.loads(result.manifest.content)
    assert isinstance(document, dict)
    return document


def test_only_layers_that_may_be_pulled_partially_have_the_annotations_for_it(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    first, second = twin_of(client, image(), PARTIALLY, IN_FULL)["layers"]
    assert first["annotations"] == LAYOUT.annotations
    assert "annotations" not in second
    for layer, blob in ((first, BLOBS[0]), (second, BLOBS[1])):
        assert (layer["mediaType"], layer["digest"]) == (MediaType.OCI_LAYER_ZSTD, str(blob.digest))


def test_layers_above_one_that_sets_the_root_directory_are_pulled_in_full(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    root = Verdict("/: it sets the root directory", changes_root=True, layout=LAYOUT)
    assert [layer.get("annotations") for layer in twin_of(client, image(), root, PARTIALLY)["layers"]] == [
        None
    ] * 2
    assert twin.why_full([PARTIALLY, root]) == (None, "/: it sets the root directory")
    assert "root directory" in str(twin.why_full([root, PARTIALLY])[1])


def test_the_twin_has_the_annotations_of_its_source_but_those_of_compressed_bytes(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    gzip = Descriptor(MediaType.OCI_LAYER_GZIP, Digest.of(b"a"), 9, {"example.layer": "1", **STARGZ})
    source = image({"example.key": "ü", "com.amazon.soci.index-digest": "sha256:1"}, gzip, gzip)
    document = twin_of(client, source, PARTIALLY, IN_FULL)
    assert document["annotations"] == {"example.key": "ü"}
    first, second = document["layers"]
    assert first["annotations"] == {"example.layer": "1", **LAYOUT.annotations}
    assert second["annotations"] == {"example.layer": "1"}


def test_a_layer_that_is_kept_keeps_the_annotations_of_its_bytes(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    own = {"com.amazon.soci.layer": "1", **STARGZ, **images.chunked_annotations()}
    source = image({}, *(Descriptor(b.media_type, b.digest, 9, own) for b in BLOBS))
    first, second = twin_of(client, source, PARTIALLY, IN_FULL)["layers"]
    kept = {"com.amazon.soci.layer": "1", "io.containers.estargz.uncompressed-size": "5"}
    assert first["annotations"] == {**kept, **LAYOUT.annotations}
    assert second["annotations"] == kept


def test_the_config_of_the_twin_is_the_sources_byte_for_byte(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    result = twin.push(client, image(), BLOBS, [PARTIALLY] * 2)
    assert registry.blobs[str(Digest.of(ORIGINAL))] == ORIGINAL
    assert registry.manifests[str(result.digest)] == (MediaType.OCI_MANIFEST, result.manifest.content)
    assert json.loads(result.manifest.content)["config"] == images.descriptor(MediaType.OCI_CONFIG, ORIGINAL)


def test_the_manifest_follows_from_the_source_and_the_blobs_alone(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    there, back = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    results = {twin.push(client, image(order), BLOBS, [PARTIALLY] * 2).digest for order in (there, back)}
    assert len(results) == 1


def test_an_oci_twin_of_a_docker_manifest_keeps_annotations(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    layer = Descriptor(MediaType.DOCKER_LAYER_GZIP, Digest.of(b"a"), 9, STARGZ)
    config = Descriptor(MediaType.DOCKER_CONFIG, Digest.of(b"c"), 9)
    docker = Manifest(b"{}", MediaType.DOCKER_MANIFEST, config, (layer,), {"example.key": "value"})
    digest = twin.push_oci(client, docker)
    document = json.loads(registry.manifests[str(digest)][1])
    assert document["annotations"] == {"example.key": "value"}
    assert document["layers"][0]["annotations"] == STARGZ
    assert document["layers"][0]["mediaType"] == MediaType.OCI_LAYER_GZIP
    assert document["config"]["mediaType"] == MediaType.OCI_CONFIG


def test_skopeos_config_with_other_diff_ids_is_found(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    manifest = pushed(registry, images.config(DIFF_IDS[::-1]))
    with pytest.raises(VerificationFailed, match="with other diff_ids than its source has"):
        twin.check_diff_ids(client, manifest, parse_config(ORIGINAL))
    twin.check_diff_ids(client, pushed(registry, REWRITTEN), parse_config(ORIGINAL))


def test_a_config_of_skopeos_that_is_none_is_found(
    client: RepositoryClient, registry: WritableRegistry
) -> None:
    with pytest.raises(VerificationFailed, match="its config is not an image config"):
        twin.check_diff_ids(client, pushed(registry, b"{}"), parse_config(ORIGINAL))


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
