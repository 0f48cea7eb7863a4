from __future__ import annotations

import json
from typing import Any

import pytest

from recompress.errors import Unsupported, VerificationFailed
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    Compression,
    Index,
    Manifest,
    MediaType,
    Platform,
    normalised,
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


def test_a_docker_manifest_has_to_name_its_media_type() -> None:
    document = json.loads(images.manifest(CONFIG, [], MediaType.DOCKER_MANIFEST, MediaType.DOCKER_CONFIG))
    del document["mediaType"]
    with pytest.raises(Unsupported, match="its mediaType '' is not the media type"):
        parse_manifest(json.dumps(document).encode(), MediaType.DOCKER_MANIFEST)


def test_annotations_are_told() -> None:
    layers = [layer(MediaType.OCI_LAYER_GZIP, {"a": "b"}), layer(MediaType.OCI_LAYER_GZIP)]
    manifest = parsed(images.manifest(CONFIG, layers, annotations={"c": "d"}))
    assert [entry.annotations for entry in manifest.layers] == [{"a": "b"}, {}]
    assert manifest.annotations == {"c": "d"}


def test_urls_and_data_of_a_layer_are_told() -> None:
    descriptor = layer(MediaType.OCI_LAYER_GZIP) | {"urls": ["https://elsewhere"], "data": "aGk="}
    (found,) = parsed(images.manifest(CONFIG, [descriptor])).layers
    assert (found.urls, found.data) == (("https://elsewhere",), "aGk=")


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
        (b'{"mediaType": 7}', OCI, "its manifest.mediaType is not a string"),
        (b'{"mediaType": "text/plain"}', "", "neither an image manifest nor an index"),
        (b'{"config": []}', OCI, "its manifest.config is not a JSON object"),
        (b"{}", OCI, "without a media type"),
        (b'{"config": {}}', OCI, "without a media type"),
        (b'{"config": {"mediaType": "a"}}', OCI, "a descriptor with the size None"),
        (b'{"config": {"mediaType": "a", "size": -1}}', OCI, "a descriptor with the size -1"),
        (
            b'{"config": {"mediaType": "a", "size": true}}',
            OCI,
            "its manifest.config.size is not a whole number",
        ),
        (
            b'{"config": {"mediaType": "a", "size": 1.5}}',
            OCI,
            "its manifest.config.size is not a whole number",
        ),
        (
            b'{"config": {"mediaType": "a", "size": 9223372036854775808}}',
            OCI,
            "config.size is not a whole number",
        ),
        (b'{"config": {"mediaType": "a", "size": 1, "digest": "b"}}', OCI, "a bad digest"),
        (images.manifest(CONFIG, annotations=[]), OCI, "annotations"),
        (images.manifest(CONFIG, annotations={"a": 1}), OCI, "annotations"),
        (images.manifest(CONFIG, artifactType="application/x"), OCI, "artifact of type 'application/x'"),
        (b'{"manifests": 7}', MediaType.OCI_INDEX, "its manifest.manifests is not an array"),
    ],
)
def test_what_is_no_image_manifest_is_unsupported_with_a_reason(
    content: bytes, content_type: str, reason: str
) -> None:
    with pytest.raises(Unsupported) as refused:
        parse_manifest(content, content_type)
    assert reason in str(refused.value)


GOOD, EVIL = layer(MediaType.OCI_LAYER_GZIP), images.descriptor(MediaType.OCI_LAYER_GZIP, b"evil")
MANIFEST = images.manifest(CONFIG, [GOOD])
ENTRY = images.descriptor(OCI, b"x", platform={"os": "linux", "architecture": "amd64"})
INDEX = images.index([ENTRY])


