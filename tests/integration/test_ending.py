"""A run that is ended in the middle leaves nothing: no process, no file, no result."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import images
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.command import environment
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry

IMAGE = images.gzip_image({"a": b"a" * 1000})
Push = Callable[[HandmadeImage], str]


class Moment:
    """Holds the first request of a kind until the test is over; the run is in the middle of it then."""

    def __init__(self, proxy: Proxy, agent: str, method: str, part: str) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()
        self._proxy, self._kind = proxy, (agent, method, part)
        proxy.fault = self._hold

    def _hold(self, request: Request) -> Answer | None:
        agent, method, part = self._kind
        if (
            request.headers.get("user-agent", "").startswith(agent)
            and request.method == method
            and part in request.target
        ):
            self.reached.set()
            assert self.over.wait(120)
        return None


def processes(mark: str) -> list[str]:
    """The command lines of all processes that have this in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (directory / "environ").read_bytes():
                found.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


MOMENTS = {
    "before the work": ("recompress/", "GET", "/manifests/"),
    "while skopeo reads": ("skopeo/", "GET", "/blobs/"),
    "while skopeo pushes": ("skopeo/", "PATCH", "/blobs/uploads/"),
    "while the structure is proven": ("recompress/", "GET", "/blobs/"),
}


@contextmanager
def run_until(moment: Moment, image: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has come to this moment."""
    for name in ("tmp", "results"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen(
        ["recompress", "run", image, "--no-tls-verify", f"--results-dir={tmp_path / 'results'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(TMPDIR=str(tmp_path / "tmp"), MARK=str(tmp_path)),
    )
    try:
        assert moment.reached.wait(60)
        yield process
    finally:
        moment.over.set()
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGTERM, 143, "error: terminated by a signal; no results were written"),
        (signal.SIGINT, 130, "error: interrupted; no results were written"),
    ],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_ends_skopeo_and_the_run_and_leaves_nothing(
    registry: Registry, repository: str, proxy: Proxy, push: Push, tmp_path: Path,
    moment: tuple[str, str, str], number: signal.Signals, code: int, told: str,
) -> None:  # fmt: skip
    image = push(IMAGE).replace(registry.host, proxy.host)
    with run_until(Moment(proxy, *moment), image, tmp_path) as process:
        if moment[0] == "skopeo/":
            assert [line for line in processes(str(tmp_path)) if line.startswith("skopeo copy ")]
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert processes(str(tmp_path)) == []
    assert out == ""
    assert err.splitlines()[-1] == told
    assert "Traceback" not in err
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert registry.tags(repository) == []


def test_a_run_that_is_killed_leaves_no_skopeo_that_works_on(
    registry: Registry, proxy: Proxy, push: Push, tmp_path: Path
) -> None:
    image = push(IMAGE).replace(registry.host, proxy.host)
    with run_until(Moment(proxy, "skopeo/", "GET", "/blobs/"), image, tmp_path) as process:
        process.kill()
        process.wait()
    # Its terminal is gone, and with it skopeo: at the latest when it writes there.
    deadline = threading.Event()
    for _ in range(600):
        if not processes(str(tmp_path)):
            break
        deadline.wait(0.1)
    assert processes(str(tmp_path)) == []
    assert list((tmp_path / "results").iterdir()) == []


def test_on_a_terminal_each_layer_has_a_bar_and_ctrl_c_ends_it_all(
    registry: Registry, repository: str, proxy: Proxy, push: Push, tmp_path: Path
) -> None:
    image = push(IMAGE).replace(registry.host, proxy.host)
    moment = Moment(proxy, "skopeo/", "GET", "/manifests/")
    ours, theirs = pty.openpty()
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        ["recompress", "run", image, "--no-tls-verify"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=environment(TMPDIR=str(tmp_path / "tmp"), MARK=str(tmp_path), TERM="xterm", COLUMNS="120"),
    )  # fmt: skip
    os.close(theirs)
    # As the terminal does it: to all that are in the foreground, skopeo too.
    assert moment.reached.wait(60)
    os.killpg(process.pid, signal.SIGINT)
    shown = read_all(ours)
    assert process.wait(60) == 130, shown
    moment.over.set()
    assert "error: interrupted; no results were written" in shown
    assert "Traceback" not in shown
    assert processes(str(tmp_path)) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_on_a_terminal_there_are_bars_and_a_table(registry: Registry, push: Push, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["recompress", "run", push(IMAGE), "--no-tls-verify"],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=environment(TERM="xterm", COLUMNS="160"),
    )  # fmt: skip
    os.close(theirs)
    shown = read_all(ours)
    assert process.wait(60) == 0, shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"layer [0-9a-f]{12} done +━+ ", plain), plain
    assert "zstd:chunked" in plain
    assert "total" in plain


def read_all(terminal: int) -> str:
    """Everything that is written to a terminal until nobody has it open any more."""
    shown = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            read = b""
        if not read:
            os.close(terminal)
            return shown.decode(errors="replace")
        shown += read
