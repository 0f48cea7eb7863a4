"""A registry that fails for a while, for ever, or in silence; a skopeo that does nothing and says it did."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from recompress.manifest import TOC_POSITION
from recompress.reference import Digest
from tests import images
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.conftest import Run
from tests.integration.personalities import DockerHub
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})
BUSY = error_answer(503, "UNAVAILABLE", "come back later")
Push = Callable[[HandmadeImage], str]


@pytest.fixture
def image(proxy: Proxy, repository: str, push: Push) -> str:
    """The image by way of the proxy."""
    return f"{proxy.host}/{repository}@{push(IMAGE).partition('@')[2]}"


# Failures that pass


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_tried_again_after_a_temporary_failure(
    run: Run, proxy: Proxy, image: str, status: int
) -> None:
    proxy.times(2, error_answer(status, "CODE", "message"), "GET", "/manifests/")
    outcome = run(image).succeeded()
    assert f"{status} CODE message" in outcome.err
    assert "try 3 of 5" in outcome.err


def test_a_registry_is_left_alone_as_long_as_it_asks(run: Run, proxy: Proxy, image: str) -> None:
    answer = error_answer(429, "TOOMANYREQUESTS", "slow down", **{"Retry-After": "2"})
    proxy.times(1, answer, "GET", "/manifests/")
    assert "try 2 of 5 in 2.0 s" in run(image).succeeded().err


def test_pushing_the_manifest_is_tried_again(
    run: Run, registry: Registry, repository: str, proxy: Proxy, image: str
) -> None:
    proxy.times(1, BUSY, "PUT", "zstd-chunked")
    outcome = run(image).succeeded()
    assert "try 2 of 5" in outcome.err
    digest = outcome.results["IMAGE_DIGEST"]
    tag = outcome.results["IMAGE_URL"].rpartition(":")[2]
    assert str(Digest.of(registry.manifest(repository, tag))) == digest


@pytest.mark.parametrize(("method", "part"), [("GET", "/blobs/sha256:"), ("PATCH", "/blobs/uploads/")])
def test_a_failure_in_the_middle_of_skopeos_work_is_made_good(
    run: Run, registry: Registry, repository: str, proxy: Proxy, image: str, method: str, part: str
) -> None:
    failed: list[Request] = []

    def fault(request: Request) -> Answer | None:
        is_skopeos = request.headers.get("user-agent", "").startswith("skopeo/")
        # One run of skopeo fails, whose two layers are worked on at a time. Where it fails twice with the
        # same words, with a registry that answers everybody else, it is not run again.
        if not is_skopeos or request.method != method or part not in request.target or len(failed) >= 2:
            return None
        failed.append(request)
        return BUSY

    proxy.fault = fault
    outcome = run(image).succeeded()
    assert failed
    assert registry.manifest(repository, outcome.results["IMAGE_DIGEST"])


# Failures that last


def test_a_registry_that_stays_busy_is_given_up_after_all_tries(run: Run, proxy: Proxy, image: str) -> None:
    proxy.always(BUSY, "GET", "/manifests/")
    run(image, "--attempts=2").failed(7, "503 UNAVAILABLE come back later", proxy.host)
    assert len(proxy.server.asked("GET", "/manifests/")) == 2


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3), (404, 4)])
@pytest.mark.parametrize("part", ["/manifests/", "/blobs/sha256:"])
def test_what_will_not_change_is_never_tried_again(
    run: Run, proxy: Proxy, image: str, status: int, code: int, part: str
) -> None:
    proxy.always(error_answer(status, "CODE", "message"), "GET", part)
    outcome = run(image)
    outcome.failed(code, f"{status} CODE message")
    assert "try 2" not in outcome.err
    assert len(proxy.server.asked("GET", part)) == 1


def test_without_the_right_to_push_nothing_is_compressed(
    run: Run, proxy: Proxy, image: str, registry: Registry, repository: str
) -> None:
    proxy.always(error_answer(403, "DENIED", "read only"), "POST", "/blobs/uploads/")
    outcome = run(image)
    outcome.failed(3, f"refused access to {proxy.host}/{repository}", "403 DENIED read only")
    assert "recompressing" not in outcome.err
    assert proxy.server.asked("PATCH") == []


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3)])
def test_what_skopeo_is_refused_is_a_refusal(
    run: Run, proxy: Proxy, image: str, status: int, code: int
) -> None:
    # The first request to push is the question whether it is allowed: this registry forgets that it was.
    asked: list[Request] = []

    def fault(request: Request) -> Answer | None:
        if request.method != "POST":
            return None
        asked.append(request)
        return error_answer(status, "DENIED", "no longer") if len(asked) > 1 else None

    proxy.fault = fault
    run(image).failed(code, f"{status} DENIED no longer")


def test_a_run_that_takes_too_long_is_ended_with_the_option_for_it(
    run: Run, proxy: Proxy, image: str, tmp_path: Path
) -> None:
    directory = tmp_path / "tmp"
    directory.mkdir()
    proxy.always(BUSY, "GET", "/manifests/")
    outcome = run(image, "--timeout=2", "--attempts=20", TMPDIR=str(directory))
    outcome.failed(7, "did not end within 2 s", "--timeout")
    assert list(directory.iterdir()) == []


def test_a_run_that_takes_too_long_where_it_moves_the_tag_for_later_runs_is_ended(
    run: Run, proxy: Proxy, image: str
) -> None:
    busy = error_answer(503, "UNAVAILABLE", "come back later", **{"Retry-After": "600"})
    proxy.always(busy, "PUT", "/manifests/zstd-chunked-cache-")
    run(image, "--timeout=30").failed(7, "did not end within 30 s", "--timeout")
    assert len(proxy.server.asked("PUT", "/manifests/zstd-chunked-cache-")) == 1


# Registries that lie, or leave out


def test_a_registry_that_ignores_ranges_is_warned_of_and_checked_all_the_same(
    run: Run, registry: Registry, repository: str, proxy: Proxy, image: str
) -> None:
    proxy.fault = lambda request: proxy.forward(request, range="") if "range" in request.headers else None
    outcome = run(image).succeeded()
    (warning,) = (text for text in outcome.report["warnings"] if "two ranges" in text)
    assert proxy.host in warning
    assert warning in outcome.err
    assert any("range" in request.headers for request in proxy.server.requests)


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_a_table_of_contents_that_is_not_what_its_checksum_says_is_found(
    run: Run, registry: Registry, repository: str, proxy: Proxy, image: str, honours_ranges: bool
) -> None:
    def fault(request: Request) -> Answer | None:
        if "range" not in request.headers or "/blobs/" not in request.target:
            return None
        answer = proxy.forward(request, **({} if honours_ranges else {"range": ""}))
        if not answer.body:
            return answer
        # Into the first part of a multipart answer, behind its header.
        at = answer.body.find(b"\r\n\r\n") + 20
        body = answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :]
        if not honours_ranges:
            body = bytes(byte ^ 1 for byte in answer.body)
        return Answer(answer.status, body, answer.headers)

    proxy.fault = fault
    run(image, "--verify=structure").failed(6, "table of contents", "layer sha256:")
    assert registry.tags(repository) == []


def test_a_manifest_that_changes_on_the_way_is_not_believed(
    run: Run, registry: Registry, repository: str, proxy: Proxy, image: str
) -> None:
    def fault(request: Request) -> Answer | None:
        if request.method != "GET" or "/manifests/" not in request.target:
            return None
        answer = proxy.forward(request)
        return Answer(answer.status, answer.body + b"\n", {"Content-Type": answer.headers["content-type"]})

    proxy.fault = fault
    run(image).failed(6, "these are not the bytes asked for")


# skopeo


def path_with(directory: Path, script: str) -> dict[str, str]:
    """An environment in which this script is found as skopeo."""
    directory.mkdir()
    program = directory / "skopeo"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/local/bin:/usr/bin:/bin"}


WITHOUT_THE_FLAG = """
for argument do
    shift
    case $argument in --dest-force-compress-format) ;; *) set -- "$@" "$argument" ;; esac
