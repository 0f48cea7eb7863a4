from __future__ import annotations

import json
from typing import Any

import pytest

from recompress.errors import Unsupported
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    Compression,
    Index,
    Manifest,
    MediaType,
    Platform,
    parse_config,
    parse_manifest,
)
from recompress.reference import Digest
from tests import images

CONFIG = images.config()
OCI = MediaType.OCI_MANIFEST


def layer(media_type: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return images.descriptor(media_type, b"layer", annotations=annotations or {})


def parsed(content: bytes, content_type: str = OCI) -> Manifest:
    found = parse_manifest(content, content_type)
    assert isinstance(found, Manifest)
    return found


def test_a_manifest_is_read_with_its_exact_bytes() -> None:
    content = images.manifest(CONFIG, [layer(MediaType.OCI_LAYER_GZIP)], annotations={"a": "b"})
    manifest = parsed(content)
    assert manifest.content == content
    assert manifest.digest == Digest.of(content)
    assert manifest.config.digest == Digest.of(CONFIG)
    assert [entry.size for entry in manifest.layers] == [5]
    assert manifest.annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (MediaType.OCI_LAYER, Compression.UNCOMPRESSED),
        (MediaType.OCI_LAYER_GZIP, Compression.GZIP),
        (MediaType.OCI_LAYER_ZSTD, Compression.ZSTD),
        (MediaType.DOCKER_LAYER, Compression.UNCOMPRESSED),
        (MediaType.DOCKER_LAYER_GZIP, Compression.GZIP),
        (MediaType.DOCKER_LAYER_ZSTD, Compression.ZSTD),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
        ("application/octet-stream", None),
    ],
)
def test_a_layer_is_packed_as_its_media_type_says(media_type: str, compression: Compression | None) -> None:
    manifest = parsed(images.manifest(CONFIG, [layer(media_type)]))
    assert manifest.layers[0].compression is compression
    assert manifest.is_zstd is (media_type == MediaType.OCI_LAYER_ZSTD)


def test_a_zstd_layer_with_all_annotations_is_zstd_chunked() -> None:
    manifest = parsed(
        images.manifest(CONFIG, [layer(MediaType.OCI_LAYER_ZSTD, images.chunked_annotations())])
    )
    assert manifest.layers[0].compression is Compression.ZSTD_CHUNKED
    assert manifest.is_zstd


@pytest.mark.parametrize("missing", CHUNKED_ANNOTATIONS)
def test_a_zstd_layer_that_lacks_an_annotation_is_plain_zstd(missing: str) -> None:
    annotations = images.chunked_annotations()
    del annotations[missing]
    manifest = parsed(images.manifest(CONFIG, [layer(MediaType.OCI_LAYER_ZSTD, annotations)]))
    assert manifest.layers[0].compression is Compression.ZSTD


def test_a_gzip_layer_with_the_annotations_is_still_gzip() -> None:
    manifest = parsed(
        images.manifest(CONFIG, [layer(MediaType.OCI_LAYER_GZIP, images.chunked_annotations())])
    )
    assert manifest.layers[0].compression is Compression.GZIP


def test_one_layer_that_is_not_zstd_is_enough_to_have_work_to_do() -> None:
    mixed = [
        layer(MediaType.OCI_LAYER_ZSTD, images.chunked_annotations()),
        layer(MediaType.OCI_LAYER_GZIP),
    ]
    assert not parsed(images.manifest(CONFIG, mixed)).is_zstd


@pytest.mark.parametrize("layers", [[], [layer(MediaType.DOCKER_LAYER_ZSTD, images.chunked_annotations())]])
def test_a_docker_manifest_always_has_work_to_do(layers: list[dict[str, Any]]) -> None:
    manifest = parsed(
        images.manifest(CONFIG, layers, MediaType.DOCKER_MANIFEST, MediaType.DOCKER_CONFIG),
        MediaType.DOCKER_MANIFEST,
    )
    assert not manifest.is_zstd


def test_without_a_media_type_of_its_own_a_manifest_is_what_it_is_served_as() -> None:
    document = json.loads(images.manifest(CONFIG))
    del document["mediaType"]
    content = json.dumps(document).encode()
    assert parsed(content, f"{OCI}; charset=utf-8").media_type == OCI
    with pytest.raises(Unsupported, match="neither an image manifest nor an index"):
        parse_manifest(content, "application/json")


def test_a_generic_content_type_does_not_contradict_the_manifest() -> None:
    assert parsed(images.manifest(CONFIG), "application/json").media_type == OCI
    assert parsed(images.manifest(CONFIG), "").media_type == OCI


def test_a_manifest_served_as_another_type_is_refused() -> None:
    with pytest.raises(Unsupported, match="is not the media type"):
        parse_manifest(images.manifest(CONFIG), MediaType.DOCKER_MANIFEST)


