"""Pushing manifests and configs, and asking whether that is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from recompress.errors import NotFound, RecompressError, Refused, Unavailable
from recompress.manifest import MediaType
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from recompress.registry.served import Served
from recompress.signals import Terminated
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request, in_turn
from tests.unit.registry.answering import BLOB, BUSY, MANIFEST, OK, TAG, Uploads, answering


def test_a_manifest_is_pushed_under_its_tag_with_its_media_type() -> None:
    uploads = Uploads()
    with answering(uploads) as (client, _):
        client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
    assert uploads.put == {"/v2/app/manifests/1": (MediaType.OCI_MANIFEST, MANIFEST)}


def test_pushing_is_tried_again_with_the_whole_body(waits: list[float]) -> None:
    uploads = Uploads()
    uploads.first["PUT"] = BUSY
    with answering(uploads) as (client, _):
        client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
    assert uploads.put == {"/v2/app/manifests/1": (MediaType.OCI_MANIFEST, MANIFEST)}
    assert len(waits) == 1


def test_a_registry_that_says_the_digest_of_a_manifest_is_wrong_is_asked_again(waits: list[float]) -> None:
    # It is that of the bytes. CNCF Distribution says so while somebody else writes a link to a layer.
    uploads = Uploads()
    uploads.first["PUT"] = error_answer(400, "DIGEST_INVALID", "provided digest did not match")
    with answering(uploads) as (client, _):
        client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
    assert uploads.put == {"/v2/app/manifests/1": (MediaType.OCI_MANIFEST, MANIFEST)}
    assert len(waits) == 1


def test_a_manifest_that_the_registry_does_not_take_is_not_pushed_again(waits: list[float]) -> None:
    uploads = Uploads()
    uploads.first["PUT"] = error_answer(400, "MANIFEST_INVALID", "manifest invalid")
    with answering(uploads) as (client, _):
        with pytest.raises(Unavailable, match="400 MANIFEST_INVALID manifest invalid"):
            client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
    assert waits == []


IMMUTABLE = [400, 401, 403, 404, 405, 409, 412]
"""What registries answer where a tag may not be put again, be it on what it is on."""


@pytest.mark.parametrize("status", IMMUTABLE)
def test_a_tag_that_is_there_already_is_not_put_again(status: int) -> None:
    answers = {"GET": OK, "PUT": error_answer(status, "DENIED", "immutable")}
    with answering(lambda request: answers[request.method]) as (client, server):
        client.tag(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
        assert server.asked("PUT") == []


@pytest.mark.parametrize("status", IMMUTABLE)
def test_a_tag_that_another_run_has_put_there_meanwhile_is_there(status: int) -> None:
    reads = in_turn(Answer(404), OK)
    immutable = error_answer(status, "DENIED", "immutable")
    with answering(lambda r: reads(r) if r.method == "GET" else immutable, attempts=1) as (client, _):
        client.tag(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))


@pytest.mark.parametrize("status", IMMUTABLE)
def test_a_tag_that_stays_on_another_manifest_is_told_in_the_registrys_words(status: int) -> None:
    answers = {"GET": Answer(200, b"{}"), "PUT": error_answer(status, "DENIED", "immutable")}
    with answering(lambda request: answers[request.method], attempts=1) as (client, _):
        with pytest.raises(RecompressError, match=f"PUT .*: {status} DENIED immutable"):
            client.tag(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))


def signed_for_get(request: Request) -> Answer:
    """A registry with its blobs in a storage to which it signs URLs for GET alone."""
    if request.path.startswith("/storage/"):
        return Answer(200, BLOB) if request.method == "GET" else Answer(403, b"SignatureDoesNotMatch")
    return Answer(307, headers={"Location": f"/storage/{request.path.rpartition('/')[2]}?signature=x"})


def test_a_blob_in_a_storage_that_takes_no_head_is_there() -> None:
    with answering(signed_for_get) as (client, server):
        client.stat_blob(Digest.of(BLOB))
        client.put_blob(BLOB)
        assert server.asked("POST") == []


def test_a_rate_limit_that_head_cannot_tell_is_no_refusal(waits: list[float]) -> None:
    limits = in_turn(Answer(403, b"You have exceeded a secondary rate limit"), Answer(200, BLOB))
    with answering(lambda r: Answer(403) if r.method == "HEAD" else limits(r)) as (client, _):
        client.stat_blob(Digest.of(BLOB))
    assert len(waits) == 1


def test_a_blob_that_the_storage_does_not_have_either_is_not_there() -> None:
    gone = Answer(404)
    with answering(lambda r: gone if r.path.startswith("/storage/") else signed_for_get(r)) as (client, _):
        with pytest.raises(NotFound):
            client.stat_blob(Digest.of(BLOB))


@pytest.mark.parametrize("status", [400, 405, 413, 416])
def test_that_a_byte_is_too_short_an_upload_tells_nothing(status: int) -> None:
    uploads = Uploads()
    uploads.first["PATCH"] = error_answer(status, "SIZE_INVALID", "too small")
    with answering(uploads) as (client, _):
        client.try_upload()


def test_a_config_is_uploaded_to_where_the_registry_says_with_its_state() -> None:
    uploads = Uploads()
    with answering(uploads) as (client, _):
        client.put_blob(BLOB)
    digest = str(Digest.of(BLOB)).replace(":", "%3A")
    assert uploads.put == {
        f"/v2/app/blobs/uploads/1?state=a%2Fb&digest={digest}": ("application/octet-stream", BLOB)
    }


def test_a_config_that_is_there_is_not_uploaded(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    client.put_blob(BLOB)
    assert registry.server.asked("POST") == []


def test_permission_to_push_is_asked_for_by_an_upload_that_is_given_up() -> None:
    with answering(Uploads()) as (client, server):
        client.check_push()
        assert [r.method for r in server.requests if "uploads" in r.target] == ["POST", "DELETE"]
        assert server.requests[-1].target == "/v2/app/blobs/uploads/1?state=a%2Fb"


def test_without_permission_to_push_the_repository_is_named() -> None:
    uploads = Uploads()
    uploads.first["POST"] = error_answer(403, "DENIED", "read only")
    with answering(uploads) as (client, server):
        with pytest.raises(Refused, match=f"refused access to {server.host}/app: .*403 DENIED read only"):
            client.check_push()


def test_an_upload_that_cannot_be_given_up_is_no_reason_to_stop() -> None:
    uploads = Uploads()
    uploads.first["DELETE"] = Answer(405)
    with answering(uploads) as (client, _):
        client.check_push()


def test_the_end_of_the_run_is_not_taken_for_an_upload_that_cannot_be_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(Uploads()) as (client, _):
        send = client._send

        @contextmanager
        def late(method: str, path: str | httpx.URL) -> Iterator[httpx.Response]:
            if method == "DELETE":
                raise Terminated
            with send(method, path) as response:
                yield response

        monkeypatch.setattr(client, "_send", late)
        with pytest.raises(Terminated):
            client.check_push()