def with_key(document: bytes, key: str, value: object) -> bytes:
    """The document with one more key at its end, whether it has it already or not."""
    return document[:-1] + f', "{key}": {json.dumps(value)}}}'.encode()


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (with_key(MANIFEST, "Layers", [EVIL]), OCI, "has the key 'Layers'"),
        (with_key(MANIFEST, "layer\u017f", [EVIL]), OCI, "only some clients read as 'layers'"),
        (with_key(MANIFEST, "layers", [EVIL]), OCI, "has the key 'layers' twice"),
        (with_key(images.manifest(CONFIG), "MediaType", MediaType.OCI_INDEX), OCI, "'MediaType'"),
        (with_key(images.manifest(CONFIG), "Annotations", {}), OCI, "'Annotations'"),
        (with_key(images.manifest(CONFIG), "FSLayers", []), OCI, "'FSLayers'"),
        (images.manifest(CONFIG, [GOOD | {"Digest": EVIL["digest"]}]), OCI, "layers[0] has the key 'Digest'"),
        (images.manifest(CONFIG, config={"DIGEST": ""}), OCI, "manifest.config has the key 'DIGEST'"),
        (images.manifest(CONFIG, subject={"Size": 1}), OCI, "manifest.subject has the key 'Size'"),
        (with_key(INDEX, "Manifests", []), MediaType.OCI_INDEX, "has the key 'Manifests'"),
        (with_key(INDEX, "manifests", []), MediaType.OCI_INDEX, "has the key 'manifests' twice"),
        (images.index([ENTRY | {"platform": {"OS": "windows"}}]), MediaType.OCI_INDEX, "has the key 'OS'"),
        (images.manifest(CONFIG, manifests=[]), OCI, "it is an image manifest with manifests"),
        (images.manifest(CONFIG, fsLayers=[], history=[]), OCI, "an image manifest with fsLayers, history"),
        (images.index([], layers=[], config={}), MediaType.OCI_INDEX, "it is an index with config, layers"),
        (images.index([], MediaType.DOCKER_INDEX, history=[]), MediaType.DOCKER_INDEX, "index with history"),
        (images.manifest(CONFIG, annotations={"\ud800": ""}), OCI, "unpaired surrogate"),
        (images.manifest(CONFIG, [layer("\udc00")]), OCI, "unpaired surrogate"),
        (images.index([ENTRY | {"platform": {"os": "\ud800"}}]), MediaType.OCI_INDEX, "unpaired surrogate"),
    ],
)  # fmt: skip
def test_a_manifest_that_clients_read_differently_is_tampering(
    content: bytes, content_type: str, reason: str
) -> None:
    with pytest.raises(VerificationFailed) as refused:
        parse_manifest(content, content_type)
    assert reason in str(refused.value)


def test_null_is_what_is_not_there() -> None:
    manifest = parsed(
        images.manifest(CONFIG, manifests=None, annotations=None, artifactType=None, fsLayers=None)
    )
    assert manifest.annotations == {}
    assert parsed(images.manifest(CONFIG, annotations={"a": None})).annotations == {"a": ""}


def test_annotations_may_have_any_names() -> None:
    annotations = {"layers": "1", "Layers": "2", "digest": "3", "DIGEST": "4"}
    content = images.manifest(CONFIG, [layer(MediaType.OCI_LAYER_GZIP, annotations)], annotations=annotations)
    manifest = parsed(content[:-2] + b', "twice": "a", "twice": "b"}}')
    assert manifest.annotations == annotations | {"twice": "b"}
    assert manifest.layers[0].annotations == annotations


def test_docker_layers_in_an_oci_manifest_get_the_types_of_oci_and_all_else_stays() -> None:
    layers = [
        layer(docker, {"a": "b"})
        for docker in (MediaType.DOCKER_LAYER, MediaType.DOCKER_LAYER_GZIP, MediaType.DOCKER_LAYER_ZSTD)
    ]
    subject = images.descriptor(OCI, b"x")
    source = images.manifest(CONFIG, [*layers, GOOD], annotations={"c": "d"}, subject=subject)
    content = normalised(parsed(source))
    assert content is not None
    oci = (MediaType.OCI_LAYER, MediaType.OCI_LAYER_GZIP, MediaType.OCI_LAYER_ZSTD)
    renamed = [old | {"mediaType": new} for old, new in zip(layers, oci, strict=True)]
    expected = images.manifest(CONFIG, [*renamed, GOOD], annotations={"c": "d"})
    assert json.loads(content) == json.loads(expected)
    assert normalised(parsed(content)) is None


