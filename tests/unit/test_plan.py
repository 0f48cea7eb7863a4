from __future__ import annotations

import pytest

from recompress import plan
from recompress.errors import NotFound, Unsupported, UsageError, VerificationFailed
from recompress.manifest import (
    INDEX_ZSTD_ANNOTATION,
    MAX_CONFIG_BYTES,
    Index,
    MediaType,
    Platform,
    parse_manifest,
)
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry
from tests.images import HandmadeImage

AMD64 = Platform("linux", "amd64")
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


def entry(
    content: bytes, platform: str | None = None, media_type: str = MediaType.OCI_MANIFEST, **annotations: str
) -> dict[str, object]:
    more: dict[str, object] = {"annotations": annotations} if annotations else {}
    if platform:
        parts = platform.split("/")
        more["platform"] = dict(zip(("os", "architecture", "variant"), parts, strict=False))
    return images.descriptor(media_type, content, **more)


def zstd(image: HandmadeImage, **annotations: str) -> HandmadeImage:
    """The same config under a manifest whose layers say that they are zstd."""
    layers = [
        images.descriptor(MediaType.OCI_LAYER_ZSTD, layer, annotations=annotations) for layer in image.layers
    ]
    return HandmadeImage(images.manifest(image.config, layers), image.config, image.layers)


def index_of(*entries: dict[str, object]) -> Index:
    index = parse_manifest(images.index(entries), MediaType.OCI_INDEX)
    assert isinstance(index, Index)
    return index


GZIP = images.gzip_image({"a": b"a"})
ARM64 = images.gzip_image({"a": b"a"}, architecture="arm64")
CHUNKED = zstd(GZIP, **images.chunked_annotations())


def test_a_single_manifest_is_taken_with_its_config(client: RepositoryClient, registry: FakeRegistry) -> None:
    reference = registry.reference(registry.add(GZIP))
    image = plan.resolve(client, reference, None)
    assert image.reference == reference
    assert image.manifest.content == GZIP.manifest
    assert image.config.content == GZIP.config
    assert image.platform == AMD64


def test_without_a_digest_nothing_is_read(client: RepositoryClient, registry: FakeRegistry) -> None:
    reference = registry.reference(registry.add(GZIP))
    with pytest.raises(UsageError, match=r"has no digest.*@sha256:…"):
        plan.resolve(client, type(reference)(reference.repository, "1"), None)
    assert registry.server.requests == []


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/amd64/v1"])
def test_the_platform_of_a_single_manifest_is_a_guard_that_lets_the_right_one_through(
    platform: str, client: RepositoryClient, registry: FakeRegistry
) -> None:
    reference = registry.reference(registry.add(GZIP))
    assert plan.resolve(client, reference, Platform.parse(platform)).manifest.content == GZIP.manifest


@pytest.mark.parametrize("platform", ["linux/arm64", "windows/amd64", "linux/amd64/v3"])
def test_the_platform_of_a_single_manifest_is_a_guard_that_stops_the_wrong_one(
    platform: str, client: RepositoryClient, registry: FakeRegistry
) -> None:
    reference = registry.reference(registry.add(GZIP))
    with pytest.raises(Unsupported, match=f"is an image for linux/amd64, not for {platform}"):
        plan.resolve(client, reference, Platform.parse(platform))


