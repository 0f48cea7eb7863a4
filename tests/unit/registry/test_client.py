from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from recompress.errors import (
    NotFound,
    RecompressError,
    Refused,
    TimedOut,
    Unavailable,
    UsageError,
    VerificationFailed,
)
from recompress.manifest import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Descriptor, MediaType
from recompress.reference import Digest, Repository
from recompress.registry.client import RepositoryClient, Served
from recompress.registry.credentials import Credentials
from recompress.registry.transport import Tls, redacted, retrying, ssl_context
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Handler, HttpServer, Request, in_turn, serving

MANIFEST = b'{"schemaVersion": 2}'
OK = Answer(200, MANIFEST, {"Content-Type": MediaType.OCI_MANIFEST})
BUSY = error_answer(503, "UNAVAILABLE", "come back later")
BLOB = bytes(range(256)) * 4
TAG = "1"


@contextmanager
def client_of(server: HttpServer, attempts: int = 3) -> Iterator[RepositoryClient]:
    with RepositoryClient(
        Repository(server.host, "app"), Credentials(), Tls(verify=False), attempts
    ) as client:
        yield client


@contextmanager
def answering(handler: Handler, attempts: int = 3) -> Iterator[tuple[RepositoryClient, HttpServer]]:
    with serving(handler) as server, client_of(server, attempts) as client:
        yield client, server


# Reading manifests and configs


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
    with pytest.raises(VerificationFailed, match="is larger than the 4194304 bytes"):
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
    with pytest.raises(VerificationFailed, match="is larger than the 3 bytes"):
        client.config(config_descriptor(BLOB, 3))