@pytest.mark.parametrize(
    "content",
    [
        images.manifest(CONFIG, [GOOD]),
        images.manifest(
            CONFIG, [layer(MediaType.DOCKER_LAYER_GZIP)], MediaType.DOCKER_MANIFEST, MediaType.DOCKER_CONFIG
        ),
    ],
    ids=["OCI", "Docker"],
)
def test_a_manifest_of_one_kind_is_normal_already(content: bytes) -> None:
    assert normalised(parsed(content, "")) is None


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
        (b'{"os": 1, "architecture": "amd64", "rootfs": {}}', "its config.os is not a string"),
        (
            b'{"os": "linux", "architecture": "amd64", "variant": 8, "rootfs": {}}',
            "config.variant is not a string",
        ),
        (images.config(["sha256:short"]), "a bad diff_id"),
        (
            b'{"os": "a", "architecture": "b", "rootfs": {"diff_ids": {}}}',
            "its config.rootfs.diff_ids is not an array",
        ),
    ],
)
def test_what_is_no_image_config_is_unsupported_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Unsupported) as refused:
        parse_config(content)
    assert reason in str(refused.value)


def config_with(**settings: object) -> bytes:
    return images.config(settings=settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (images.config(settings=["Healthcheck"]), "its config.config is not a JSON object"),
        (config_with(Cmd="sh"), "its config.config.Cmd is not an array"),
        (config_with(Env={"A": "B"}), "its config.config.Env is not an array"),
        (config_with(Labels={"a": 1}), "its config.config.Labels['a'] is not a string"),
        (config_with(Volumes=["/data"]), "its config.config.Volumes is not a JSON object"),
        (config_with(ExposedPorts={"80/tcp": 80}), "its config.config.ExposedPorts['80/tcp'] is not"),
        (images.config(created=""), "its config.created is not a time"),
        (images.config(history={}), "its config.history is not an array"),
        (images.config(history=[{"empty_layer": 1}]), "config.history[0].empty_layer is not true or false"),
    ],
)  # fmt: skip
def test_a_config_that_go_clients_cannot_decode_is_unsupported(content: bytes, reason: str) -> None:
    with pytest.raises(Unsupported) as refused:
        parse_config(content)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (with_key(images.config(), "RootFS", {"diff_ids": []}), "has the key 'RootFS'"),
        (with_key(images.config(), "rootfs", {"diff_ids": []}), "has the key 'rootfs' twice"),
        (with_key(images.config(), "OS", "windows"), "has the key 'OS'"),
        (with_key(images.config(), "o\u017f", "windows"), "only some clients read as 'os'"),
        (with_key(images.config(), "size", 1), "only some clients read as 'Size'"),
        (images.config(rootfs={"diff_ids": [], "Diff_IDs": []}), "config.rootfs has the key 'Diff_IDs'"),
        (images.config(history=[{}, {"Empty_Layer": True}]), "config.history[1] has the key 'Empty_Layer'"),
        (config_with(user="root"), "config.config has the key 'user'"),
        (config_with(Healthcheck={"test": []}), "config.config.Healthcheck has the key 'test'"),
        (images.config(container_config={"user": "root"}), "config.container_config has the key 'user'"),
        (images.config(architecture="\ud800"), "its config.architecture is"),
        (with_key(images.config(), "os.features", ["\ud800"]), "its config.os.features[0] is"),
    ],
)  # fmt: skip
def test_a_config_that_clients_read_differently_is_tampering(content: bytes, reason: str) -> None:
    with pytest.raises(VerificationFailed) as refused:
        parse_config(content)
    assert reason in str(refused.value)


def test_what_a_config_may_have_though_clients_do_not_read_it() -> None:
    names = {"user": "1", "User": "2", "\ud800": "3"}
    parse_config(
        images.config(
            settings={"Labels": names, "ExposedPorts": {"80/tcp": None}, "Memory": 1.5, "StopTimeout": "x"},
            author="\ud800", container_config={"Cmd": "sh"}, history=[{}, None], Size=1.5,
            unknown=[1.0, 1e3, {"Os": 1}],
        )
    )  # fmt: skip


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7", "windows/amd64"])
def test_a_platform_is_written_as_it_was_read(text: str) -> None:
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/ amd64"])
def test_a_wrong_platform_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a platform"):
        Platform.parse(text)