def test_a_guard_without_a_variant_lets_every_variant_through(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    config = images.config(architecture="arm", variant="v6")
    registry.blobs[str(Digest.of(config))] = config
    reference = registry.reference(registry.add_manifest(images.manifest(config)))
    assert plan.resolve(client, reference, Platform("linux", "arm")).platform.variant == "v6"


def test_the_entry_of_an_index_is_taken_for_the_platform(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(GZIP)
    registry.add(ARM64)
    index = images.index([entry(GZIP.manifest, "linux/amd64"), entry(ARM64.manifest, "linux/arm64/v8")])
    reference = registry.reference(registry.add_manifest(index))
    image = plan.resolve(client, reference, Platform("linux", "arm64"))
    assert image.manifest.content == ARM64.manifest
    assert image.reference.digest == ARM64.digest


def test_an_index_without_a_platform_is_refused_with_the_platforms_it_has(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    index = images.index(
        [
            entry(GZIP.manifest, "linux/amd64"),
            entry(ARM64.manifest, "linux/arm/v7"),
            entry(b"attestation", "unknown/unknown", **ATTESTATION),
        ]
    )
    reference = registry.reference(registry.add_manifest(index))
    with pytest.raises(
        Unsupported, match=r"is an index: choose an image with --platform; it has linux/amd64, linux/arm/v7$"
    ):
        plan.resolve(client, reference, None)


@pytest.mark.parametrize("platform", ["linux/s390x", "unknown/unknown"])
def test_a_platform_that_is_not_in_the_index_is_refused_with_those_that_are(
    platform: str, client: RepositoryClient, registry: FakeRegistry
) -> None:
    index = images.index(
        [entry(GZIP.manifest, "linux/amd64"), entry(b"attestation", "unknown/unknown", **ATTESTATION)]
    )
    reference = registry.reference(registry.add_manifest(index))
    with pytest.raises(Unsupported, match=f"has no image for {platform}; it has linux/amd64"):
        plan.resolve(client, reference, Platform.parse(platform))


def test_an_attestation_that_claims_a_real_platform_is_not_taken(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(GZIP)
    index = images.index(
        [entry(b"attestation", "linux/amd64", **ATTESTATION), entry(GZIP.manifest, "linux/amd64")]
    )
    reference = registry.reference(registry.add_manifest(index))
    assert plan.resolve(client, reference, AMD64).manifest.content == GZIP.manifest


@pytest.mark.parametrize("twin", [CHUNKED, zstd(GZIP)], ids=["zstd:chunked", "plain zstd"])
@pytest.mark.parametrize("annotation", [{}, {INDEX_ZSTD_ANNOTATION: "true"}], ids=["silent", "annotated"])
@pytest.mark.parametrize("gzip_first", [True, False])
def test_an_index_that_mixes_gzip_and_zstd_gives_its_gzip_entry(
    client: RepositoryClient,
    registry: FakeRegistry,
    twin: HandmadeImage,
    annotation: dict[str, str],
    gzip_first: bool,
) -> None:
    registry.add(GZIP)
    registry.add(twin)
    entries = [entry(GZIP.manifest, "linux/amd64"), entry(twin.manifest, "linux/amd64", **annotation)]
    index = images.index(entries if gzip_first else entries[::-1])
    reference = registry.reference(registry.add_manifest(index))
    assert plan.resolve(client, reference, AMD64).manifest.content == GZIP.manifest


def test_an_index_with_nothing_but_zstd_chunked_gives_that(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(CHUNKED)
    index = images.index([entry(CHUNKED.manifest, "linux/amd64", **{INDEX_ZSTD_ANNOTATION: "true"})])
    image = plan.resolve(client, registry.reference(registry.add_manifest(index)), AMD64)
    assert image.manifest.is_zstd


def other(image: HandmadeImage) -> HandmadeImage:
    """The same image under another manifest."""
    manifest = image.manifest[:-1] + b', "annotations": {"another": "build"}}'
    return HandmadeImage(manifest, image.config, image.layers)


TWO = [
    pytest.param([GZIP, other(GZIP)], "gzip", False, id="two gzip"),
    pytest.param([GZIP, CHUNKED, other(GZIP)], "gzip", False, id="two gzip around a zstd"),
    pytest.param([CHUNKED, zstd(GZIP)], "zstd", False, id="nothing but two zstd"),
    pytest.param([CHUNKED, other(CHUNKED)], "zstd", True, id="two zstd:chunked"),
    pytest.param([zstd(GZIP), GZIP, CHUNKED], "zstd", True, id="zstd and zstd:chunked beside a gzip"),
]


@pytest.mark.parametrize(("members", "kind", "is_twin"), TWO)
@pytest.mark.parametrize("annotated", [False, True])
def test_an_index_in_which_two_images_can_be_meant_is_refused_with_both(
    client: RepositoryClient,
    registry: FakeRegistry,
    members: list[HandmadeImage],
    kind: str,
    is_twin: bool,
    annotated: bool,
) -> None:
    for member in members:
        registry.add(member)
    # The annotation on the first alone: it is not what tells.
    marks = [{INDEX_ZSTD_ANNOTATION: "true"} if annotated else {}, *[{}] * (len(members) - 1)]
    entries = [entry(m.manifest, "linux/amd64", **mark) for m, mark in zip(members, marks, strict=True)]
    reference = registry.reference(registry.add_manifest(images.index(entries)))
    two = {
        str(m.digest)
        for m in members
        if (GZIP.layers == m.layers and b"zstd" in m.manifest) == (kind == "zstd")
    }
    with pytest.raises(
        Unsupported, match=f"has two {kind} images for linux/amd64 .*: name the manifest"
    ) as refused:
        plan.resolve(client, reference, AMD64, is_twin=is_twin)
    assert len(two) == 2
    assert all(digest in str(refused.value) for digest in two)


@pytest.mark.parametrize(("is_twin", "taken"), [(False, GZIP), (True, CHUNKED)])
def test_an_entry_that_an_index_lists_twice_is_one(
    client: RepositoryClient, registry: FakeRegistry, is_twin: bool, taken: HandmadeImage
) -> None:
    entries = []
    for image in (GZIP, CHUNKED):
        registry.add(image)
        entries += [
            entry(image.manifest, "linux/amd64"),
            entry(image.manifest, "linux/amd64/v1", **{INDEX_ZSTD_ANNOTATION: "true"}),
        ]
    reference = registry.reference(registry.add_manifest(images.index(entries)))
    assert plan.resolve(client, reference, AMD64, is_twin=is_twin).manifest.content == taken.manifest


@pytest.mark.parametrize("gzip_first", [True, False])
@pytest.mark.parametrize("twin", [CHUNKED, zstd(GZIP)], ids=["zstd:chunked", "plain zstd"])
def test_the_twin_in_an_index_that_mixes_gzip_and_zstd_is_its_zstd_entry(
    client: RepositoryClient, registry: FakeRegistry, twin: HandmadeImage, gzip_first: bool
) -> None:
    registry.add(GZIP)
    registry.add(twin)
    entries = [entry(GZIP.manifest, "linux/amd64"), entry(twin.manifest, "linux/amd64")]
    index = images.index(entries if gzip_first else entries[::-1])
    reference = registry.reference(registry.add_manifest(index))
    assert plan.resolve(client, reference, AMD64, is_twin=True).manifest.content == twin.manifest


def test_where_an_index_has_no_zstd_entry_its_first_is_what_is_verified(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(GZIP)
    registry.add(other(GZIP))
    index = images.index([entry(m.manifest, "linux/amd64") for m in (other(GZIP), GZIP)])
    reference = registry.reference(registry.add_manifest(index))
    assert plan.resolve(client, reference, AMD64, is_twin=True).manifest.content == other(GZIP).manifest


def test_an_index_in_an_index_is_not_followed(client: RepositoryClient, registry: FakeRegistry) -> None:
    inner = images.index([entry(GZIP.manifest, "linux/amd64")])
    registry.add_manifest(inner)
    outer = images.index([entry(inner, "linux/amd64", MediaType.OCI_INDEX)])
    reference = registry.reference(registry.add_manifest(outer))
    with pytest.raises(Unsupported, match="its entry for linux/amd64 is an index itself"):
        plan.resolve(client, reference, AMD64)


def test_an_entry_whose_config_is_for_another_platform_is_refused(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(ARM64)
    index = images.index([entry(ARM64.manifest, "linux/amd64")])
    reference = registry.reference(registry.add_manifest(index))
    with pytest.raises(Unsupported, match="is listed for linux/amd64, but is for linux/arm64"):
        plan.resolve(client, reference, AMD64)


def test_an_entry_that_the_registry_does_not_have_is_not_found(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    index = images.index([entry(GZIP.manifest, "linux/amd64")])
    reference = registry.reference(registry.add_manifest(index))
    with pytest.raises(NotFound, match="MANIFEST_UNKNOWN"):
        plan.resolve(client, reference, AMD64)


@pytest.mark.parametrize(
    ("wanted", "has", "taken"),
    [
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v6"),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm", ["linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6"], None),
        ("linux/arm/v7", ["linux/arm/v6"], None),
        ("linux/arm/v8", ["linux/arm/v6", "linux/arm/v7"], None),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3"),
        ("linux/amd64/v2", ["linux/amd64"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", [None], None),
    ],
)
def test_an_entry_is_chosen_by_the_rules_for_variants(
    wanted: str, has: list[str | None], taken: str | None
) -> None:
    index = index_of(*(entry(str(number).encode(), text) for number, text in enumerate(has)))
    found = plan.candidates(index, Platform.parse(wanted))
    assert [str(candidate.platform) for candidate in found] == ([taken] if taken else [])


def test_each_platform_of_an_index_is_named_once() -> None:
    index = index_of(
        entry(b"1", "linux/amd64"),
        entry(b"2", "linux/amd64", **{INDEX_ZSTD_ANNOTATION: "true"}),
        entry(b"3", "linux/arm/v7"),
        entry(b"4"),
    )
    assert list(map(str, plan.platforms(index))) == ["linux/amd64", "linux/arm/v7"]


LAYER = Digest.of(b"layer")
ONE_LAYER = images.config([str(LAYER)])


def manifest_with(
    layer_type: str,
    config: bytes = ONE_LAYER,
    config_type: str = MediaType.OCI_CONFIG,
    media_type: str = MediaType.OCI_MANIFEST,
    **more: object,
) -> bytes:
    layers = [images.descriptor(layer_type, b"layer", **more)]
    return images.manifest(config, layers, media_type, config_type)


def docker_manifest_with(layer_type: str, config_type: str = MediaType.DOCKER_CONFIG) -> bytes:
    return manifest_with(layer_type, config_type=config_type, media_type=MediaType.DOCKER_MANIFEST)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (
            manifest_with("application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                          config_type="application/vnd.cncf.helm.config.v1+json"),
            "is an artifact ('application/vnd.cncf.helm.config.v1+json'), not an image",
        ),
        (manifest_with(f"{MediaType.OCI_LAYER_GZIP}+encrypted"), "cannot be recompressed"),
        (manifest_with("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "cannot be"),
        (manifest_with(MediaType.OCI_LAYER_GZIP, images.config()), "has 1 layer, but its config lists 0"),
        (manifest_with(MediaType.OCI_LAYER_GZIP, b"{}"), "its config is not an image config"),
        (manifest_with(MediaType.OCI_LAYER_GZIP, urls=["https://elsewhere"]), "has urls in its descriptor"),
        (manifest_with(MediaType.OCI_LAYER_GZIP, data="aGk="), "has data in its descriptor"),
        (
            manifest_with(MediaType.OCI_LAYER_GZIP, config_type=MediaType.DOCKER_CONFIG),
            "is an OCI manifest with a Docker config, which podman cannot pull: build it with",
        ),
        (
            manifest_with(MediaType.DOCKER_LAYER_GZIP, config_type=MediaType.DOCKER_CONFIG),
            "is an OCI manifest with a Docker config, which podman cannot pull: build it with",
        ),
        (
            docker_manifest_with(MediaType.OCI_LAYER_GZIP),
            f"is a Docker v2s2 manifest with an OCI layer ({LAYER}), which podman cannot pull: build it",
        ),
        (
            docker_manifest_with(MediaType.DOCKER_LAYER_ZSTD),
            f"is a Docker v2s2 manifest with a zstd layer ({LAYER}), which that format does not have",
        ),
    ],
)  # fmt: skip
def test_what_has_no_twin_is_refused_with_the_image_and_the_reason(
    client: RepositoryClient, registry: FakeRegistry, manifest: bytes, reason: str
) -> None:
    for blob in (b"{}", images.config(), ONE_LAYER):
        registry.blobs[str(Digest.of(blob))] = blob
    reference = registry.reference(registry.add_manifest(manifest))
    with pytest.raises(Unsupported) as refused:
        plan.check_possible(plan.resolve(client, reference, None))
    assert str(reference) in str(refused.value)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "manifest",
    [
        manifest_with(MediaType.OCI_LAYER_GZIP, urls=[], data=""),
        manifest_with(MediaType.DOCKER_LAYER_GZIP),
        manifest_with(MediaType.DOCKER_LAYER_ZSTD),
        docker_manifest_with(MediaType.DOCKER_LAYER_GZIP),
        docker_manifest_with(MediaType.DOCKER_LAYER, MediaType.OCI_CONFIG),
    ],
    ids=["no urls", "Docker layers in OCI", "Docker zstd in OCI", "Docker", "OCI config in Docker"],
)
def test_what_podman_pulls_though_its_media_types_are_mixed_is_an_image(
    client: RepositoryClient, registry: FakeRegistry, manifest: bytes
) -> None:
    registry.blobs[str(Digest.of(ONE_LAYER))] = ONE_LAYER
    reference = registry.reference(registry.add_manifest(manifest))
    assert plan.resolve(client, reference, None).manifest.content == manifest


def test_a_config_that_clients_do_not_read_for_its_size_is_refused_with_the_image(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    config = images.config(author="x" * MAX_CONFIG_BYTES)
    registry.blobs[str(Digest.of(config))] = config
    reference = registry.reference(registry.add_manifest(images.manifest(config)))
    with pytest.raises(Unsupported, match=f"^{reference}: the config .* has {len(config)} bytes"):
        plan.resolve(client, reference, None)


def test_what_clients_read_differently_is_tampering_and_named(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    manifest = images.manifest(ONE_LAYER, Layers=[])
    reference = registry.reference(registry.add_manifest(manifest))
    with pytest.raises(VerificationFailed, match=f"^{reference}: its manifest has the key 'Layers'"):
        plan.resolve(client, reference, None)
    config = images.config(OS="windows")
    registry.blobs[str(Digest.of(config))] = config
    reference = registry.reference(registry.add_manifest(images.manifest(config)))
    with pytest.raises(VerificationFailed, match=f"^{reference}: its config has the key 'OS'"):
        plan.resolve(client, reference, None)


def test_a_schema_1_manifest_is_refused_with_the_image(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    content = b'{"schemaVersion": 1, "name": "app", "fsLayers": []}'
    reference = registry.reference(registry.add_manifest(content, MediaType.DOCKER_SCHEMA1_SIGNED))
    with pytest.raises(Unsupported, match="schema 1") as refused:
        plan.resolve(client, reference, None)
    assert str(reference) in str(refused.value)


def test_a_config_that_is_not_what_its_digest_says_is_not_believed(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    digest = registry.add(GZIP)
    registry.blobs[str(Digest.of(GZIP.config))] = GZIP.config.replace(b"amd64", b"arm64")
    with pytest.raises(VerificationFailed, match="these are not the bytes asked for"):
        plan.resolve(client, registry.reference(digest), None)


def test_an_index_with_very_many_images_for_a_platform_is_told_before_they_are_read(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    manifests = [zstd(GZIP, number=str(number)).manifest for number in range(100)]
    index = images.index([entry(content, "linux/amd64") for content in manifests])
    reference = registry.reference(registry.add_manifest(index))
    with pytest.raises(Unsupported, match="has 100 images for linux/amd64: name the manifest"):
        plan.resolve(client, reference, AMD64)
    assert len(registry.server.asked("GET", "/manifests/")) == 1
