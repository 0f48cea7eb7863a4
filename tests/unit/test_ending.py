"""The command ends when its time is over or a signal comes, whatever a registry asks it to wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request

PATIENCE_SECONDS = 60
"""Far more than any of these takes, and far less than the registry asks for."""

WAIT = error_answer(503, "UNAVAILABLE", "come back later", **{"Retry-After": "600"})
Asked = Callable[[Request], bool]


class BusyRegistry(FakeRegistry):
    """Asks those to come back in ten minutes whose request is of a kind, and lets anybody begin an upload."""

    def __init__(self, is_busy: Asked) -> None:
        super().__init__()
        self.is_busy = is_busy
        self.waited_for = threading.Event()

    def handle(self, request: Request) -> Answer:
        if self.is_busy(request):
            self.waited_for.set()
            return WAIT
        if request.method == "POST":
            return Answer(202, headers={"Location": "/v2/app/blobs/uploads/1"})
        return super().handle(request)


def start(*arguments: str, path: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "recompress", *arguments, "--no-tls-verify"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | ({"PATH": path} if path else {}),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a process, and the last line that it wrote to stderr."""
    try:
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    return process.returncode, err.splitlines()[-1]


def wants_two_ranges(request: Request) -> bool:
    return "," in request.headers.get("range", "")


def source_and_twin(registry: FakeRegistry) -> list[str]:
    """An image of two layers: their tables of contents are read at a time, each by a thread."""
    return list(map(str, registry.add_gzip_and_chunked("chunks", "no-end")))


def test_a_signal_ends_a_run_whose_threads_wait_for_a_registry() -> None:
    registry = BusyRegistry(wants_two_ranges)
    with registry.server:
        process = start("verify", *source_and_twin(registry))
        assert registry.waited_for.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (143, "error: terminated by a signal; no results were written")


def test_the_deadline_ends_a_run_whose_threads_wait_for_a_registry() -> None:
    registry = BusyRegistry(wants_two_ranges)
    with registry.server:
        code, line = ended(start("verify", *source_and_twin(registry), "--timeout=3"))
    assert (code, line) == (7, "error: the run did not end within 3 s: raise --timeout or --jobs")


@pytest.mark.parametrize("part", ["/manifests/zstd-chunked-cache-", ".zstd-chunked"])
def test_the_deadline_is_not_swallowed_where_layers_to_reuse_are_looked_for(
    tmp_path: Path, part: str
) -> None:
    program = tmp_path / "skopeo"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--help*) echo --dest-force-compress-format; exit 0;; esac\n'
        f"touch {tmp_path / 'started'}\nexit 1\n"
    )
    program.chmod(0o755)
    registry = BusyRegistry(lambda request: part in request.target)
    with registry.server:
        image = registry.reference(registry.add(images.gzip_image({"a": b"a"})))
        process = start("run", str(image), "--timeout=3", path=f"{tmp_path}:/usr/bin:/bin")
        code, line = ended(process)
    assert (code, line) == (7, "error: the run did not end within 3 s: raise --timeout or --jobs")
    assert registry.waited_for.is_set()
    assert not (tmp_path / "started").exists()