def test_an_index_is_read_with_platforms_and_annotations() -> None:
    entry = images.descriptor(
        OCI,
        b"x",
        platform={"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"},
        annotations={"a": "b"},
    )
    index = parse_manifest(images.index([entry, images.descriptor(OCI, b"y")]), MediaType.OCI_INDEX)
    assert isinstance(index, Index)
    assert index.manifests[0].platform == Platform("linux", "arm", "v7", "1")
    assert index.manifests[0].annotations == {"a": "b"}
    assert index.manifests[1].platform is None


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (b"", OCI, "its manifest is not JSON"),
        (b"\xff\xfe", OCI, "its manifest is not JSON"),
        (b"[" * 100_000, OCI, "its manifest is not JSON"),
        (b"[]", OCI, "is not a JSON object"),
        (b'{"schemaVersion": 1}', MediaType.DOCKER_SCHEMA1_SIGNED, "schema 1"),
        (b'{"schemaVersion": 1}', "application/json", "schema 1"),
        (b'{"mediaType": 7}', OCI, "is not the media type"),
        (b'{"mediaType": "text/plain"}', "", "neither an image manifest nor an index"),
        (b"{}", OCI, "a descriptor that is not an object"),
        (b'{"config": {}}', OCI, "without a media type"),
        (b'{"config": {"mediaType": "a"}}', OCI, "a descriptor with the size None"),
        (b'{"config": {"mediaType": "a", "size": -1}}', OCI, "a descriptor with the size -1"),
        (b'{"config": {"mediaType": "a", "size": true}}', OCI, "a descriptor with the size True"),
        (b'{"config": {"mediaType": "a", "size": 1.5}}', OCI, "a descriptor with the size 1.5"),
        (b'{"config": {"mediaType": "a", "size": 9223372036854775808}}', OCI, "a descriptor with the size"),
        (b'{"config": {"mediaType": "a", "size": 1, "digest": "b"}}', OCI, "a bad digest"),
        (images.manifest(CONFIG, annotations=[]), OCI, "annotations"),
        (images.manifest(CONFIG, annotations={"a": 1}), OCI, "annotations"),
        (images.manifest(CONFIG, artifactType="application/x"), OCI, "artifact of type 'application/x'"),
        (b'{"manifests": 7}', MediaType.OCI_INDEX, "its manifests is not an array"),
    ],
)
def test_what_is_no_image_manifest_is_unsupported_with_a_reason(
    content: bytes, content_type: str, reason: str
) -> None:
    with pytest.raises(Unsupported) as refused:
        parse_manifest(content, content_type)
    assert reason in str(refused.value)


def test_a_config_is_read_with_platform_and_diff_ids_in_order() -> None:
    diff_ids = [str(Digest.of(b"1")), str(Digest.of(b"0"))]
    content = images.config(diff_ids, "arm64", variant="v8", **{"os.version": "10", "os.features": ["x"]})
    config = parse_config(content)
    assert config.platform == Platform("linux", "arm64", "v8", "10", ("x",))
    assert [str(diff_id) for diff_id in config.diff_ids] == diff_ids
    assert config.digest == Digest.of(content)
    assert config.content == content


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        (None, ()),
        ({"Cmd": ["sh"]}, ()),
        ({"Healthcheck": {"Test": ["CMD", "true"]}}, ("Healthcheck",)),
        ({"OnBuild": ["RUN true"], "Shell": ["/bin/bash"], "Healthcheck": {"Test": ["NONE"]}},
         ("Healthcheck", "OnBuild", "Shell")),
        ({"OnBuild": None, "Shell": [], "Healthcheck": None}, ()),
        (["Healthcheck"], ()),
    ],
)  # fmt: skip
def test_the_fields_that_only_docker_knows_are_named(settings: object, fields: tuple[str, ...]) -> None:
    assert parse_config(images.config(settings=settings)).docker_only_fields == fields


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no", "its config is not JSON"),
        (b"{}", "is not an image config"),
        (b'{"os": "linux", "architecture": "amd64"}', "is not an image config"),
        (b'{"os": 1, "architecture": "amd64", "rootfs": {}}', "is not an image config"),
        (b'{"os": "linux", "architecture": "amd64", "variant": 8, "rootfs": {}}', "is not an image config"),
        (images.config(["sha256:short"]), "a bad diff_id"),
        (b'{"os": "a", "architecture": "b", "rootfs": {"diff_ids": {}}}', "its diff_ids is not an array"),
    ],
)
def test_what_is_no_image_config_is_unsupported_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Unsupported) as refused:
        parse_config(content)
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7", "windows/amd64"])
def test_a_platform_is_written_as_it_was_read(text: str) -> None:
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/ amd64"])
def test_a_wrong_platform_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a platform"):
        Platform.parse(text)
