"""Every fault at every kind of request, a signal at every step: in the end all is well, or nothing is."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from recompress.reference import Digest
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.integration.faults import BROKEN, ENDPOINTS, PASSING, at_each_endpoint, broken, is_at, with_length
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.scene import CLEAN_NEW, CLEAN_OLD, NEW, OLD, Scene, clean_twin

PATIENT = "--attempts=12"
BUSY = error_answer(503, "BUSY", "later")
UPLOADS = ("the bytes of an upload", "the end of an upload")


@pytest.fixture(scope="session")
def twins(registry: Registry) -> tuple[Digest, Digest]:
    """The digests of the twins as they must always be."""
    return clean_twin(registry, CLEAN_OLD, OLD), clean_twin(registry, CLEAN_NEW, NEW)


@pytest.fixture
def scene(
    registry: Registry, proxy: Proxy, repository: str, tmp_path_factory: pytest.TempPathFactory,
    twins: tuple[Digest, Digest],
) -> Scene:  # fmt: skip
    return Scene(registry, repository, proxy.host, tmp_path_factory.mktemp("scene"), *twins).prepare()


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if kind != "Content-Length too small"])
def test_an_answer_that_breaks_anywhere_is_asked_for_again(scene: Scene, proxy: Proxy, kind: str) -> None:
    proxy.fault = at_each_endpoint(1, broken(kind, proxy))
    scene.run(PATIENT).succeeded()


def test_an_answer_that_is_cut_as_if_it_were_whole_is_never_taken_for_it(scene: Scene, proxy: Proxy) -> None:
    proxy.fault = at_each_endpoint(1, broken("Content-Length too small", proxy))
    assert scene.run(PATIENT).code in (0, 6)


def test_bursts_of_errors_anywhere_are_sat_out(scene: Scene, proxy: Proxy) -> None:
    kinds = itertools.cycle(PASSING[kind] for kind in ("500", "502", "503", "504", "429"))
    proxy.fault = at_each_endpoint(2, lambda _: next(kinds))
    scene.run(PATIENT).succeeded()


def test_a_registry_that_says_when_to_come_back_is_obeyed(scene: Scene, proxy: Proxy) -> None:
    proxy.fault = at_each_endpoint(1, lambda _: PASSING["429 for a second"])
    outcome = scene.run(PATIENT).succeeded()
    waits = [float(wait) for wait in re.findall(r"429 [^;]*; try .* in ([0-9.]+) s", outcome.err)]
    assert waits
    assert min(waits) >= 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_errors_that_do_not_end_are_the_end_of_the_run(scene: Scene, proxy: Proxy, endpoint: str) -> None:
    proxy.fault = lambda request: BUSY if is_at(endpoint, request) else None
    outcome = scene.run("--attempts=2")
    if endpoint == "a tag":
        # That is where layers to reuse are looked for: it is of use, and not needed.
        assert "no layers are reused" in outcome.succeeded().err
    else:
        outcome.failed(7)


@pytest.mark.parametrize("endpoint", [n for n in ENDPOINTS if n not in ("a tag", "an SBOM")])
def test_a_refusal_anywhere_is_the_end_of_the_run_at_once(scene: Scene, proxy: Proxy, endpoint: str) -> None:
    proxy.fault = lambda r: error_answer(403, "DENIED", "no") if is_at(endpoint, r) else None
    outcome = scene.run("--attempts=2")
    # Of uploads, and by HEAD, skopeo alone is told, and everything else says that all is well.
    is_skopeos = endpoint in (*UPLOADS, "the twin's manifest", "whether a blob is there")
    assert outcome.code in ((3, 7) if is_skopeos else (3,))


def test_a_refusal_of_the_tag_of_an_sbom_is_a_warning(scene: Scene, proxy: Proxy) -> None:
    proxy.fault = lambda r: error_answer(403, "DENIED", "no") if is_at("an SBOM", r) else None
    assert "no SBOM is derived: whether there is an SBOM at " in scene.run("--attempts=2").succeeded().err


@pytest.mark.parametrize("endpoint", ["a blob", "the bytes of an upload"])
def test_a_stall_ends_with_the_time_for_the_run(scene: Scene, proxy: Proxy, endpoint: str) -> None:
    def stall(request: Request) -> Answer | None:
        return replace(proxy.forward(request), body=b"x", pause=3600) if is_at(endpoint, request) else None

    proxy.fault = stall
    scene.run("--timeout=5").failed(7, "the run did not end within 5 s")


def test_a_registry_that_goes_down_in_the_middle_is_told(scene: Scene, proxy: Proxy) -> None:
    def down(request: Request) -> Answer | None:
        if request.method != "PATCH":
            return None
        proxy.server.stop()
        return Answer(500, reset=True)

    proxy.fault = down
    scene.run("--attempts=2").failed(7, "did not answer")


@pytest.mark.parametrize("endpoint", UPLOADS)
def test_an_upload_that_disappears_is_begun_again(scene: Scene, proxy: Proxy, endpoint: str) -> None:
    left = [1, 1, 1]

    def forget(request: Request) -> Answer | None:
        if not is_at(endpoint, request) or not left:
            return None
        left.pop()
        return PASSING["upload unknown"]

    proxy.fault = forget
    scene.run(PATIENT).succeeded()
    assert not left


def test_a_manifest_that_changes_between_two_reads_is_not_used(scene: Scene, proxy: Proxy) -> None:
    reads = iter(range(1000))

    def change(request: Request) -> Answer | None:
        if request.method != "GET" or str(NEW.digest) not in request.target or not next(reads):
            return None
        other = NEW.manifest.replace(b" ", b"  ")
        return with_length(replace(proxy.forward(request), body=other), len(other))

    proxy.fault = change
    scene.run(PATIENT).failed(6, str(NEW.digest), "these are not the bytes asked for")


def test_a_layer_of_the_source_that_is_deleted_meanwhile_is_told(scene: Scene, proxy: Proxy) -> None:
    layer = str(Digest.of(NEW.layers[1]))
    gone = error_answer(404, "BLOB_UNKNOWN", "gone")
    proxy.fault = lambda request: gone if layer in request.target else None
    scene.run(PATIENT).failed(4, layer)


@pytest.mark.parametrize("endpoint", ["whether a blob is there", "the twin's manifest"])
def test_a_layer_to_reuse_that_is_deleted_after_its_proof_is_made_again(
    scene: Scene, proxy: Proxy, endpoint: str
) -> None:
    shared = scene.registry.document(scene.repository, str(scene.old_twin))["layers"][0]["digest"]

    def vanish(request: Request) -> Answer | None:
        if is_at(endpoint, request) and request.headers["user-agent"].startswith("skopeo/"):
            proxy.fault = lambda _: None
            with scene.registry.client() as client:
                client.delete(f"{scene.repository}/blobs/{shared}").raise_for_status()
        return None

    proxy.fault = vanish
    scene.run(PATIENT).succeeded()
    assert scene.registry.blob(scene.repository, shared)


@pytest.fixture
def small_tmp(scene: Scene) -> Iterator[Callable[[str], None]]:
    """Makes the run's TMPDIR a filesystem with these options."""
    directory = str(scene.work / "tmp")

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)

    yield mount
    subprocess.run(["umount", directory], check=False)


