"""What a registry answers to the request of podman's partial pulls, and what a run makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import images
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.sources import hash_of

Answers = Callable[[Proxy], Callable[[Request], Answer]]
Push = Callable[[HandmadeImage], str]
IMAGE = images.gzip_image({"a": "".join(map(hash_of, range(200))).encode()}, {"b": b"b" * 2000})


def asks_for_two_ranges(request: Request) -> bool:
    return request.method == "GET" and "," in request.headers.get("range", "")


class Answering:
    """Puts an answer on requests for two ranges of a blob, and counts them."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.asked = 0

    def __call__(self, answer: Callable[[Request], Answer | None]) -> None:
        def fault(request: Request) -> Answer | None:
            if not asks_for_two_ranges(request):
                return None
            self.asked += 1
            return answer(request)

        self.proxy.fault = fault


@pytest.fixture
def answering(proxy: Proxy) -> Answering:
    return Answering(proxy)


@pytest.fixture
def source(proxy: Proxy, repository: str, push: Push) -> str:
    """The image's reference, at the proxy."""
    push(IMAGE)
    return f"{proxy.host}/{repository}@{IMAGE.digest}"


def first_range_only(proxy: Proxy) -> Callable[[Request], Answer]:
    return lambda request: proxy.forward(request, range=request.headers["range"].partition(",")[0])


BREAKING: dict[str, Answers] = {
    "416 as an older zot": lambda _: lambda _: error_answer(416, "RANGE_INVALID", "no"),
    "501 as GHCR": lambda _: lambda _: Answer(501),
    "403": lambda _: lambda _: error_answer(403, "DENIED", "no"),
    "the first range only": first_range_only,
}


@pytest.mark.parametrize("kind", BREAKING)
def test_a_registry_that_breaks_partial_pulls_is_told_before_any_work(
    run: Run, source: str, answering: Answering, registry: Registry, repository: str, kind: str
) -> None:
    answering(BREAKING[kind](answering.proxy))
    outcome = run(source)
    outcome.failed(5, answering.proxy.host, "two ranges", "--partial-pulls warn")
    assert "recompressing" not in outcome.err
    assert registry.tags(repository) == []


@pytest.mark.parametrize("kind", BREAKING)
def test_a_registry_that_breaks_partial_pulls_is_warned_of_where_nobody_pulls_so(
    run: Run, source: str, answering: Answering, kind: str
) -> None:
    answering(BREAKING[kind](answering.proxy))
    report = run(source, "--partial-pulls=warn").succeeded().report
    assert any("two ranges" in warning for warning in report["warnings"])


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (lambda proxy: lambda request: proxy.forward(request, range=""), "download each layer twice"),
        (lambda _: lambda _: error_answer(400, "UNSUPPORTED", "no"), "fall back to full pulls"),
    ],
    ids=["200", "400"],
)
def test_what_only_costs_clients_is_a_warning(
    run: Run,
    source: str,
    answering: Answering,
    answers: Answers,
    told: str,
) -> None:
    answering(answers(answering.proxy))
    report = run(source).succeeded().report
    assert any(told in warning for warning in report["warnings"])


def test_a_registry_that_serves_both_ranges_is_not_warned_of(
    run: Run, source: str, answering: Answering
) -> None:
    answering(lambda _: None)
    assert run(source).succeeded().report["warnings"] == []
    # The source's largest layer, and the two layers of the twin.
    assert answering.asked == 3


def test_one_answer_that_breaks_pulls_is_forgotten_and_busy_registries_are_asked_again(
    run: Run, source: str, answering: Answering
) -> None:
    answers = iter([Answer(501), error_answer(503, "BUSY", "later"), None])
    answering(lambda _: next(answers, None))
    assert "two ranges" not in " ".join(run(source).succeeded().report["warnings"])
    answering(lambda _: error_answer(503, "BUSY", "later"))
    run(source, "--attempts=2", "--no-reuse").failed(7, "503")


def verify(source: str, twin: str, *arguments: str) -> Outcome:
    return recompress("verify", source, twin, "--no-tls-verify", *arguments)


def test_verify_holds_the_registry_to_the_same(run: Run, source: str, answering: Answering) -> None:
    twin = run(source).succeeded().results["IMAGE_REF"]
    answering(lambda _: Answer(501))
    verify(source, twin).failed(5, "501", "two ranges")
    assert "two ranges" in verify(source, twin, "--partial-pulls=warn").succeeded().err


def test_nothing_is_asked_of_a_twin_without_layers_to_pull_partially(
    run: Run, proxy: Proxy, repository: str, push: Push, answering: Answering
) -> None:
    odd = images.gzip_image({"etc/a": "".join(map(hash_of, range(200))).encode()})
    push(odd)
    reference = f"{proxy.host}/{repository}@{odd.digest}"
    twin = run(reference).succeeded().results["IMAGE_REF"]
    answering(lambda _: Answer(501))
    verify(reference, twin).succeeded()
    assert answering.asked == 0