def test_a_config_with_other_bytes_is_not_believed(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB[::-1]
    with pytest.raises(VerificationFailed, match="these are not the bytes asked for"):
        client.config(config_descriptor(BLOB, len(BLOB)))


def test_a_config_that_claims_to_be_huge_is_not_asked_for(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    with pytest.raises(VerificationFailed, match="more than any config has"):
        client.config(config_descriptor(BLOB, MAX_CONFIG_BYTES + 1))
    assert registry.server.requests == []


# Parts of blobs


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


def test_a_part_that_ends_too_early_is_asked_for_again(waits: list[float]) -> None:
    span = {"Content-Range": "bytes 0-9/1024"}
    short = Answer(206, BLOB[:5], span)
    with answering(in_turn(short, Answer(206, BLOB[:10], span))) as (client, _):
        assert client.blob_range_sha256(Digest.of(BLOB), 0, 10) == (Digest.of(BLOB[:10]), True)
    assert len(waits) == 1


def test_a_blob_is_streamed_as_it_is_stored() -> None:
    # A registry behind a proxy that packs on the way would change the bytes that are hashed.
    with answering(lambda _: Answer(200, BLOB, {"Content-Encoding": "gzip"})) as (client, server):
        with client.blob(Digest.of(BLOB)) as chunks:
            assert b"".join(chunks) == BLOB
        assert server.asked("GET", "/blobs/")[0].headers["accept-encoding"] == "identity"


# Errors


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Refused),
        (403, Refused),
        (404, NotFound),
        (400, Unavailable),
        (405, Unavailable),
        (416, VerificationFailed),
    ],
)
def test_an_answer_that_will_not_change_is_not_asked_for_again(
    status: int, error: type[RecompressError], waits: list[float]
) -> None:
    with answering(lambda _: error_answer(status, "CODE", "message")) as (client, server):
        with pytest.raises(error) as raised:
            client.manifest(TAG)
        assert len(server.asked("GET", "/manifests/")) == 1
    assert waits == []
    assert f"GET http://{server.host}/v2/app/manifests/1: {status} CODE message" in str(raised.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_temporary_failure_is_tried_again_until_it_is_over(status: int, waits: list[float]) -> None:
    failure = error_answer(status, "CODE", "message")
    with answering(in_turn(failure, failure, OK)) as (client, server):
        assert client.manifest(TAG).content == MANIFEST
        assert len(server.asked("GET", "/manifests/")) == 3
    assert len(waits) == 2


def test_after_the_last_try_the_registrys_own_words_are_told(waits: list[float]) -> None:
    with answering(lambda _: BUSY, attempts=4) as (client, server):
        with pytest.raises(Unavailable, match="503 UNAVAILABLE come back later"):
            client.manifest(TAG)
        assert len(server.asked("GET", "/manifests/")) == 4
    assert len(waits) == 3


def test_with_one_attempt_nothing_is_tried_again(waits: list[float]) -> None:
    with answering(lambda _: BUSY, attempts=1) as (client, _):
        with pytest.raises(Unavailable):
            client.manifest(TAG)
    assert waits == []


def test_every_wait_is_told_with_its_reason(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), answering(in_turn(BUSY, OK)) as (client, _):
        client.manifest(TAG)
    assert "503 UNAVAILABLE come back later" in caplog.text
    assert f"try 2 of 3 in {waits[0]:.1f} s" in caplog.text


def test_waits_grow_and_are_not_all_the_same(waits: list[float]) -> None:
    def fail() -> None:
        raise Unavailable("busy", temporary=True)

    for _ in range(30):
        with pytest.raises(Unavailable):
            retrying(8)(fail)
    by_try = [waits[number::7] for number in range(7)]
    assert [max(group) <= 0.5 * 2**number for number, group in enumerate(by_try)] == [True] * 7
    assert sum(by_try[-1]) > sum(by_try[0])
    assert len(set(by_try[-1])) > 1


def test_a_registry_that_says_when_to_come_back_is_left_alone_so_long(waits: list[float]) -> None:
    failure = error_answer(429, "TOOMANYREQUESTS", "slow down", **{"Retry-After": "17"})
    with answering(in_turn(failure, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert waits == [17.0]


def test_a_date_to_come_back_is_understood_as_well(waits: list[float]) -> None:
    at = formatdate(time.time() + 30, usegmt=True)
    with answering(in_turn(error_answer(503, "X", "x", **{"Retry-After": at}), OK)) as (client, _):
        client.manifest(TAG)
    assert 20 < waits[0] <= 30


@pytest.mark.parametrize("value", ["soon", "-5", "1.5", "Thu, 99 Nov 2025 00:00:00 GMT", ""])
def test_a_time_to_come_back_that_is_none_is_ignored(value: str, waits: list[float]) -> None:
    failure = error_answer(503, "X", "x", **{"Retry-After": value})
    with answering(in_turn(failure, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert len(waits) == 1


def test_a_connection_that_breaks_in_the_middle_is_tried_again(waits: list[float]) -> None:
    broken = Answer(200, MANIFEST, cut=5)
    with answering(in_turn(broken, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert len(waits) == 1


def test_a_registry_that_is_down_is_tried_again_and_then_named(waits: list[float]) -> None:
    with serving(lambda _: OK) as server:
        host = server.host
    with RepositoryClient(Repository(host, "app"), Credentials(), Tls(), 3) as client:
        with pytest.raises(Unavailable, match=f"did not answer: .*https://{host}/v2/app/manifests/1"):
            client.manifest(TAG)
    assert len(waits) == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors": []}', b'{"errors": [7]}', b"[" * 50_000, b"\xff"]
)
def test_an_error_body_that_is_none_is_left_out(body: bytes) -> None:
    with answering(lambda _: Answer(404, body)) as (client, _):
        with pytest.raises(NotFound, match=r"manifests/1: 404\)$"):
            client.manifest(TAG)


def test_an_error_message_is_one_short_line_without_control_characters() -> None:
    with answering(lambda _: error_answer(404, "X", "a\n\x1b[31mred\u202e" + "x" * 5000)) as (client, _):
        with pytest.raises(NotFound) as raised:
            client.manifest(TAG)
    text = str(raised.value)
    assert text.isprintable()
    assert len(text) < 500


def test_an_endless_error_body_is_not_read_to_its_end() -> None:
    with answering(lambda _: Answer(404, b"x" * 10_000_000)) as (client, _):
        with pytest.raises(NotFound):
            client.manifest(TAG)


def test_a_plain_http_registry_is_told_apart_and_the_way_out_named() -> None:
    with serving(lambda _: OK) as server:
        with RepositoryClient(Repository(server.host, "app"), Credentials(), Tls(), 3) as client:
            with pytest.raises(Unavailable, match=r"no TLS connection.*--no-tls-verify") as raised:
                client.manifest(TAG)
    assert not raised.value.temporary


def test_a_file_of_certificates_that_holds_none_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("no certificate")
    with pytest.raises(UsageError, match=f"{file} cannot be read or holds no certificates"):
        RepositoryClient(Repository("quay.io", "app"), Credentials(), Tls(ca_files=(file,)), 1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@quay.io/v2/?token=secret#x", "https://quay.io/v2/"),
        ("https://quay.io:8443/v2/app", "https://quay.io:8443/v2/app"),
    ],
)
def test_what_may_be_secret_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert redacted(httpx.URL(url)) == shown


def test_a_secret_in_a_redirect_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Request) -> Answer:
        if "storage" in request.target:
            return Answer(403)
        return Answer(307, headers={"Location": "/storage?X-Amz-Signature=secret"})

    with caplog.at_level(logging.DEBUG, "recompress"), answering(handler) as (client, _):
        with pytest.raises(Refused, match="/storage: 403") as raised:
            client.manifest(TAG)
    assert "secret" not in str(raised.value) + caplog.text


# Writing


class Uploads:
    """Takes uploads of blobs and manifests as the specification says."""

    def __init__(self, server_path: str = "/v2/app/blobs/uploads/1?state=a%2Fb") -> None:
        self.location = server_path
        self.put: dict[str, tuple[str, bytes]] = {}
        self.first: dict[str, Answer] = {}

    def __call__(self, request: Request) -> Answer:
        if answer := self.first.pop(request.method, None):
            return answer
        match request.method:
            case "POST":
                return Answer(202, headers={"Location": self.location})
            case "PUT":
                self.put[request.target] = request.headers["content-type"], request.body
                return Answer(201)
            case "DELETE":
                return Answer(204)
            case _:
                return Answer(404 if "/blobs/" in request.target else 200)


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


def test_a_config_is_uploaded_to_where_the_registry_says_with_its_state() -> None:
    uploads = Uploads()
    with answering(uploads) as (client, _):
        client.put_config(BLOB)
    digest = str(Digest.of(BLOB)).replace(":", "%3A")
    assert uploads.put == {
        f"/v2/app/blobs/uploads/1?state=a%2Fb&digest={digest}": ("application/octet-stream", BLOB)
    }


def test_a_config_that_is_there_is_not_uploaded(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    client.put_config(BLOB)
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


def test_the_end_of_the_time_is_not_taken_for_an_upload_that_cannot_be_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(Uploads()) as (client, _):
        send = client._send

        @contextmanager
        def late(method: str, path: str | httpx.URL) -> Iterator[httpx.Response]:
            if method == "DELETE":
                raise TimedOut("late")
            with send(method, path) as response:
                yield response

        monkeypatch.setattr(client, "_send", late)
        with pytest.raises(TimedOut):
            client.check_push()


def test_a_blob_is_looked_for_without_reading_it(client: RepositoryClient, registry: FakeRegistry) -> None:
    registry.blobs[str(Digest.of(BLOB))] = BLOB
    client.stat_blob(Digest.of(BLOB))
    with pytest.raises(NotFound):
        client.stat_blob(Digest.of(b"other"))
    assert [r.method for r in registry.server.requests if "blobs" in r.target] == ["HEAD", "HEAD"]


def test_docker_hub_is_spoken_to_at_its_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, stream=httpx.ByteStream(MANIFEST))

    real = httpx.Client

    def offline(**options: object) -> httpx.Client:
        return real(**{**options, "transport": httpx.MockTransport(handler)})  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "Client", offline)
    for name in ("docker.io", "index.docker.io"):
        with RepositoryClient(Repository(name, "library/busybox"), Credentials(), Tls(), 1) as client:
            client.manifest(TAG)
    assert set(asked) == {"https://registry-1.docker.io/v2/library/busybox/manifests/1"}


def test_certificates_are_verified_unless_told_otherwise() -> None:
    assert ssl_context(Tls()).verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(Tls(verify=False)).verify_mode is ssl.CERT_NONE


def test_a_ca_file_without_certificates_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"the CA file .*ca\.pem cannot be read or holds no certificates"):
        ssl_context(Tls(ca_files=(tmp_path / "ca.pem",)))
