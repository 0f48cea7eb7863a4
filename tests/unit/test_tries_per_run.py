"""The tries of skopeo and of a proof, and those of the questions asked in between, do not multiply."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recompress.errors import Unavailable
from recompress.manifest import Descriptor
from recompress.progress import PlainReporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest
from recompress.registry import Connection, Tls
from recompress.run import RunOptions, run
from recompress.sbom import Policy
from recompress.skopeo import SkopeoFailed
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request

TRIES = 5
CONNECTION = Connection((), Tls(verify=False), TRIES)
REPORTER = PlainReporter(io.StringIO())
IMAGE = images.gzip_image({"a": b"a"}, {"b": b"b"})
LAYERS = Path(__file__).parent.parent / "data" / "layers.json"
BUSY = error_answer(503, "UNAVAILABLE", "come back later")


class BreakingRegistry(FakeRegistry):
    """Lets anybody begin an upload. Once `file` is there, one method of HTTP is answered with 503."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.busy = ""

    def handle(self, request: Request) -> Answer:
        if request.method == self.busy and self.file.exists():
            return BUSY
        if request.method == "POST":
            return Answer(202, headers={"Location": "/v2/app/blobs/uploads/1"})
        return super().handle(request)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has a line for each time that skopeo was started; it always fails, each time with other words."""
    file = tmp_path / "starts"
    program = tmp_path / "skopeo"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--help*) echo --dest-force-compress-format; exit 0;; esac\n'
        f"echo started >> {file}\nwc -l {file} >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return file


@pytest.fixture
def registry(starts: Path) -> Iterator[BreakingRegistry]:
    breaking = BreakingRegistry(starts)
    with breaking.server:
        yield breaking


def recompress(registry: FakeRegistry) -> None:
    image = registry.reference(registry.add(IMAGE))
    options = RunOptions(
        image=image, platform=None, to=None, level=None, jobs=1, reuse=False, reuse_from=(),
        oci_twin=False, keep_impossible=False, require_partial_pulls=True,
        environment=dict(os.environ), sbom=Policy.NONE,
    )  # fmt: skip
    run(options, CONNECTION, None, REPORTER)


def test_a_skopeo_that_fails_for_a_reason_of_its_own_is_started_as_often_as_there_are_tries(
    registry: BreakingRegistry, starts: Path, waits: list[float]
) -> None:
    with pytest.raises(SkopeoFailed, match="failed with exit status 1"):
        recompress(registry)
    assert len(starts.read_text().splitlines()) == TRIES
    # After each failure the registry is asked what is wrong, and nothing is.
    assert len(registry.server.asked("HEAD", "/blobs/")) == TRIES * len(IMAGE.layers)
    assert len(waits) == TRIES - 1


def test_a_skopeo_that_fails_twice_with_the_same_words_is_not_started_again(
    registry: BreakingRegistry, starts: Path, waits: list[float]
) -> None:
    program = starts.parent / "skopeo"
    program.write_text(program.read_text().replace("wc -l", "echo the same words as in"))
    with pytest.raises(SkopeoFailed, match="failed with exit status 1"):
        recompress(registry)
    assert len(starts.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "words",
    [
        "initializing source docker://r/a@sha256:00: unexpected EOF",
        "uploading manifest sha256:00 to r/a: received unexpected HTTP status: 502 Bad Gateway",
        "writing blob: uploading layer chunked: blob upload unknown to registry",
        "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
    ],
)
def test_a_failure_that_can_pass_has_all_tries_even_where_it_comes_twice_with_the_same_words(
    registry: BreakingRegistry, starts: Path, waits: list[float], words: str
) -> None:
    program = starts.parent / "skopeo"
    program.write_text(program.read_text().replace("wc -l", f"echo '{words}' #"))
    with pytest.raises(SkopeoFailed, match="failed with exit status 1"):
        recompress(registry)
    assert len(starts.read_text().splitlines()) == TRIES


@pytest.mark.parametrize(
    ("method", "part"), [("GET", "/manifests/"), ("HEAD", "/blobs/"), ("POST", "/uploads/")]
)
def test_a_registry_that_stays_busy_when_asked_why_skopeo_failed_is_asked_no_more_than_that(
    registry: BreakingRegistry, starts: Path, waits: list[float], method: str, part: str
) -> None:
    registry.busy = method
    with pytest.raises(Unavailable, match=f"{method} .*: 503"):
        recompress(registry)
    before = {"GET": 1, "HEAD": 0, "POST": 1}[method]
    assert len(registry.server.asked(method, part)) == before + TRIES
    assert len(starts.read_text().splitlines()) == 1
    assert len(waits) == TRIES - 1


def test_a_layer_that_cannot_be_read_is_begun_to_be_proven_as_often_as_there_are_tries(
    waits: list[float], tmp_path: Path
) -> None:
    registry = BreakingRegistry(tmp_path)
    registry.busy = "GET"
    known = json.loads(LAYERS.read_text())["chunks"]
    digest = Digest.parse(known["digest"])
    layer = Descriptor(known["mediaType"], digest, known["size"], known["annotations"])
    claim = Claim(registry.repository, layer, Digest.parse(known["diffId"]))
    with Provers(1, CONNECTION) as provers, registry.server:
        outcome = provers.prove([claim], REPORTER)[claim]
    assert isinstance(outcome, Unavailable)
    assert "503" in str(outcome)
    assert len(registry.server.asked("GET", "/blobs/")) == TRIES
