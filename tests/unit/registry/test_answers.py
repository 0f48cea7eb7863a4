"""What an answer that is an error means, and what of it is shown."""

from __future__ import annotations

import logging

import httpx
import pytest

from recompress.errors import NotFound, RecompressError, Refused, Unavailable, VerificationFailed
from recompress.registry.transport import redacted
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.unit.registry.answering import TAG, answering


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
