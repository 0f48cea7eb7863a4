from __future__ import annotations

import pytest

from recompress.errors import NotFound
from recompress.inspect import inspect
from recompress.manifest import MediaType
from recompress.reference import Reference
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry

IMAGE = images.gzip_image({"a": b"a"}, {"b": b"b"}, architecture="arm64")
AMD64 = {"os": "linux", "architecture": "amd64"}


def test_a_single_image_is_shown_with_the_platform_of_its_config(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    reference = registry.reference(registry.add(IMAGE))
    report = inspect(client, reference)
    assert report.reference == reference
    assert not report.is_index
    (image,) = report.images
    assert str(image.platform) == "linux/arm64"
    assert [layer.size for layer in image.layers] == [len(layer) for layer in IMAGE.layers]
    assert image.note == ""


@pytest.mark.parametrize("tag", ["1", None])
def test_a_tag_or_latest_is_read_and_named_by_its_digest(
    client: RepositoryClient, registry: FakeRegistry, tag: str | None
) -> None:
    registry.add(IMAGE)
    registry.add_manifest(IMAGE.manifest, selector=tag or "latest")
    reference = Reference(registry.repository, tag)
    assert inspect(client, reference).reference == reference.with_digest(IMAGE.digest)


def test_every_entry_of_an_index_is_shown_for_what_it_is(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.add(IMAGE)
    inner = images.index([])
    registry.add_manifest(inner)
    artifact = images.manifest(b"{}", artifactType="application/vnd.example")
    registry.add_manifest(artifact)
    entries = [
        images.descriptor(MediaType.OCI_MANIFEST, IMAGE.manifest, platform=AMD64),
        images.descriptor(MediaType.OCI_MANIFEST, IMAGE.manifest),
        images.descriptor(MediaType.OCI_INDEX, inner),
        images.descriptor(MediaType.OCI_MANIFEST, artifact),
        images.descriptor(
            MediaType.OCI_MANIFEST, b"attestation", annotations={"vnd.docker.reference.type": "x"}
        ),
    ]
    report = inspect(client, registry.reference(registry.add_manifest(images.index(entries))))
    assert report.is_index
    shown = [(str(image.platform or ""), image.note, len(image.layers)) for image in report.images]
    assert shown == [
        ("linux/amd64", "", 2),
        ("linux/arm64", "", 2),
        ("", "index", 0),
        ("", "not an image", 0),
        ("", "attestation", 0),
    ]


def test_an_artifact_is_shown_as_no_image(client: RepositoryClient, registry: FakeRegistry) -> None:
    config = b"{}"
    registry.add(images.HandmadeImage(images.manifest(config, config_type="application/x"), config, ()))
    (digest,) = registry.manifests
    (image,) = inspect(client, Reference.parse(f"{registry.repository}@{digest}")).images
    assert image.note == "not an image: application/x"
    assert image.platform is None


def test_an_entry_that_the_registry_does_not_have_is_shown_as_missing(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    # Mirrors keep some platforms of an index only.
    registry.add(IMAGE)
    entries = [
        images.descriptor(MediaType.OCI_MANIFEST, IMAGE.manifest),
        images.descriptor(MediaType.OCI_MANIFEST, b"missing", platform=AMD64),
    ]
    report = inspect(client, registry.reference(registry.add_manifest(images.index(entries))))
    assert [image.note for image in report.images] == ["", "missing"]


def test_what_is_not_there_is_not_found(client: RepositoryClient, registry: FakeRegistry) -> None:
    with pytest.raises(NotFound):
        inspect(client, Reference(registry.repository, "1"))
