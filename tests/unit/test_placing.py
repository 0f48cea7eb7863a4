"""Tags that a twin may not take, and tags that a result may not name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from recompress import twin
from recompress.errors import Unavailable, UsageError
from recompress.image import Image
from recompress.manifest import Manifest, MediaType, parse_config, parse_manifest
from recompress.placing import check_tag, existing_tag
from recompress.reference import Digest, Reference
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request
from tests.images import HandmadeImage

GZIP = images.gzip_image({"a": b"a"})
DOCKER = images.gzip_image({"a": b"a"}, docker=True)
OTHER = images.gzip_image({"b": b"b"})


def image(made: HandmadeImage, registry: FakeRegistry) -> Image:
    manifest = parse_manifest(made.manifest, "")
    assert isinstance(manifest, Manifest)
    return Image(registry.reference(manifest.digest), manifest, parse_config(made.config))


def index(*manifests: bytes) -> bytes:
    return images.index([images.descriptor(MediaType.OCI_MANIFEST, content) for content in manifests])


def as_oci(made: HandmadeImage, registry: FakeRegistry) -> bytes:
    return twin.as_oci(image(made, registry).manifest)


class Answering(FakeRegistry):
    """Has one answer to everything, where it is set."""

    answer: Answer | None = None

    def handle(self, request: Request) -> Answer:
        return self.answer or super().handle(request)


@pytest.fixture
def registry() -> Iterator[Answering]:
    registry = Answering()
    with registry.server:
        yield registry


def check(
    client: RepositoryClient, registry: FakeRegistry, source: HandmadeImage, *, may_be_source: bool = False
) -> None:
    to = Reference(registry.repository, "1.0")
    check_tag(client, to, image(source, registry), may_be_source=may_be_source)


@pytest.mark.parametrize("source", [GZIP, DOCKER], ids=["oci", "docker"])
@pytest.mark.parametrize("is_index", [False, True])
@pytest.mark.parametrize("is_oci", [False, True])
def test_a_tag_on_the_source_or_on_an_index_that_has_it_may_not_be_moved(
    client: RepositoryClient, registry: Answering, source: HandmadeImage, is_index: bool, is_oci: bool
) -> None:
    held = as_oci(source, registry) if is_oci else source.manifest
    registry.add_manifest(index(OTHER.manifest, held) if is_index else held, selector="1.0")
    what = "an index with the image" if is_index else "the image"
    told = re.escape(f"--to {registry.repository}:1.0: this tag names {what} ")
    with pytest.raises(UsageError, match=f"^{told}.*@{source.digest}, .*: choose another tag$"):
        check(client, registry, source)


def test_a_source_that_stays_what_it_is_may_be_there_already_but_not_an_index(
    client: RepositoryClient, registry: Answering
) -> None:
    registry.add_manifest(GZIP.manifest, selector="1.0")
    check(client, registry, GZIP, may_be_source=True)
    registry.add_manifest(index(GZIP.manifest), selector="1.0")
    with pytest.raises(UsageError, match="an index with the image"):
        check(client, registry, GZIP, may_be_source=True)


@pytest.mark.parametrize("held", [OTHER.manifest, index(OTHER.manifest), b'{"schemaVersion": 1}', b"{", None])
def test_a_tag_on_anything_else_or_on_nothing_may_be_moved(
    client: RepositoryClient, registry: Answering, held: bytes | None
) -> None:
    if held:
        registry.add_manifest(held, MediaType.OCI_MANIFEST if b"manifests" not in held else "", "1.0")
    check(client, registry, GZIP)


def test_a_registry_that_refuses_what_is_not_there_is_no_obstacle_and_one_that_fails_is(
    client: RepositoryClient, registry: Answering
) -> None:
    registry.answer = error_answer(403, "DENIED", "no such repository, or no permission")
    check(client, registry, GZIP)
    registry.answer = error_answer(503, "UNAVAILABLE", "come back later")
    with pytest.raises(Unavailable):
        check(client, registry, GZIP)


def test_without_a_tag_nothing_is_asked(client: RepositoryClient, registry: Answering) -> None:
    check_tag(client, Reference(registry.repository), image(GZIP, registry), may_be_source=False)
    assert existing_tag(client, registry.reference(GZIP.digest), GZIP.digest) is None
    assert registry.server.requests == []


def test_a_tag_that_is_there_is_named_and_no_other(
    client: RepositoryClient, registry: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    named = Reference(registry.repository, "1.0", GZIP.digest)
    assert existing_tag(client, named, GZIP.digest) is None
    assert caplog.messages == [f"the results name no tag: there is no {registry.repository}:1.0"]
    registry.add_manifest(GZIP.manifest, selector="1.0")
    assert existing_tag(client, named, GZIP.digest) == "1.0"
    within = Reference(registry.repository, "1.0", Digest.of(b"an index that has it"))
    assert existing_tag(client, within, GZIP.digest) == "1.0"
    caplog.clear()
    registry.add_manifest(OTHER.manifest, selector="1.0")
    assert existing_tag(client, named, GZIP.digest) is None
    assert caplog.messages == [f"the results name no tag: {registry.repository}:1.0 is another image"]
    registry.answer = error_answer(403, "DENIED", "not this one")
    assert existing_tag(client, named, GZIP.digest) == "1.0"


def test_the_oci_form_of_an_oci_manifest_is_itself(registry: Answering) -> None:
    assert as_oci(GZIP, registry) == GZIP.manifest
    document = json.loads(as_oci(DOCKER, registry))
    assert document["mediaType"] == MediaType.OCI_MANIFEST
    assert Digest.parse(document["config"]["digest"]) == Digest.of(DOCKER.config)
