"""What is going on, on stderr: live bars on a terminal, plain lines in a log.

Both say of each layer how many bytes of how many are done, at which rate, and how long the rest will take. A
log gets a line of that every 15 s, so that nobody takes a slow run for a hung one.
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

HEARTBEAT_SECONDS = 15.0
"""A log gets a line so often, at least."""


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

    def __str__(self) -> str:
        """How far it is: bytes done of bytes to do, the rate since it began, and at that rate the rest."""
        rate = self.done / max(time.monotonic() - self.started, 0.001)
        figures = f"{decimal(self.done)} of {decimal(self.total)}, {decimal(int(rate))}/s"
        left = max(self.total - self.done, 0) / rate if rate else None
        return figures if left is None else f"{figures}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class PlainReporter:
    """One line for each start and end, and a heartbeat: one with all that is under way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}
        self._step = "starting"
        self._began = time.monotonic()

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
        """Write a line with what is under way and how far it is."""
        with self._lock:
            under_way = [f"{title}: {work}" for title, work in self._work.items()]
            self._write("; ".join(under_way) or f"{self._step} …")

    def _write(self, line: str) -> None:
        streams.say(f"[{time.monotonic() - self._began:6.1f} s] {visible(line)}", self._stream)


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
        while not stop.wait(HEARTBEAT_SECONDS):
            plain.heartbeat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield plain
    finally:
        stop.set()
        thread.join()
