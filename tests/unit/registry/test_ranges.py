from __future__ import annotations

import pytest

from recompress.errors import NotFound, RecompressError, Refused, Unavailable, VerificationFailed
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from recompress.registry.ranges import ByteRange, TwoRanges, TwoRangesAnswer
from tests.fake_registry import FakeRegistry, error_answer, multipart_answer
from tests.http_server import Answer, Handler, in_turn, serving
from tests.unit.registry.answering import BLOB, FIRST, ONE_PART, SECOND, TWO_PARTS, answering, sha256_of

DIGEST = Digest.of(BLOB)


def ask(client: RepositoryClient) -> TwoRangesAnswer:
    return client.two_ranges(DIGEST, FIRST, SECOND)


def by_range(with_range: Handler | Answer, without: Answer) -> Handler:
    """Answers a plain GET otherwise than one with ranges."""
    handler = (lambda _: with_range) if isinstance(with_range, Answer) else with_range
    return lambda request: handler(request) if "range" in request.headers else without


# Served


def test_the_ranges_are_asked_for_in_the_form_that_podman_uses(
    client: RepositoryClient, registry: FakeRegistry
) -> None:
    registry.blobs[str(DIGEST)] = BLOB
    ask(client)
    (asked,) = registry.server.asked("GET", "/blobs/")
    assert asked.headers["range"] == "bytes=100-149,158-187"
    assert registry.server.asked("HEAD") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FIRST, SECOND),
        (FIRST, FIRST),
        (ByteRange(0, 1), ByteRange(1023, 1)),
        (ByteRange(0, 512), ByteRange(512, 512)),
        (SECOND, FIRST),
    ],
)
def test_two_parts_are_hashed_as_they_are_served(
    client: RepositoryClient, registry: FakeRegistry, first: ByteRange, second: ByteRange
) -> None:
    registry.blobs[str(DIGEST)] = BLOB
    answer = client.two_ranges(DIGEST, first, second)
    assert answer.kind is TwoRanges.SERVED
    assert answer.sha256 == sha256_of(BLOB, first, second)
    assert len(registry.server.asked("GET", "/blobs/")) == 1


# Not served


def test_a_registry_that_answers_with_the_whole_blob_is_not_made_to_send_it() -> None:
    # Whoever reads on finds the connection broken.
    with answering(lambda _: Answer(200, BLOB, cut=5)) as (client, server):
        assert ask(client) == TwoRangesAnswer(TwoRanges.WHOLE_BLOB, "200 OK")
        assert len(server.asked("GET", "/blobs/")) == 1


def test_a_refusal_with_400_is_an_answer_and_not_an_error(waits: list[float]) -> None:
    with answering(lambda _: error_answer(400, "UNSUPPORTED", "one range at most")) as (client, server):
        assert ask(client) == TwoRangesAnswer(TwoRanges.REFUSED_WITH_400, "400 Bad Request")
        assert len(server.asked("GET", "/blobs/")) == 1
    assert waits == []


@pytest.mark.parametrize("status", [202, 204, 304, 403, 405, 410, 413, 416, 431, 501, 505])
def test_an_answer_that_breaks_pulls_counts_where_it_comes_twice_and_the_blob_is_served(
    status: int, waits: list[float]
) -> None:
    with answering(by_range(Answer(status), Answer(200, BLOB))) as (client, server):
        answer = ask(client)
        asked = ["range" in request.headers for request in server.asked("GET", "/blobs/")]
    assert answer.kind is TwoRanges.BREAKS_PULLS
    assert answer.detail.startswith(f"{status} ")
    assert asked == [True, True, False]
    assert waits == []


def test_an_answer_is_named_by_its_status() -> None:
    with answering(by_range(Answer(501), Answer(200, BLOB))) as (client, _):
        assert ask(client) == TwoRangesAnswer(TwoRanges.BREAKS_PULLS, "501 Not Implemented")


def test_a_large_blob_is_not_read_to_see_that_it_is_served() -> None:
    with answering(by_range(Answer(501), Answer(200, bytes(50_000_000), cut=1_000_000))) as (client, _):
        assert ask(client).kind is TwoRanges.BREAKS_PULLS


