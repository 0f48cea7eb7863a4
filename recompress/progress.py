"""What is going on, on stderr: live bars on a terminal, plain lines in a log.

A log is never silent for more than 15 s, so that nobody takes a slow run for a hung one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.filesize import decimal

from recompress import streams
from recompress.printable import visible

HEARTBEAT_SECONDS = 10.0
"""Seconds without a line after which one is written; below 15, because a tick may come late."""


class Reporter(Protocol):
    """Takes what happens to pieces of work, each with a title of its own, from any thread."""

    def step(self, text: str) -> None:
        """A new part of the run begins."""

    def update(self, title: str, done: int, total: int) -> None:
        """So many of so many bytes are done. The first update of a title starts it."""

    def finish(self, title: str, outcome: str) -> None:
        """A piece of work came to its end."""


@dataclass(slots=True)
class _Work:
    done: int
    total: int
    started: float

    @property
    def speed(self) -> float:
        return self.done / max(time.monotonic() - self.started, 0.001)


class PlainReporter:
    """One line per start and end, and a heartbeat with all that is under way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}
        self._step = "starting"
        self._began = time.monotonic()
        self._last = self._began

    def step(self, text: str) -> None:
        with self._lock:
            self._step = text
            self._write(text)

    def update(self, title: str, done: int, total: int) -> None:
        with self._lock:
            work = self._work.get(title)
            if work is None:
                self._work[title] = _Work(done, total, time.monotonic())
                self._write(f"{title}: started, {decimal(total)}")
            else:
                work.done, work.total = done, total

    def finish(self, title: str, outcome: str) -> None:
        with self._lock:
            work = self._work.pop(title, None)
            seconds = f" after {time.monotonic() - work.started:.1f} s" if work else ""
            self._write(f"{title}: {outcome}{seconds}")

    def heartbeat(self) -> None:
        """Write what is under way, unless a line was written a moment ago."""
        with self._lock:
            if time.monotonic() - self._last < HEARTBEAT_SECONDS:
                return
            under_way = [
                f"{title}: {decimal(work.done)} of {decimal(work.total)}, {decimal(int(work.speed))}/s"
                for title, work in self._work.items()
            ]
            for line in under_way or [f"{self._step} …"]:
                self._write(line)

    def _write(self, line: str) -> None:
        self._last = time.monotonic()
        streams.say(f"[{self._last - self._began:6.1f} s] {visible(line)}", self._stream)


@contextmanager
def reporter(stream: TextIO | None = None) -> Iterator[Reporter]:
    """The reporter that fits the stream, by default stderr, for as long as the run takes."""
    stream = stream or sys.stderr
    if stream.isatty():
        from recompress import live  # noqa: PLC0415 a log does not wait for it

        with live.reporter(stream) as bars:
            yield bars
        return
    plain = PlainReporter(stream)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(1.0):
            plain.heartbeat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield plain
    finally:
        stop.set()
        thread.join()
