from __future__ import annotations

import pytest

from recompress import bootable, plan
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (None, None),
        ({"containers.bootc.x": "1", "ostree": "1", "a.ostree.b": "1"}, None),
        ({"ostree.linux": "6", "a": "b", "containers.bootc": "1"}, "containers.bootc, ostree.linux"),
    ],
)
def test_an_image_that_hosts_boot_from_is_warned_of_by_its_labels(
    client: RepositoryClient,
    registry: FakeRegistry,
    caplog: pytest.LogCaptureFixture,
    labels: object,
    named: str | None,
) -> None:
    config = images.config(settings={"Labels": labels})
    digest = registry.add(images.HandmadeImage(images.manifest(config), config, ()))
    image = plan.resolve(client, registry.reference(digest), None)
    bootable.warn(image)
    said = (
        f"{image.reference} has the label {named}: bootc and rpm-ostree from before mid-2024 cannot read zstd"
    )
    assert [message.partition(" layers")[0] for message in caplog.messages] == ([said] if named else [])