@pytest.mark.parametrize("better", [TWO_PARTS, Answer(400), Answer(200, BLOB)])
def test_an_answer_that_breaks_pulls_only_once_is_forgotten(better: Answer) -> None:
    with answering(in_turn(Answer(501), better)) as (client, _):
        assert ask(client).kind is not TwoRanges.BREAKS_PULLS


def test_answers_that_break_pulls_in_two_ways_are_asked_for_again(waits: list[float]) -> None:
    turns = in_turn(Answer(501), Answer(403), Answer(405))
    with answering(by_range(turns, Answer(200, BLOB))) as (client, _):
        assert ask(client).detail == "405 Method Not Allowed"
    assert len(waits) == 1


def test_answers_that_never_agree_are_a_failure_of_the_registry(waits: list[float]) -> None:
    left = [Answer(501), Answer(403)] * 3
    with answering(by_range(lambda _: left.pop(0), Answer(200, BLOB))) as (client, _):
        with pytest.raises(Unavailable, match=r"with 501 Not Implemented, then with 403 Forbidden$"):
            ask(client)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("plain", "error"), [(403, Refused), (404, NotFound), (416, VerificationFailed), (503, Unavailable)]
)
def test_where_the_blob_is_not_served_at_all_that_is_what_is_wrong(
    plain: int, error: type[RecompressError], waits: list[float]
) -> None:
    with answering(by_range(Answer(403), Answer(plain))) as (client, _):
        with pytest.raises(error, match=f"{DIGEST}: {plain}"):
            ask(client)


@pytest.mark.parametrize(("status", "error"), [(401, Refused), (404, NotFound)])
def test_missing_credentials_and_a_missing_blob_are_errors_as_ever(
    status: int, error: type[RecompressError]
) -> None:
    with answering(lambda _: Answer(status)) as (client, server):
        with pytest.raises(error):
            ask(client)
        assert len(server.asked("GET", "/blobs/")) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_a_temporary_failure_says_nothing_about_ranges(status: int, waits: list[float]) -> None:
    with answering(in_turn(Answer(status), Answer(status), TWO_PARTS)) as (client, _):
        assert ask(client).kind is TwoRanges.SERVED
    assert len(waits) == 2


@pytest.mark.parametrize(
    "broken",
    [
        Answer(206, TWO_PARTS.body, TWO_PARTS.headers, cut=0, reset=True),
        Answer(206, TWO_PARTS.body, TWO_PARTS.headers, cut=99),
    ],
)
def test_a_connection_that_breaks_is_tried_again(broken: Answer, waits: list[float]) -> None:
    with answering(in_turn(broken, broken, TWO_PARTS)) as (client, _):
        assert ask(client).kind is TwoRanges.SERVED
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("answer", "size"),
    [(Answer(416), 158), (Answer(416), 187), (multipart_answer(BLOB, (100, 149), (158, 170)), 171)],
)
def test_a_blob_that_ends_before_the_ranges_do_is_a_failed_verification(answer: Answer, size: int) -> None:
    with answering(by_range(answer, Answer(200, BLOB[:size]))) as (client, _):
        with pytest.raises(VerificationFailed, match=f"{DIGEST} is shorter than its descriptor says"):
            ask(client)


def test_a_blob_that_ends_with_the_ranges_is_long_enough() -> None:
    with answering(by_range(Answer(416), Answer(200, BLOB[:188]))) as (client, _):
        assert ask(client).kind is TwoRanges.BREAKS_PULLS


# Storage


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (TWO_PARTS, TwoRanges.SERVED),
        (Answer(200, BLOB), TwoRanges.WHOLE_BLOB),
        (ONE_PART, TwoRanges.BREAKS_PULLS),
    ],
)
def test_where_a_registry_redirects_to_its_storage_the_storage_is_asked_for_the_ranges(
    stored: Answer, kind: TwoRanges
) -> None:
    with serving(by_range(stored, Answer(200, BLOB))) as storage:
        # As S3 has it, the signature is in the query and good for GET alone.
        redirect = Answer(307, headers={"Location": f"http://{storage.host}/bucket/blob?signature=x"})
        with answering(lambda _: redirect) as (client, _):
            assert ask(client).kind is kind
        assert storage.requests[0].headers["range"] == "bytes=100-149,158-187"
