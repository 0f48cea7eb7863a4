"""Which entry of an index is an image for a platform, and which platform an image has then."""

from __future__ import annotations

import pytest

from recompress import plan
from recompress.errors import Unsupported
from recompress.manifest import MediaType, Platform
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry
from tests.images import HandmadeImage

AMD64 = Platform("linux", "amd64")
GZIP = images.gzip_image({"a": b"a"})
_ZSTD = images.descriptor(MediaType.OCI_LAYER_ZSTD, b"zstd")
CHUNKED = HandmadeImage(images.manifest(GZIP.config, [_ZSTD]), GZIP.config, (b"zstd",))


def entry(content: bytes, platform: str, media_type: str = MediaType.OCI_MANIFEST) -> dict[str, object]:
    """An entry that lists this for a platform."""
    fields = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return images.descriptor(media_type, content, platform=fields)


ARTIFACT = images.manifest(
    b"{}", config_type="application/vnd.oci.empty.v1+json", artifactType="application/vnd.soci"
)
CHART = images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json")
ARTIFACTS = {
    "as its entry says": entry(b"never read", "linux/amd64") | {"artifactType": "application/vnd.soci"},
    "of another media type": entry(b"never read", "linux/amd64", "application/vnd.example"),
    "by its manifest": entry(ARTIFACT, "linux/amd64"),
    "by its config": entry(CHART, "linux/amd64"),
}


@pytest.mark.parametrize("artifact", ARTIFACTS.values(), ids=ARTIFACTS)
@pytest.mark.parametrize(("is_twin", "taken"), [(False, GZIP), (True, CHUNKED)])
def test_an_artifact_for_the_platform_is_not_taken(
    client: RepositoryClient,
    registry: FakeRegistry,
    artifact: dict[str, object],
    is_twin: bool,
    taken: HandmadeImage,
) -> None:
    members = [artifact]
    for content in (ARTIFACT, CHART):
        registry.add_manifest(content)
    for image in (GZIP, CHUNKED):
        registry.add(image)
        members.append(entry(image.manifest, "linux/amd64"))
    reference = registry.reference(registry.add_manifest(images.index(members)))
    assert plan.resolve(client, reference, AMD64, is_twin=is_twin).manifest.content == taken.manifest


@pytest.mark.parametrize("artifact", ARTIFACTS.values(), ids=ARTIFACTS)
def test_where_there_are_only_artifacts_for_a_platform_there_is_no_image(
    client: RepositoryClient, registry: FakeRegistry, artifact: dict[str, object]
) -> None:
    for content in (ARTIFACT, CHART):
        registry.add_manifest(content)
    reference = registry.reference(registry.add_manifest(images.index([artifact])))
    with pytest.raises(Unsupported, match="has no image for linux/amd64"):
        plan.resolve(client, reference, AMD64)


def test_the_platform_of_the_entry_completes_that_of_the_config(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    arm = images.gzip_image({"a": b"a"}, architecture="arm")
    registry.add(arm)
    index = images.index([entry(arm.manifest, "linux/arm"), entry(arm.manifest, "linux/arm/v6")])
    reference = registry.reference(registry.add_manifest(index))
    image = plan.resolve(client, reference, Platform.parse("linux/arm/v6"))
    assert str(image.platform) == "linux/arm/v6"
    assert str(image.config.platform) == "linux/arm"
    assert str(plan.resolve(client, reference, Platform.parse("linux/arm/v7")).platform) == "linux/arm"


@pytest.mark.parametrize(
    ("own", "other", "completed"),
    [
        (Platform("linux", "arm"), Platform("linux", "arm", "v6"), Platform("linux", "arm", "v6")),
        (Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6"), Platform("linux", "arm", "v7")),
        (Platform("linux", "arm"), Platform("linux", "arm64", "v8"), Platform("linux", "arm")),
        (Platform("windows", "a"), Platform("windows", "a", None, "10", ("b",)),
         Platform("windows", "a", None, "10", ("b",))),
    ],
)  # fmt: skip
def test_a_platform_is_completed_and_never_changed(
    own: Platform, other: Platform, completed: Platform
) -> None:
    assert own.completed(other) == completed
