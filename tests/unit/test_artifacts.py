"""Artifacts among the entries of an index where layers to reuse are looked for, and where it is shown."""

from __future__ import annotations

import pytest

from recompress import plan, reuse
from recompress.inspect import inspect
from recompress.manifest import MediaType, Platform
from recompress.reference import Reference
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry

GZIP = images.gzip_image({"a": b"a"}, architecture="arm")
ZSTD = images.manifest(GZIP.config, [images.descriptor(MediaType.OCI_LAYER_ZSTD, b"zstd")])
BY_MANIFEST = images.manifest(b"{}", artifactType="application/spdx+json")
BY_CONFIG = images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json")
INDEX = images.index([], artifactType="application/spdx+json")
SOCI = {"artifactType": "application/vnd.amazon.soci.index.v2+json"}
V6 = {"platform": {"os": "linux", "architecture": "arm", "variant": "v6"}}


@pytest.fixture
def reference(registry: FakeRegistry) -> Reference:
    """An index of a gzip image and its twin, with artifacts before, between and behind them."""
    registry.add(GZIP)
    for manifest in (ZSTD, BY_MANIFEST, BY_CONFIG, INDEX):
        registry.add_manifest(manifest)
    entries = [
        images.descriptor(MediaType.OCI_MANIFEST, b"never read", **V6, **SOCI),
        images.descriptor(MediaType.OCI_MANIFEST, GZIP.manifest, **V6),
        images.descriptor(MediaType.OCI_MANIFEST, BY_MANIFEST, **V6),
        images.descriptor(MediaType.OCI_MANIFEST, ZSTD, **V6),
        images.descriptor(MediaType.OCI_MANIFEST, BY_CONFIG, **V6),
        images.descriptor("application/vnd.example", b"never read", **V6),
        images.descriptor(MediaType.OCI_INDEX, INDEX, **V6),
    ]
    return registry.reference(registry.add_manifest(images.index(entries)))


def test_layers_are_found_beside_artifacts_and_for_a_variant_that_only_the_index_has(
    client: RepositoryClient, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    source = plan.resolve(client, reference, Platform.parse("linux/arm/v6"))
    assert source.manifest.content == GZIP.manifest
    assert reuse.cache_tag(source.platform) == "zstd-chunked-cache-linux-arm-v6"
    place = reuse.Place(client, reference, is_named_by_user=True)
    found = reuse.find(source.platform, [place], reuse.wanted(source, ()))
    assert list(found) == list(source.config.diff_ids)
    assert caplog.messages == []


def test_what_an_entry_is_that_says_to_be_an_artifact_is_shown(
    client: RepositoryClient, reference: Reference
) -> None:
    notes = [image.note for image in inspect(client, reference).images]
    assert notes == ["artifact", "", "not an image", "", "not an image", "artifact", "not an image"]