done
exec /usr/bin/skopeo "$@"
"""


def test_a_skopeo_that_recompresses_nothing_and_says_nothing_is_found_out(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Path
) -> None:
    outcome = run(push(IMAGE), **path_with(tmp_path / "bin", WITHOUT_THE_FLAG))
    outcome.failed(6, "was not recompressed", "tar+gzip")
    assert registry.tags(repository) == []


def test_a_skopeo_that_makes_plain_zstd_is_found_out(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Path
) -> None:
    script = WITHOUT_THE_FLAG.replace(
        "--dest-force-compress-format) ;;",
        '--dest-compress-format=zstd:chunked) set -- "$@" --dest-compress-format=zstd ;;',
    )
    outcome = run(push(IMAGE), **path_with(tmp_path / "bin", script))
    outcome.failed(6, "is plain zstd", TOC_POSITION)
    assert registry.tags(repository) == []


def test_a_skopeo_that_pushes_another_image_is_found_out(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Path
) -> None:
    other = push(images.gzip_image({"a": b"other"}, {"b": b"image"}))
    script = WITHOUT_THE_FLAG.replace(
        "--dest-force-compress-format) ;;", f'docker://*@sha256:*) set -- "$@" docker://{other} ;;'
    )
    outcome = run(push(IMAGE), **path_with(tmp_path / "bin", script))
    outcome.failed(6)
    assert registry.tags(repository) == []


def test_a_skopeo_without_the_force_flag_is_told_with_the_version_that_has_it(
    run: Run, push: Push, tmp_path: Path
) -> None:
    script = '/usr/bin/skopeo "$@" | grep -v force-compress-format'
    run(push(IMAGE), **path_with(tmp_path / "bin", script)).failed(
        8, "has no --dest-force-compress-format", "install skopeo 1.21 or newer"
    )


def test_no_skopeo_is_told_with_the_version_to_install(run: Run, push: Push, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("recompress", "python3"):
        (tmp_path / "bin" / program).symlink_to(f"/usr/{'local/' * (program == 'recompress')}bin/{program}")
    run(push(IMAGE), PATH=str(tmp_path / "bin")).failed(8, "skopeo", "install skopeo 1.21 or newer")


def test_a_skopeo_that_fails_for_a_reason_of_its_own_is_quoted(run: Run, push: Push, tmp_path: Path) -> None:
    script = (
        'case "$*" in *--help*) exec /usr/bin/skopeo "$@" ;; esac\n'
        'echo "level=fatal msg=\\"out of order\\"" >&2\nexit 1'
    )
    outcome = run(push(IMAGE), "--attempts=2", **path_with(tmp_path / "bin", script))
    outcome.failed(7, "skopeo failed with exit status 1: out of order")


def test_a_skopeo_that_fails_once_is_run_again(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    script = (
        f'case "$*" in *--help*) ;; *) [ -e {once} ] || {{ touch {once}; exit 1; }} ;; esac\n'
        'exec /usr/bin/skopeo "$@"'
    )
    outcome = run(push(IMAGE), **path_with(tmp_path / "bin", script)).succeeded()
    assert_twin(registry, repository, IMAGE.digest, outcome.results)
    assert json.loads(outcome.out)["twin_digest"] == outcome.results["IMAGE_DIGEST"]


# What was sent before a failure


MANY = images.gzip_image(*({str(n): random.Random(n).randbytes(20_000)} for n in range(10)))


def sent(proxy: Proxy) -> int:
    """How many bytes of layers were sent."""
    return sum(len(r.body) for r in proxy.server.requests if "/blobs/uploads/" in r.target)


@pytest.mark.parametrize(
    ("method", "option", "is_late_to_read"),
    [("PUT", "--no-reuse", False), ("PATCH", "--level=3", False), ("PATCH", "--no-reuse", True)],
)
def test_what_skopeo_sent_before_a_late_failure_is_not_sent_again(
    run: Run,
    registry: Registry,
    proxy: Proxy,
    repository: str,
    push: Push,
    method: str,
    option: str,
    is_late_to_read: bool,
) -> None:
    image = f"{proxy.host}/{repository}@{push(MANY).partition('@')[2]}"
    failed: list[Request] = []
    replication = DockerHub(proxy)

    def fault(request: Request) -> Answer | None:
        if is_late_to_read and (answer := replication(request)):
            return answer
        is_skopeos = request.headers.get("user-agent", "").startswith("skopeo/")
        is_late = sent(proxy) > 0.85 * 10 * 20_000
        if failed or not (is_skopeos and is_late and request.method == method):
            return None
        failed.append(request)
        return Answer(502)

    proxy.fault = fault
    outcome = run(image, "--jobs=1", option).succeeded()
    assert failed
    by_the_door = {name: text.replace(proxy.host, registry.host) for name, text in outcome.results.items()}
    twin = assert_twin(registry, repository, MANY.digest, by_the_door)
    assert sent(proxy) <= 1.3 * sum(layer["size"] for layer in twin["layers"])
