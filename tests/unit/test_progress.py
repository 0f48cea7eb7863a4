from __future__ import annotations

import io
import re
import threading
from types import SimpleNamespace

import pytest

from recompress import progress
from recompress.progress import PlainReporter, reporter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_log_has_a_line_for_the_start_and_the_end_of_each_layer(clock: Clock, stream: io.StringIO) -> None:
    plain = PlainReporter(stream)
    plain.update("layer a", 0, 50_000_000)
    clock.now += 1
    plain.update("layer a", 20_000_000, 50_000_000)
    plain.update("layer b", 0, 1000)
    clock.now += 1.5
    plain.finish("layer a", "done")
    plain.finish("layer b", "done")
    assert lines(stream) == [
        "[   0.0 s] layer a: started, 50.0 MB",
        "[   1.0 s] layer b: started, 1.0 kB",
        "[   2.5 s] layer a: done after 2.5 s",
        "[   2.5 s] layer b: done after 1.5 s",
    ]


def test_a_layer_that_was_done_before_anything_was_heard_of_it_has_its_line(
    clock: Clock, stream: io.StringIO
) -> None:
    PlainReporter(stream).finish("layer a", "done")
    assert lines(stream) == ["[   0.0 s] layer a: done"]


def test_a_log_is_told_in_one_line_how_far_each_layer_is_at_which_rate_and_what_is_left(
    clock: Clock, stream: io.StringIO
) -> None:
    plain = PlainReporter(stream)
    plain.update("layer a", 0, 50_000_000)
    plain.update("layer b", 0, 4_000_000)
    plain.update("proof of c", 0, 5_000_000_000)
    clock.now += 15
    plain.update("layer a", 20_000_000, 50_000_000)
    plain.update("proof of c", 150_000_000, 5_000_000_000)
    plain.heartbeat()
    assert lines(stream)[3:] == [
        "[  15.0 s] layer a: 20.0 MB of 50.0 MB, 1.3 MB/s, 22 s left; "
        "layer b: 0 bytes of 4.0 MB, 0 bytes/s; "
        "proof of c: 150.0 MB of 5.0 GB, 10.0 MB/s, 8 min left"
    ]


def test_a_log_in_which_no_layer_is_under_way_is_told_the_step(clock: Clock, stream: io.StringIO) -> None:
    plain = PlainReporter(stream)
    plain.step("verifying what was pushed")
    plain.update("layer a", 0, 1000)
    plain.finish("layer a", "done")
    clock.now += 15
    plain.heartbeat()
    assert lines(stream)[-1] == "[  15.0 s] verifying what was pushed …"


def test_a_log_gets_a_line_every_15_seconds(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return len(waits) > 3

    fake = SimpleNamespace(Event=Stop, Thread=threading.Thread, Lock=threading.Lock)
    monkeypatch.setattr(progress, "threading", fake)
    with reporter(stream) as running:
        running.step("recompressing")
    assert waits == [15.0] * 4
    assert len([line for line in lines(stream) if line.endswith(" …")]) == 3


def test_the_heartbeat_beats_by_itself_and_stops_with_the_run(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.0)
    beats = threading.Event()
    heartbeat = PlainReporter.heartbeat

    def beat(self: PlainReporter) -> None:
        heartbeat(self)
        beats.set()

    monkeypatch.setattr(PlainReporter, "heartbeat", beat)
    with reporter(stream) as running:
        running.step("recompressing")
        assert beats.wait(30)
    assert lines(stream)[-1].endswith("recompressing …")
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_a_log_has_no_control_characters(stream: io.StringIO) -> None:
    with reporter(stream) as running:
        running.update("layer a", 1, 2)
        running.finish("layer a", "done")
    assert stream.getvalue().replace("\n", "").isprintable()


def test_a_terminal_shows_a_bar_for_each_layer_with_bytes_rate_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    with reporter(terminal) as running:
        running.step("recompressing 2 layers")
        running.update("layer a", 20_000_000, 50_000_000)
        running.update("layer a", 30_000_000, 50_000_000)
        running.update("layer b", 0, 1000)
        running.finish("layer a", "done")
        running.finish("layer c", "done")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "recompressing 2 layers" in shown
    assert re.search(r"layer a done +━+ 50\.0/50\.0 MB ", shown)
    assert re.search(r"layer b +━+ 0\.0/1\.0 kB ", shown)
    assert "layer c: done" in shown
    # What is left, of a layer under way; of one that is done, what it took.
    assert re.search(r"layer b .* -:--:--", shown)
    assert re.search(r"layer a done .* 0:00:00", shown)