@pytest.mark.parametrize(
    "size", ["size=4k,nr_inodes=1", "size=4k,nr_inodes=3", "size=4k", "size=16k", "size=128k"]
)
def test_a_full_temporary_directory_is_told_or_does_not_matter(
    scene: Scene, small_tmp: Callable[[str], None], size: str
) -> None:
    small_tmp(size)
    outcome = scene.run("--attempts=2")
    assert outcome.code in (0, 2)
    if outcome.code:
        assert "TMPDIR" in outcome.error


def test_neither_a_home_nor_a_cache_directory_has_to_be_writable(scene: Scene) -> None:
    names = ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    scene.run(**dict.fromkeys(names, "/proc/1/nowhere")).succeeded()


def killed_skopeo(scene: Scene, times: int) -> str:
    """A PATH on which skopeo is killed so many times in the middle of its work."""
    directory = scene.work / "bin"
    directory.mkdir()
    left = directory / "left"
    left.write_text("x" * times)
    (directory / "skopeo").write_text(
        f'#!/bin/sh\ncase "$*" in *docker://*)\n  if [ -s {left} ]; then truncate --size=-1 {left}\n'
        '    /usr/bin/skopeo "$@" & sleep 0.1; kill -9 $!; kill -9 $$\n'
        '  fi;;\nesac\nexec /usr/bin/skopeo "$@"\n'
    )
    (directory / "skopeo").chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_a_skopeo_that_is_killed_is_started_again(scene: Scene) -> None:
    outcome = scene.run(PATH=killed_skopeo(scene, 2)).succeeded()
    assert "skopeo was killed, most likely because memory ran out" in outcome.err


def test_a_skopeo_that_is_killed_every_time_is_told(scene: Scene) -> None:
    scene.run("--attempts=2", PATH=killed_skopeo(scene, 9)).failed(7, "memory ran out", "lower --jobs")


@pytest.mark.parametrize(
    ("number", "endpoint"),
    [
        *((signal.SIGTERM, endpoint) for endpoint in ENDPOINTS),
        *((signal.SIGKILL, endpoint) for endpoint in ("a blob", "the bytes of an upload", "the twin's tag")),
        (signal.SIGINT, "the bytes of an upload"),
    ],
)
def test_a_signal_at_any_step_leaves_nothing_half_written(
    scene: Scene, proxy: Proxy, endpoint: str, number: signal.Signals
) -> None:
    started: list[subprocess.Popen[str]] = []

    def kill(request: Request) -> Answer | None:
        if started and is_at(endpoint, request):
            started.pop().send_signal(number)
        return None

    process = scene.start()
    started.append(process)
    proxy.fault = kill
    outcome = scene.ended(process)
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}
    assert outcome.code == codes[number], outcome.err
    if number != signal.SIGKILL:
        assert outcome.error.endswith("no results were written")
