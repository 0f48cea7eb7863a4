"""Lists of tags, whole or not at all, and the deletion of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from recompress.errors import NotFound, RecompressError, Refused, Unsupported, VerificationFailed
from recompress.registry import tags
from tests.fake_registry import error_answer
from tests.http_server import Answer, Handler, Request, in_turn
from tests.unit.registry.answering import BUSY, answering

LIST = "/v2/app/tags/list"


def page(names: Any, link: str = "", **more: Any) -> Answer:
    headers = {"Link": link} if link else {}
    return Answer(200, json.dumps({"name": "app", "tags": names, **more}).encode(), headers)


def pages(by_target: Mapping[str, Answer]) -> Handler:
    return lambda request: by_target.get(request.target, Answer(404))


def test_all_pages_are_read_in_their_order_and_each_tag_is_told_once() -> None:
    by_target = {
        LIST: page(["a", "b"], '</v2/app/tags/list?last=b&n=2>; rel="next"'),
        f"{LIST}?last=b&n=2": page(["b", "c"], "<?last=c%2Fd>; rel=next"),
        f"{LIST}?last=c%2Fd": page(["d"], '</v2/app/tags/list?n=0>; rel="prev"'),
        f"{LIST}?last=d": page([]),
    }
    with answering(pages(by_target)) as (client, server):
        assert client.tags() == ("a", "b", "c", "d")
        assert [request.target for request in server.asked("GET", "/tags/")] == list(by_target)


def test_a_page_behind_a_proxy_that_ends_tls_is_asked_for_where_the_first_one_was() -> None:
    def handler(request: Request) -> Answer:
        if request.target == LIST:
            return page(["a"], f'<https://{request.headers["host"]}{LIST}?last=a>; rel="next"')
        return page([] if "last=b" in request.target else ["b"])

    with answering(handler) as (client, server):
        assert client.tags() == ("a", "b")
        assert server.asked("GET", f"{LIST}?last=a")


def test_a_page_that_fails_is_asked_for_again_and_no_other(waits: list[float]) -> None:
    following = '</v2/app/tags/list?last=a>; rel="next"'
    with answering(in_turn(page(["a"], following), BUSY, page(["b"]), page([]))) as (client, server):
        assert client.tags() == ("a", "b")
        targets = [request.target for request in server.asked("GET", "/tags/")]
    assert targets == [LIST, f"{LIST}?last=a", f"{LIST}?last=a", f"{LIST}?last=b"]


def test_of_a_list_that_is_cut_without_a_link_the_rest_is_asked_for_until_nothing_new_comes() -> None:
    by_target = {
        LIST: page(["a", "b"]),
        f"{LIST}?last=b": page(["b", "d", "c"]),
        f"{LIST}?last=c": page(["e"], '</v2/app/tags/list?last=e&n=1>; rel="next"'),
        f"{LIST}?last=e&n=1": page(["f"]),
        f"{LIST}?last=f": page(["a", "f"]),
    }
    with answering(pages(by_target)) as (client, server):
        assert client.tags() == ("a", "b", "d", "c", "e", "f")
        assert [request.target for request in server.asked("GET", "/tags/")] == list(by_target)


def test_a_registry_that_always_lists_everything_is_asked_twice() -> None:
    with answering(lambda _: page(["a", "b"])) as (client, server):
        assert client.tags() == ("a", "b")
        assert [r.target for r in server.asked("GET", "/tags/")] == [LIST, f"{LIST}?last=b"]


def test_a_last_page_that_begins_with_its_own_tag_is_the_end() -> None:
    by_target = {LIST: page(["a"], '</v2/app/tags/list?last=b>; rel="next"'), f"{LIST}?last=b": page(["b"])}
    with answering(pages(by_target)) as (client, _):
        assert client.tags() == ("a", "b")


def test_a_rest_that_fails_is_no_end() -> None:
    with answering(pages({LIST: page(["a"])})) as (client, _):
        with pytest.raises(NotFound):
            client.tags()


@pytest.mark.parametrize("names", [None, []])
def test_a_repository_may_have_no_tags(names: Sequence[str] | None) -> None:
    with answering(pages({LIST: page(names)})) as (client, _):
        assert client.tags() == ()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>log in</html>"),
        Answer(200, b"[" * 100_000),
        Answer(200, b"\xff"),
        Answer(200, b"[]"),
        Answer(200, b'{"name": "app"}'),
        page("a"),
        page({"a": "b"}),
        page([1]),
        page(["a/b"]),
        page(["../../other/manifests/1"]),
        page(["sha256:" + "0" * 64]),
        page(["\x1b[2J"]),
        page(["a" * 129]),
    ],
    ids=lambda answer: answer.body[:40].decode("latin-1"),
)
def test_what_is_no_list_of_tags_is_not_believed(answer: Answer) -> None:
    with answering(pages({LIST: answer})) as (client, _):
        with pytest.raises(VerificationFailed) as raised:
            client.tags()
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "link",
    ["/v2/other/tags/list?last=a", "http://other.example/v2/app/tags/list?last=a", "http://[", "http://h:x/",
     "//other.example/v2/app/tags/list?last=a", "/v2/app/tags/list/../../../other?last=a"],
)  # fmt: skip
def test_a_list_does_not_go_on_anywhere_else(link: str) -> None:
    with answering(lambda _: page(["a"], f'<{link}>; rel="next"')) as (client, server):
        with pytest.raises(VerificationFailed, match="leads to something else"):
            client.tags()
        assert {r.target for r in server.asked("GET", "/v2/")} <= {LIST, "/v2/"}


def test_a_list_that_leads_back_to_itself_is_given_up() -> None:
    with answering(lambda _: page(["a"], '</v2/app/tags/list?last=a>; rel="next"')) as (client, _):
        with pytest.raises(VerificationFailed, match="leads back"):
            client.tags()


def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(request: Request) -> Answer:
        number = int(request.target.partition("=")[2] or 0) + 1
        return page([str(number)], f'</v2/app/tags/list?last={number}>; rel="next"')

    monkeypatch.setattr(tags, "MAX_TAGS", 10)
    with answering(handler) as (client, _):
        with pytest.raises(Unsupported, match="more than 10 tags"):
            client.tags()
    monkeypatch.setattr(tags, "MAX_TAGS", 100)
    monkeypatch.setattr(tags, "_MAX_PAGES", 5)
    with answering(handler) as (client, _):
        with pytest.raises(Unsupported):
            client.tags()


def test_a_page_without_end_is_not_read_to_its_end() -> None:
    body = b" " * (tags.MAX_PAGE_BYTES + 1)
    with answering(pages({LIST: Answer(200, body)})) as (client, _):
        with pytest.raises(VerificationFailed, match="is larger than"):
            client.tags()


@pytest.mark.parametrize("status", [200, 202, 204, 404])
def test_a_tag_is_deleted_by_its_name(status: int) -> None:
    with answering(lambda _: Answer(status)) as (client, server):
        client.delete_tag("1")
        assert [request.target for request in server.asked("DELETE")] == ["/v2/app/manifests/1"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        # CNCF Distribution 2.8.3, with and without storage.delete.enabled.
        (error_answer(400, "DIGEST_INVALID", "provided digest did not match"), Unsupported),
        (error_answer(405, "UNSUPPORTED", "The operation is unsupported."), Unsupported),
        (Answer(501), Unsupported),
        (error_answer(401, "UNAUTHORIZED", "who is that?"), Refused),
        (error_answer(403, "DENIED", "read only"), Refused),
    ],
)
def test_a_registry_that_does_not_delete_a_tag_is_asked_once(
    answer: Answer, error: type[RecompressError], waits: list[float]
) -> None:
    with answering(lambda r: answer if r.method == "DELETE" else Answer(200)) as (client, server):
        with pytest.raises(error, match=f"DELETE .*/manifests/1: {answer.status}"):
            client.delete_tag("1")
        assert len(server.asked("DELETE")) == 1
    assert waits == []


def test_the_tags_of_a_repository_that_is_not_there_are_not_found() -> None:
    with answering(lambda _: error_answer(404, "NAME_UNKNOWN", "repository name not known")) as (client, _):
        with pytest.raises(NotFound, match="404 NAME_UNKNOWN"):
            client.tags()
