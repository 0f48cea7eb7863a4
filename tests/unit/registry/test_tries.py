"""What is tried again, how often, and how long is waited before that."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate

import pytest

from recompress.errors import NotFound, Refused, Unavailable, Vanished
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest, Repository
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.served import Served
from recompress.registry.transport import Tls, retrying
from tests.fake_registry import error_answer
from tests.http_server import Answer, in_turn, serving
from tests.unit.registry.answering import BLOB, BUSY, MANIFEST, OK, TAG, answering


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_temporary_failure_is_tried_again_until_it_is_over(status: int, waits: list[float]) -> None:
    failure = error_answer(status, "CODE", "message")
    with answering(in_turn(failure, failure, OK)) as (client, server):
        assert client.manifest(TAG).content == MANIFEST
        assert len(server.asked("GET", "/manifests/")) == 3
    assert len(waits) == 2


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(403, "DENIED", "no", **{"Retry-After": "0"}),
        error_answer(403, "DENIED", "no", **{"X-RateLimit-Remaining": "0"}),
        error_answer(403, "DENIED", "no", **{"RateLimit-Remaining": "0;w=21600"}),
        error_answer(403, "TOOMANYREQUESTS", "no"),
        error_answer(403, "DENIED", "Rate exceeded"),
        Answer(403, b'{"message": "You have exceeded a secondary rate limit."}'),
        Answer(403, b"<h1>Too many requests</h1>"),
    ],
)
def test_a_403_that_is_a_rate_limit_is_tried_again_as_429_is(answer: Answer, waits: list[float]) -> None:
    with answering(in_turn(answer, answer, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert len(waits) == 2
    with answering(lambda _: answer) as (client, server):
        with pytest.raises(Unavailable, match="403"):
            client.manifest(TAG)
        assert len(server.asked("GET", "/manifests/")) == 3


def test_what_may_not_be_pulled_before_it_is_scanned_is_tried_again(waits: list[float]) -> None:
    answer = error_answer(412, "PROJECTPOLICYVIOLATION", "current image without vulnerability scanning")
    with answering(in_turn(answer, answer, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert len(waits) == 2
    with answering(lambda _: answer) as (client, server):
        with pytest.raises(Refused, match=r"wait for the scan .*PROJECTPOLICYVIOLATION"):
            client.manifest(TAG)
        assert len(server.asked("GET", "/manifests/")) == 3


@pytest.mark.parametrize("headers", [{}, {"X-RateLimit-Remaining": "10"}, {"RateLimit-Remaining": "100;w=1"}])
def test_another_403_is_a_refusal(headers: dict[str, str], waits: list[float]) -> None:
    with answering(lambda _: error_answer(403, "DENIED", "no", **headers)) as (client, _):
        with pytest.raises(Refused):
            client.manifest(TAG)
    assert waits == []


GONE = error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")


@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_what_is_there_for_sure_is_asked_for_again_where_it_is_404(what: str, waits: list[float]) -> None:
    digest = Digest.of(MANIFEST)
    config = Descriptor(MediaType.OCI_CONFIG, digest, len(MANIFEST))
    with answering(in_turn(GONE, GONE, OK, GONE)) as (client, _):
        client.expect(digest)
        found = client.manifest(digest).content if what == "manifests" else client.config(config)
        assert found == MANIFEST
        assert len(waits) == 2
        with pytest.raises(Vanished, match="though it was there before"):
            client.config(config)
        with pytest.raises(NotFound) as raised:
            client.stat_blob(Digest.of(BLOB))
    assert raised.type is NotFound


def test_what_this_client_has_pushed_is_there_for_sure(waits: list[float]) -> None:
    reads = in_turn(GONE, OK)
    with answering(lambda r: reads(r) if r.method == "GET" else Answer(201)) as (client, _):
        client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
        assert client.manifest(Digest.of(MANIFEST)).content == MANIFEST
    assert len(waits) == 1


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
        error_answer(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        Answer(404),
    ],
)
def test_a_manifest_that_is_not_taken_for_want_of_a_member_is_pushed_again(
    answer: Answer, waits: list[float]
) -> None:
    served = Served(MANIFEST, MediaType.OCI_MANIFEST)
    with answering(in_turn(answer, Answer(201))) as (client, _):
        client.put_manifest(TAG, served)
    assert len(waits) == 1
    with answering(lambda _: answer) as (client, server):
        with pytest.raises(Vanished, match="something that the manifest names is missing there"):
            client.put_manifest(TAG, served)
        assert len(server.asked("PUT")) == 3


def test_a_repository_that_has_to_be_made_first_is_told_at_once(waits: list[float]) -> None:
    with answering(lambda _: error_answer(404, "NAME_UNKNOWN", "no such repository")) as (client, _):
        with pytest.raises(NotFound, match="NAME_UNKNOWN"):
            client.put_manifest(TAG, Served(MANIFEST, MediaType.OCI_MANIFEST))
    assert waits == []


def test_a_connection_that_breaks_in_the_middle_is_tried_again(waits: list[float]) -> None:
    broken = Answer(200, MANIFEST, cut=5)
    with answering(in_turn(broken, OK)) as (client, _):
        assert client.manifest(TAG).content == MANIFEST
    assert len(waits) == 1


def test_a_part_that_ends_too_early_is_asked_for_again(waits: list[float]) -> None:
    span = {"Content-Range": "bytes 0-9/1024"}
    short = Answer(206, BLOB[:5], span)
    with answering(in_turn(short, Answer(206, BLOB[:10], span))) as (client, _):
        assert client.blob_range_sha256(Digest.of(BLOB), 0, 10) == (Digest.of(BLOB[:10]), True)
    assert len(waits) == 1


def test_a_registry_that_is_down_is_tried_again_and_then_named(waits: list[float]) -> None:
    with serving(lambda _: OK) as server:
        host = server.host
    with RepositoryClient(Repository(host, "app"), Credentials(), Tls(), 3) as client:
        with pytest.raises(Unavailable, match=f"did not answer: .*https://{host}/v2/app/manifests/1"):
            client.manifest(TAG)
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
            retrying(8, fail)
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
