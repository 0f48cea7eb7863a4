"""What is read from a registry, and that nothing of it is believed unchecked."""

from __future__ import annotations

import pytest

from recompress.errors import NotFound, Unsupported, VerificationFailed
from recompress.manifest import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Descriptor, MediaType
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from recompress.registry.served import Served
from tests.fake_registry import FakeRegistry
from tests.http_server import Answer
from tests.unit.registry.answering import BLOB, MANIFEST, answering


def test_a_manifest_is_read_by_digest_with_its_media_type(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    digest = registry.add_manifest(MANIFEST, MediaType.OCI_MANIFEST)
    assert client.manifest(digest) == Served(MANIFEST, MediaType.OCI_MANIFEST)


def test_every_kind_of_manifest_is_accepted_so_that_no_registry_converts_one(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    client.manifest(registry.add_manifest(MANIFEST, MediaType.OCI_MANIFEST))
    accepted = registry.server.asked("GET", "/manifests/")[0].headers["accept"].split(", ")
    assert {
        MediaType.OCI_MANIFEST,
        MediaType.OCI_INDEX,
        MediaType.DOCKER_MANIFEST,
        MediaType.DOCKER_INDEX,
    } <= set(accepted)


def test_a_manifest_whose_bytes_do_not_match_its_digest_is_not_believed(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    wrong = Digest.of(b"something else")
    registry.add_manifest(MANIFEST, MediaType.OCI_MANIFEST, selector=str(wrong))
    with pytest.raises(VerificationFailed, match=f"{wrong} has the digest {Digest.of(MANIFEST)}"):
        client.manifest(wrong)


def test_a_manifest_larger_than_any_is_not_read_to_its_end(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    content = b" " * (MAX_MANIFEST_BYTES + 1)
    with pytest.raises(VerificationFailed, match="is larger than the limit of 4194304 bytes"):
        client.manifest(registry.add_manifest(content, MediaType.OCI_MANIFEST))


def config_descriptor(content: bytes, size: int) -> Descriptor:
    return Descriptor(MediaType.OCI_CONFIG, Digest.of(content), size)


def test_a_config_is_read_and_compared(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    assert client.config(config_descriptor(BLOB, len(BLOB))) == BLOB


def test_a_config_longer_than_its_descriptor_says_is_not_believed(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    with pytest.raises(VerificationFailed, match="is larger than the limit of 3 bytes"):
        client.config(config_descriptor(BLOB, 3))


def test_a_config_with_other_bytes_is_not_believed(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB[::-1]
    with pytest.raises(VerificationFailed, match="these are not the bytes asked for"):
        client.config(config_descriptor(BLOB, len(BLOB)))


def test_a_config_shorter_than_its_descriptor_says_is_not_believed(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    with pytest.raises(VerificationFailed, match=f"has {len(BLOB)} bytes, and its descriptor says"):
        client.config(config_descriptor(BLOB, len(BLOB) + 1))


def test_a_config_too_large_for_clients_is_unsupported_and_not_asked_for(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    with pytest.raises(Unsupported, match="has 4194305 bytes, and podman and skopeo read 4194304 at most"):
        client.config(config_descriptor(BLOB, MAX_CONFIG_BYTES + 1))
    assert registry.server.requests == []


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 1024), (100, 200), (1023, 1)])
@pytest.mark.parametrize("honours_ranges", [True, False])
def test_a_part_of_a_blob_is_exactly_that_part_whether_the_registry_honours_ranges_or_not(
    client: RepositoryClient, registry: FakeRegistry, offset: int, length: int, honours_ranges: bool
) -> None:
    registry.honours_ranges = honours_ranges
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    found, honoured = client.blob_range_sha256(Digest.of(BLOB), offset, length)
    assert found == Digest.of(BLOB[offset : offset + length])
    assert honoured is honours_ranges
    assert len(registry.server.asked("GET", "/blobs/")) == 1


def test_a_part_beyond_the_end_of_a_blob_is_a_failed_verification(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    with pytest.raises(VerificationFailed, match="a blob is shorter than its descriptor says"):
        client.blob_range_sha256(Digest.of(BLOB), 1024, 10)


@pytest.mark.parametrize("value", ["bytes 1-10/1024", "bytes 0-8/1024", "", "nonsense"])
def test_another_part_than_the_one_asked_for_is_not_believed(value: str) -> None:
    with answering(lambda _: Answer(206, BLOB[:10], {"Content-Range": value})) as (client, _):
        with pytest.raises(VerificationFailed, match="was asked for the bytes 0-9 and answered"):
            client.blob_range_sha256(Digest.of(BLOB), 0, 10)


def test_a_blob_is_streamed_as_it_is_stored() -> None:
    # A registry behind a proxy that packs on the way would change the bytes that are hashed.
    with answering(lambda _: Answer(200, BLOB, {"Content-Encoding": "gzip"})) as (client, server):
        with client.blob(Digest.of(BLOB)) as chunks:
            assert b"".join(chunks) == BLOB
        assert server.asked("GET", "/blobs/")[0].headers["accept-encoding"] == "identity"


def test_a_blob_is_looked_for_without_reading_it(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    client.stat_blob(Digest.of(BLOB))
    with pytest.raises(NotFound):
        client.stat_blob(Digest.of(b"other"))
    assert [r.method for r in registry.server.requests if "blobs" in r.target] == ["HEAD", "HEAD"]
