"""Layers that exist already, looked for in a registry of the tests' own."""

from __future__ import annotations

import pytest

from recompress import reuse
from recompress.image import Image
from recompress.manifest import Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest, Reference
from recompress.registry.client import RepositoryClient
from recompress.reuse import Offer, Place, cache_tag
from tests import images
from tests.fake_registry import FakeRegistry
from tests.images import HandmadeImage

GZIP = images.gzip_image({"a": b"a"})


def source(registry: FakeRegistry) -> Image:
    manifest = parse_manifest(GZIP.manifest, "")
    assert isinstance(manifest, Manifest)
    return Image(registry.reference(GZIP.digest), manifest, parse_config(GZIP.config))


def find(registry: FakeRegistry, place: Place) -> dict[Digest, Offer]:
    image = source(registry)
    return reuse.find(image.platform, [place], reuse.wanted(image, ()))


def zstd(image: HandmadeImage, number: int) -> bytes:
    """A manifest of the same config with layers that say that they are zstd, other ones for each number."""
    layers = [
        images.descriptor(MediaType.OCI_LAYER_ZSTD, layer + bytes(number), annotations={})
        for layer in image.layers
    ]
    return images.manifest(image.config, layers)


def serve_index(registry: FakeRegistry, manifests: list[bytes]) -> Reference:
    """An index of these, all for one platform, under the cache tag."""
    platform = {"os": "linux", "architecture": "amd64"}
    entries = []
    for content in manifests:
        registry.add_manifest(content)
        entries.append(images.descriptor(MediaType.OCI_MANIFEST, content, platform=platform))
    tag = cache_tag(source(registry).platform)
    registry.add_manifest(images.index(entries), selector=tag or "")
    return Reference(registry.repository, tag)


def test_layers_are_found_in_an_index_too(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs |= GZIP.blobs()
    place = Place(client, serve_index(registry, [GZIP.manifest, zstd(GZIP, 0)]), is_named_by_user=False)
    found = find(registry, place)
    assert list(found) == [diff_id for diff_id, _ in source(registry).layers]


def test_who_puts_an_endless_index_where_layers_are_looked_for_has_a_few_entries_read(
    client: RepositoryClient, registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    other = images.gzip_image({"a": b"something else"})
    registry.blobs |= other.blobs()
    reference = serve_index(registry, [zstd(other, number) for number in range(100)])
    assert find(registry, Place(client, reference, False)) == {}
    # The index itself is one of them.
    assert len(registry.server.asked("GET", "/manifests/")) == 1 + reuse.MOST_ENTRIES
    assert f"{reference} has 100 images for linux/amd64" in caplog.text


def test_an_entry_that_an_index_has_a_thousand_times_is_read_once(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    other = images.gzip_image({"a": b"something else"})
    registry.blobs |= other.blobs()
    reference = serve_index(registry, [zstd(other, 0)] * 1000)
    assert find(registry, Place(client, reference, False)) == {}
    assert len(registry.server.asked("GET", "/manifests/")) == 2
